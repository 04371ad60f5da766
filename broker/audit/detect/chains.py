"""``deep_chain``: a client's token has come further than any of its for two weeks."""

from datetime import UTC, datetime

from broker.audit.detect.alert import Alert
from broker.audit.detect.memory import CLIENTS, DAYS, Recent
from broker.audit.detect.sighting import DAY, Sighting
from broker.settings.alerts import DeepChain

_LENGTH = DAYS + 1


class _Client:
    __slots__ = ("days", "deepest")

    def __init__(self) -> None:
        self.days = [-1] * _LENGTH
        self.deepest = [0] * _LENGTH

    def add(self, day: int, depth: int) -> int:
        """Return the deepest until now, of this day and ``DAYS`` days before."""
        since = day - DAYS
        recent = zip(self.days, self.deepest, strict=True)
        before = max((deep for one, deep in recent if since <= one <= day), default=0)
        place = day % _LENGTH
        if self.days[place] < day:
            self.days[place], self.deepest[place] = day, depth
        elif self.days[place] == day:
            self.deepest[place] = max(depth, self.deepest[place])
        return before


class DeepChains:
    """Knows the deepest of each day, where it is as deep as an alert would be."""

    def __init__(self, settings: DeepChain) -> None:
        self._least = settings.depth
        self._clients: Recent[str, _Client] = Recent(CLIENTS, _Client)

    def see(self, seen: Sighting) -> Alert | None:
        """Return the alert that this row makes."""
        if seen.client is None or not seen.asks or seen.depth < self._least:
            return None
        before = self._clients[seen.client].add(seen.day, seen.depth)
        if seen.depth <= before:
            return None
        return Alert(
            rule="deep_chain",
            client=seen.client,
            issuer=seen.issuer,
            subject=None,
            at=seen.at,
            since=datetime.fromtimestamp((seen.day - DAYS) * DAY, UTC),
            observed=seen.depth,
            expected=before,
            threshold=self._least,
            meaning="exchanges that a token of this client has come through",
            evidence=(seen.id,),
        )
