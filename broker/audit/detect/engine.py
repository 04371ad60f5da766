"""All rules over the rows of the trail, in their order: rows in, alerts out, and nothing else.

It asks no clock: what the time is, the rows say. The same rows give the same alerts. So do the
same last ``LOOKBACK`` and what follows, unless more clients or subjects are about than it
remembers (``broker.audit.detect.memory``). What it remembers is the same whatever the settings
are: a rule that is off learns too, so that it knows what is usual when it is turned on.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol

from broker.audit.detect.again import Replayed, UseAfterRevocation
from broker.audit.detect.alert import Alert
from broker.audit.detect.chains import DeepChains
from broker.audit.detect.memory import DAYS, Recent, texts, whole
from broker.audit.detect.obliged import ObligedTo
from broker.audit.detect.pairs import NewPairs
from broker.audit.detect.sighting import Sighting, sight
from broker.audit.detect.surge import Rate, Refusals
from broker.audit.detect.widening import Widened
from broker.settings.alerts import AlertRules, Alerts, Rule

# Whole days are compared, so one more; and rows of several writers are not quite in order.
LOOKBACK: Final = timedelta(days=DAYS + 2)
_MOST_TOLD: Final = 16_384
_TOLD: Final = "told"  # ids, as a part of what is remembered
_TODAY: Final = "today"
MOST_A_DAY: Final = 16  # of a rule about a client: where an issuer is revoked, all its subjects are


class Watcher(Protocol):
    """A rule."""

    @property
    def parts(self) -> Mapping[str, Recent[Any, Any]]:
        """What it remembers, by names that no other rule has."""

    def see(self, seen: Sighting) -> Alert | None:
        """Return the alert that this row makes."""


@dataclass(frozen=True, slots=True)
class Found:
    """An alert, and why it is not written if it is not."""

    alert: Alert
    suppressed: str | None = None


class _Today:
    """How many alerts there were of a rule and a client."""

    __slots__ = ("count", "day")

    def __init__(self) -> None:
        self.day = -1
        self.count = 0

    def add(self, day: int) -> int:
        """Return how many there are on this day, with one more."""
        self.day, self.count = day, self.count + 1 if day == self.day else 1
        return self.count

    def dump(self) -> list[int]:
        """Return it as plain values."""
        return [self.day, self.count]

    def restore(self, stored: Any) -> None:  # noqa: ANN401 — whatever stands there
        """Be what these say. Raises ``TypeError`` or ``ValueError``."""
        self.day, self.count = (whole(one) for one in stored)


class Engine:
    """The rules that are enabled, and what they remember."""

    def __init__(self, settings: Alerts) -> None:
        rules = _build_rules(settings.rules)
        self._rules = [(watcher, rule.enabled) for rule, watcher in rules]
        self._parts = {name: part for _, one in rules for name, part in one.parts.items()}
        self._suppress = settings.suppress
        self._told: OrderedDict[str, None] = OrderedDict()
        self._today: Recent[tuple[str, str | None], _Today] = Recent(_MOST_TOLD, _Today)
        self._parts[_TODAY] = self._today

    def feed(self, rows: Sequence[Mapping[str, Any]]) -> list[Found]:
        """Return what these rows show, each alert once."""
        return [found for row in rows for found in self._see(row)]

    def dump(self) -> Iterator[tuple[str, Any]]:
        """Yield what it remembers as plain values, a little each, under the name of its part."""
        for id_ in self._told:
            yield _TOLD, id_
        for name, part in self._parts.items():
            for one in part.dump():
                yield name, one

    def restore(self, name: str, stored: list[Any]) -> None:
        """Remember some of what was dumped, in its order.

        Raises ``TypeError`` or ``ValueError`` where it is none of that; then do not go on with it.
        """
        if name == _TOLD:
            self._told.update(dict.fromkeys(texts(stored)))
        elif name in self._parts:
            self._parts[name].restore(stored)
        else:
            raise ValueError("no rule remembers this")

    def _see(self, row: Mapping[str, Any]) -> Iterator[Found]:
        seen = sight(row)
        if seen is None:
            return
        for rule, enabled in self._rules:
            alert = rule.see(seen)
            if alert is not None and enabled and self._is_new(alert.id):
                yield Found(alert, self._suppressed(alert) or self._excess(alert, seen.day))

    def _is_new(self, id: str) -> bool:  # noqa: A002 — the column's name
        if id in self._told:
            return False
        self._told[id] = None
        if len(self._told) > _MOST_TOLD:
            self._told.popitem(last=False)
        return True

    def _excess(self, alert: Alert, day: int) -> str | None:
        if self._today[alert.rule, alert.client].add(day) > MOST_A_DAY:
            return f"there are {MOST_A_DAY} of this rule and client on this day"
        return None

    def _suppressed(self, alert: Alert) -> str | None:
        for one in self._suppress:
            about = one.client == alert.client if one.client else one.issuer == alert.issuer
            if one.rule == alert.rule and about and alert.at < one.until:
                return one.why
        return None


def _build_rules(settings: AlertRules) -> list[tuple[Rule, Watcher]]:
    return [
        (settings.client_rate, Rate(settings.client_rate)),
        (settings.new_pair, NewPairs(settings.new_pair)),
        (settings.probing, Refusals(settings.probing)),
        (settings.replay, Replayed(settings.replay)),
        (settings.deep_chain, DeepChains(settings.deep_chain)),
        (settings.use_after_revocation, UseAfterRevocation(settings.use_after_revocation)),
        (settings.widening, Widened(settings.widening)),
        (settings.obliged, ObligedTo()),
    ]
