"""Far more than usual: ``client_rate`` of what a client asks, ``probing`` of what it is refused."""

from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from math import inf
from typing import Any, Final, Literal

from broker.audit.detect.alert import MOST_EVIDENCE, Alert
from broker.audit.detect.memory import CLIENTS, Hours, Recent, bound, texts, whole
from broker.audit.detect.sighting import HOUR, Sighting
from broker.settings.alerts import ClientRate, Probing

# What a client is refused because something of ours is down is not its doing.
_OURS: Final = ("unavailable", "timeout")


class _Client:
    __slots__ = ("hour", "hours", "rows", "threshold", "told", "usual")

    def __init__(self) -> None:
        self.hours = Hours()
        self.hour = -1  # that ``usual`` and ``threshold`` are of
        self.usual = 0
        self.threshold = 0.0
        self.told = -1  # the day of the last alert
        self.rows: deque[str] = deque(maxlen=MOST_EVIDENCE)

    def dump(self) -> list[Any]:
        """Return it as plain values."""
        return [self.hours.dump(), self.told, [*self.rows]]

    def restore(self, stored: Any) -> None:  # noqa: ANN401 — whatever stands there
        """Be what these say. Raises ``TypeError`` or ``ValueError``."""
        hours, told, rows = stored
        self.hours.restore(hours)
        self.told = whole(told)
        self.rows.extend(texts(rows))


class _Surge:
    """Counts by the client and the hour; those who did not authenticate are counted as one."""

    def __init__(
        self,
        rule: Literal["client_rate", "probing"],
        settings: ClientRate | Probing,
        meaning: str,
    ) -> None:
        self._rule: Final = rule
        self._settings = settings
        self._meaning = meaning
        self._clients: Recent[str | None, _Client] = Recent(CLIENTS, _Client)

    @property
    def parts(self) -> Mapping[str, Recent[Any, Any]]:
        """What it remembers, by names."""
        return {self._rule: self._clients}

    def _count(self, seen: Sighting, count: int, *, warm: bool) -> Alert | None:
        client = self._clients[seen.client]
        counted = client.hours.add(seen.hour, count)
        client.rows.append(seen.id)
        # Most rows end here: nothing is compared before the least that could be an alert.
        if counted <= self._settings.minimum or seen.day <= client.told:
            return None
        if client.hour != seen.hour:
            client.hour = seen.hour
            client.usual = client.hours.usual(seen.hour)
            client.threshold = (
                bound(client.usual, self._settings.factor, self._settings.minimum)
                if not warm or client.hours.knows(seen.hour)
                else inf
            )
        if counted <= client.threshold:
            return None
        client.told = seen.day
        return Alert(
            rule=self._rule,
            client=seen.client,
            issuer=seen.issuer,
            subject=None,
            at=seen.at,
            since=datetime.fromtimestamp(seen.hour * HOUR, UTC),
            observed=counted,
            expected=client.usual,
            threshold=client.threshold,
            meaning=self._meaning,
            evidence=tuple(client.rows),
        )


class Rate(_Surge):
    """``client_rate``. Of a client that is new nobody knows what is usual, for a week."""

    def __init__(self, settings: ClientRate) -> None:
        super().__init__("client_rate", settings, "requests of this client in this hour of the day")

    def see(self, seen: Sighting) -> Alert | None:
        """Return the alert that this row makes."""
        if not seen.asks or seen.client is None:
            return None
        return self._count(seen, 1, warm=True)


class Refusals(_Surge):
    """``probing``. Also of a client that is new: nobody is refused much without a cause."""

    def __init__(self, settings: Probing) -> None:
        super().__init__("probing", settings, "refusals of this client in this hour of the day")

    def see(self, seen: Sighting) -> Alert | None:
        """Return the alert that this row makes."""
        count = sum(count for reason, count in seen.reasons if not reason.endswith(_OURS))
        return self._count(seen, count, warm=False) if count else None
