"""``new_pair``: subjects that others exchange are exchanged by a client that never did.

One user who opens another application is nothing; so is a client that meets new ones every day.
What is told is a client that suddenly meets more of them than on any day of two weeks.
"""

from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from broker.audit.detect.alert import MOST_EVIDENCE, Alert
from broker.audit.detect.memory import (
    CLIENTS,
    DAYS,
    SUBJECTS,
    Days,
    Recent,
    bound,
    texts,
    whole,
)
from broker.audit.detect.sighting import DAY, Sighting
from broker.settings.alerts import NewPair

_OFTEN: Final = 3  # days on which a subject was exchanged, to be known
# A client meets most of its subjects in its first two weeks, and fewer and fewer that are new.
_WARM: Final = DAYS - 1
_ROOTS: Final = 3  # on top of the most of all days, which is more than is usual
_MOST_CLIENTS: Final = 16  # of a subject; then the one that was quiet longest is forgotten
_BITS: Final = (1 << DAYS + 1) - 1


class _Client:
    __slots__ = ("active", "new", "rows", "told")

    def __init__(self) -> None:
        self.active = Days()
        self.new = Days()
        self.told = -1
        self.rows: deque[str] = deque(maxlen=MOST_EVIDENCE)

    def dump(self) -> list[Any]:
        """Return it as plain values."""
        return [self.active.dump(), self.new.dump(), self.told, [*self.rows]]

    def restore(self, stored: Any) -> None:  # noqa: ANN401 — whatever stands there
        """Be what these say. Raises ``TypeError`` or ``ValueError``."""
        active, new, told, rows = stored
        self.active.restore(active)
        self.new.restore(new)
        self.told = whole(told)
        self.rows.extend(texts(rows))


class _Subject:
    """On which days which client has exchanged it: a bit a day, the lowest is ``day``."""

    __slots__ = ("clients", "day")

    def __init__(self) -> None:
        self.day = 0
        self.clients: dict[str, int] = {}

    def add(self, client: str, day: int) -> tuple[bool, bool]:
        """Return whether the subject is known, and whether it was one of this client's."""
        if day > self.day:
            self._move(day)
        known = self._known()
        before = self.clients.get(client, 0)
        self.clients[client] = before | (1 << self.day - day & _BITS)
        if len(self.clients) > _MOST_CLIENTS:
            # The newest day is the lowest bit.
            oldest = max(self.clients, key=lambda one: self.clients[one] & -self.clients[one])
            del self.clients[oldest]
        return known, before != 0

    def dump(self) -> list[Any]:
        """Return it as plain values."""
        return [self.day, *self.clients.items()]

    def restore(self, stored: Any) -> None:  # noqa: ANN401 — whatever stands there
        """Be what these say. Raises ``TypeError`` or ``ValueError``."""
        day, *clients = stored
        self.day = whole(day)
        names = texts([name for name, _ in clients])
        self.clients = dict(zip(names, (whole(days) for _, days in clients), strict=True))

    def _move(self, day: int) -> None:
        moved = min(day - self.day, DAYS + 1)
        self.day = day
        shifted = ((one, days << moved & _BITS) for one, days in self.clients.items())
        self.clients = {one: days for one, days in shifted if days}

    def _known(self) -> bool:
        days = 0
        for one in self.clients.values():
            days |= one
        return (days >> 1).bit_count() >= _OFTEN  # not counting today


class NewPairs:
    """Counts by the client and the day."""

    def __init__(self, settings: NewPair) -> None:
        self._settings = settings
        self._clients: Recent[str, _Client] = Recent(CLIENTS, _Client)
        self._subjects: Recent[tuple[str | None, str], _Subject] = Recent(SUBJECTS, _Subject)

    @property
    def parts(self) -> Mapping[str, Recent[Any, Any]]:
        """What it remembers, by names."""
        return {"new_pair.clients": self._clients, "new_pair.subjects": self._subjects}

    def see(self, seen: Sighting) -> Alert | None:
        """Return the alert that this row makes."""
        if seen.refused or not seen.asks or seen.client is None or seen.subject is None:
            return None
        client = self._clients[seen.client]
        client.active.add(seen.day)
        known, own = self._subjects[seen.issuer, seen.subject].add(seen.client, seen.day)
        if own or not known:
            return None
        counted = client.new.add(seen.day)
        client.rows.append(seen.id)
        usual = client.new.usual(seen.day)
        threshold = bound(usual, self._settings.factor, self._settings.minimum, _ROOTS)
        told = seen.day <= client.told
        if counted <= threshold or told or not client.active.knows(seen.day, _WARM):
            return None
        client.told = seen.day
        return Alert(
            rule="new_pair",
            client=seen.client,
            issuer=seen.issuer,
            subject=None,
            at=seen.at,
            since=datetime.fromtimestamp(seen.day * DAY, UTC),
            observed=counted,
            expected=usual,
            threshold=threshold,
            meaning="known subjects in a day that this client has not exchanged for two weeks",
            evidence=tuple(client.rows)[-counted:],
        )
