"""What rules remember: so many days and no more, of so many clients and no more.

Nothing in it has an average without end. So whoever reads the last ``DAYS`` days of the trail
knows what somebody knows who has read all of it, and a restart changes no alert. That is long for
a busy broker, so it can be kept as well (``broker.audit.detect.kept``): ``dump`` gives plain
values, and ``restore`` takes them, or raises ``TypeError`` or ``ValueError``.
"""

from array import array
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from datetime import datetime
from math import sqrt
from typing import Any, Final, Generic, Protocol, TypeVar

DAYS: Final = 14  # that a day is compared with
CLIENTS: Final = 4096  # that are remembered; then the one that was quiet longest is forgotten
SUBJECTS: Final = 100_000
WARM: Final = 7  # days after which a client is known
_HOURS: Final = 24
_MOST: Final = 1 << 62  # in a cell
_QUIET: Final = 0.25  # of its usual peak is nothing unusual at any hour


class Remembered(Protocol):
    """What is remembered of somebody."""

    def dump(self) -> list[Any]:
        """Return it as plain values."""

    def restore(self, stored: Any) -> None:  # noqa: ANN401 — whatever stands there
        """Be what these say. Raises ``TypeError`` or ``ValueError``."""


_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V", bound=Remembered)


class Recent(Generic[_K, _V]):
    """A value for each key, made when it is new; the one that was used longest ago goes."""

    def __init__(self, most: int, build: Callable[[], _V]) -> None:
        self._most = most
        self._build = build
        self._known: OrderedDict[_K, _V] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def __getitem__(self, key: _K) -> _V:
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._build()
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return found

    def dump(self) -> Iterator[list[Any]]:
        """Yield each, the one first that was used longest ago."""
        for key, value in self._known.items():
            yield [key, value.dump()]

    def restore(self, stored: Iterable[Any]) -> None:
        """Add each."""
        for key, value in stored:
            self[_read_key(key)].restore(value)


def _read_key(stored: Any) -> Any:  # noqa: ANN401 — whatever stands there
    if isinstance(stored, list):
        return tuple(_read_key(one) for one in stored)
    if stored is not None and not isinstance(stored, str):
        raise TypeError("this is no key")
    return stored


def whole(stored: Any) -> int:  # noqa: ANN401 — whatever stands there
    """Return a whole number."""
    if type(stored) is not int:
        raise TypeError("this is no number")
    return stored


def texts(stored: Any) -> list[str]:  # noqa: ANN401 — whatever stands there
    """Return a list of texts."""
    if not isinstance(stored, list) or not all(isinstance(one, str) for one in stored):
        raise TypeError("these are no texts")
    return stored


def moment(stored: Any) -> datetime:  # noqa: ANN401 — whatever stands there
    """Return a time with its offset."""
    found = datetime.fromisoformat(stored)
    if found.tzinfo is None:
        raise ValueError("this is a time of nowhere")
    return found


class Cells:
    """A count for each of the last so many units of time, hours or days."""

    __slots__ = ("_cells", "latest")

    def __init__(self, length: int) -> None:
        self._cells = array("Q", bytes(8 * length))
        self.latest = -1

    def __getitem__(self, unit: int) -> int:
        length = len(self._cells)
        return self._cells[unit % length] if self.latest - length < unit <= self.latest else 0

    def add(self, unit: int, count: int = 1) -> int:
        """Return the count of this unit with ``count`` more; 0: that was too long ago."""
        length = len(self._cells)
        if unit <= self.latest - length:
            return 0
        for gone in range(max(self.latest + 1, unit - length + 1), unit + 1):
            self._cells[gone % length] = 0
        self.latest = max(self.latest, unit)
        self._cells[unit % length] += count
        return self._cells[unit % length]

    def dump(self) -> list[int]:
        """Return it as plain values."""
        return [self.latest, *self._cells]

    def restore(self, stored: Any) -> None:  # noqa: ANN401 — whatever stands there
        """Be what these say. Raises ``TypeError`` or ``ValueError``."""
        latest, *cells = (whole(one) for one in stored)
        if len(cells) != len(self._cells) or not all(0 <= one < _MOST for one in cells):
            raise ValueError("these are other cells")
        self.latest = latest
        self._cells = array("Q", cells)


class Hours(Cells):
    """Counts by the hour, and what is usual at an hour."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__((DAYS + 1) * _HOURS)

    def usual(self, hour: int) -> int:
        """Return the second most of ``DAYS`` days at this hour, one earlier or one later.

        The most would let one bad day hide the next. A quarter of the second highest peak of a day
        is usual at any hour.
        """
        near: list[int] = []
        peaks: list[int] = []
        for day in range(1, DAYS + 1):
            same = hour - day * _HOURS
            near.append(max(self[same - 1], self[same], self[same + 1]))
            peaks.append(max(self[one] for one in range(same - 11, same + 13)))
        return max(sorted(near)[-2], int(_QUIET * sorted(peaks)[-2]))

    def knows(self, hour: int) -> bool:
        """Whether there was something ``WARM`` days ago, or before."""
        oldest = hour - DAYS * _HOURS
        return any(self[one] for one in range(oldest, hour - WARM * _HOURS + 1))


class Days(Cells):
    """Counts by the day, and what is usual in a day."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(DAYS + 1)

    def usual(self, day: int) -> int:
        """Return the most of ``DAYS`` days before."""
        return max(self[day - back] for back in range(1, DAYS + 1))

    def knows(self, day: int, warm: int = WARM) -> bool:
        """Whether there was something ``warm`` days ago, or before."""
        return any(self[day - back] for back in range(warm, DAYS + 1))

    def active(self, day: int) -> int:
        """Return on how many of ``DAYS`` days before there was something."""
        return sum(1 for back in range(1, DAYS + 1) if self[day - back])


def bound(usual: float, factor: float, minimum: float, roots: float = 6) -> float:
    """Return what is not far off yet.

    Counts of independent events vary by the root of what is usual (Poisson), so some of these are
    allowed on top: what is small varies much, and is no alert for it.
    """
    return max(minimum, factor * usual + roots * sqrt(usual))
