"""``widening``: a client that is known asks for scopes and targets that it never asked for."""

from collections import OrderedDict, deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from broker.audit.detect.alert import MOST_EVIDENCE, Alert
from broker.audit.detect.memory import CLIENTS, DAYS, Days, Recent, texts, whole
from broker.audit.detect.sighting import DAY, Sighting
from broker.settings.alerts import Widening

_MOST: Final = 512  # scopes and targets of a client
_MOST_TOLD: Final = 16  # names that an alert has


class _Client:
    __slots__ = ("active", "asked", "names", "new", "rows", "told")

    def __init__(self) -> None:
        self.active = Days()
        self.new = Days()
        self.asked: OrderedDict[str, int] = OrderedDict()  # the last day of each
        self.names: deque[str] = deque(maxlen=_MOST_TOLD)
        self.rows: deque[str] = deque(maxlen=MOST_EVIDENCE)
        self.told = -1

    def add(self, name: str, day: int) -> bool:
        """Return whether that is new, and know it."""
        last = self.asked.get(name)
        if last is not None and last >= day:
            return False
        self.asked[name] = day
        self.asked.move_to_end(name)
        if len(self.asked) > _MOST:
            self.asked.popitem(last=False)
        return last is None or day - last > DAYS

    def dump(self) -> list[Any]:
        """Return it as plain values."""
        asked = [*self.asked.items()]
        return [
            *(self.active.dump(), self.new.dump(), self.told),
            *(asked, [*self.names], [*self.rows]),
        ]

    def restore(self, stored: Any) -> None:  # noqa: ANN401 — whatever stands there
        """Be what these say. Raises ``TypeError`` or ``ValueError``."""
        active, new, told, asked, names, rows = stored
        self.active.restore(active)
        self.new.restore(new)
        self.told = whole(told)
        known = texts([name for name, _ in asked])
        self.asked.update(zip(known, (whole(day) for _, day in asked), strict=True))
        self.names.extend(texts(names))
        self.rows.extend(texts(rows))


class Widened:
    """Counts by the client and the day."""

    def __init__(self, settings: Widening) -> None:
        self._least = settings.new
        self._clients: Recent[str, _Client] = Recent(CLIENTS, _Client)

    @property
    def parts(self) -> Mapping[str, Recent[Any, Any]]:
        """What it remembers, by names."""
        return {"widening": self._clients}

    def see(self, seen: Sighting) -> Alert | None:
        """Return the alert that this row makes."""
        if seen.client is None or not seen.asks:
            return None
        client = self._clients[seen.client]
        client.active.add(seen.day)
        new = [name for name in seen.asked if client.add(name, seen.day)]
        if not new:
            return None
        counted = client.new.add(seen.day, len(new))
        client.names.extend(new)
        client.rows.append(seen.id)
        told = seen.day <= client.told
        if counted < self._least or told or not client.active.knows(seen.day):
            return None
        client.told = seen.day
        return Alert(
            rule="widening",
            client=seen.client,
            issuer=seen.issuer,
            subject=None,
            at=seen.at,
            since=datetime.fromtimestamp(seen.day * DAY, UTC),
            observed=counted,
            expected=client.new.usual(seen.day),
            threshold=self._least,
            meaning="scopes and targets in a day that this client has not asked for in two weeks",
            evidence=tuple(client.rows)[-counted:],
            more={"asked": list(client.names)[-counted:]},
        )
