"""``deep_chain``: a client's token has come further than any of its for two weeks."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from broker.audit.detect.alert import Alert
from broker.audit.detect.memory import CLIENTS, DAYS, Recent, whole
from broker.audit.detect.sighting import DAY, Sighting
from broker.settings.alerts import DeepChain

_LENGTH: Final = DAYS + 1
_LEAST: Final = 2  # exchanges that are remembered, whatever the rule is set to


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

    def dump(self) -> list[Any]:
        """Return it as plain values."""
        return [self.days, self.deepest]

    def restore(self, stored: Any) -> None:  # noqa: ANN401 — whatever stands there
        """Be what these say. Raises ``TypeError`` or ``ValueError``."""
        days, deepest = ([whole(one) for one in part] for part in stored)
        if not len(days) == len(deepest) == _LENGTH:
            raise ValueError("these are other days")
        self.days, self.deepest = days, deepest


class DeepChains:
    """Knows the deepest of each day."""

    def __init__(self, settings: DeepChain) -> None:
        self._least = settings.depth
        self._clients: Recent[str, _Client] = Recent(CLIENTS, _Client)

    @property
    def parts(self) -> Mapping[str, Recent[Any, Any]]:
        """What it remembers, by names."""
        return {"deep_chain": self._clients}

    def see(self, seen: Sighting) -> Alert | None:
        """Return the alert that this row makes."""
        if seen.client is None or not seen.asks or seen.depth < _LEAST:
            return None
        before = self._clients[seen.client].add(seen.day, seen.depth)
        if seen.depth < self._least or seen.depth <= before:
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
