"""All rules over the rows of the trail, in their order: rows in, alerts out, and nothing else.

It asks no clock: what the time is, the rows say. The same rows give the same alerts. So do the
same last ``LOOKBACK`` and what follows, unless more clients or subjects are about than it
remembers (``broker.audit.detect.memory``).
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

from broker.audit.detect.again import Replayed, UseAfterRevocation
from broker.audit.detect.alert import Alert
from broker.audit.detect.chains import DeepChains
from broker.audit.detect.memory import DAYS
from broker.audit.detect.pairs import NewPairs
from broker.audit.detect.sighting import Sighting, sight
from broker.audit.detect.surge import Rate, Refusals
from broker.audit.detect.widening import Widened
from broker.settings.alerts import AlertRules, Alerts, Rule, Suppression

# Whole days are compared, so one more; and rows of several writers are not quite in order.
LOOKBACK: Final = timedelta(days=DAYS + 2)
_MOST_TOLD: Final = 16_384


class Watcher(Protocol):
    """A rule."""

    def see(self, seen: Sighting) -> Alert | None:
        """Return the alert that this row makes."""


@dataclass(frozen=True, slots=True)
class Found:
    """An alert, and why it is not written if it is not."""

    alert: Alert
    suppressed: Suppression | None = None


class Engine:
    """The rules that are enabled, and what they remember."""

    def __init__(self, settings: Alerts) -> None:
        self._rules = _build_rules(settings.rules)
        self._suppress = settings.suppress
        self._told: OrderedDict[str, None] = OrderedDict()

    def feed(self, rows: Sequence[Mapping[str, Any]]) -> list[Found]:
        """Return what these rows show, each alert once."""
        return [found for row in rows for found in self._see(row)]

    def _see(self, row: Mapping[str, Any]) -> Iterator[Found]:
        seen = sight(row)
        if seen is None:
            return
        for rule in self._rules:
            alert = rule.see(seen)
            if alert is not None and self._is_new(alert.id):
                yield Found(alert, self._suppression(alert))

    def _is_new(self, id: str) -> bool:  # noqa: A002 — the column's name
        if id in self._told:
            return False
        self._told[id] = None
        if len(self._told) > _MOST_TOLD:
            self._told.popitem(last=False)
        return True

    def _suppression(self, alert: Alert) -> Suppression | None:
        for one in self._suppress:
            about = one.client == alert.client if one.client else one.issuer == alert.issuer
            if one.rule == alert.rule and about and alert.at < one.until:
                return one
        return None


def _build_rules(settings: AlertRules) -> list[Watcher]:
    rules: list[tuple[Rule, Watcher]] = [
        (settings.client_rate, Rate(settings.client_rate)),
        (settings.new_pair, NewPairs(settings.new_pair)),
        (settings.probing, Refusals(settings.probing)),
        (settings.replay, Replayed(settings.replay)),
        (settings.deep_chain, DeepChains(settings.deep_chain)),
        (settings.use_after_revocation, UseAfterRevocation(settings.use_after_revocation)),
        (settings.widening, Widened(settings.widening)),
    ]
    return [watcher for rule, watcher in rules if rule.enabled]
