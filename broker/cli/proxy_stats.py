"""What the token proxy of one process has saved, read from its metrics."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

_MONTH: Final = 30 * 24 * 3600  # seconds
_ENOUGH: Final = 3600  # seconds, to say what a month would be
_HITS: Final = ("hit", "shared")  # tokens that nobody upstream was asked for
_SERVED: Final = (*_HITS, "fetched")
_GIVEN: Final = frozenset({"token", "token_of_unknown_life"})  # calls that gave one
_CENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Traffic:
    """What one upstream was asked for here, and what it was asked itself."""

    outcomes: Mapping[str, int]
    calls: int
    given: int  # tokens that the upstream gave, renewals among them

    @property
    def served(self) -> int:
        """Tokens that services got."""
        return sum(self.outcomes.get(name, 0) for name in _SERVED)

    @property
    def hits(self) -> int:
        """Those that were there already, or were fetched for somebody else."""
        return sum(self.outcomes.get(name, 0) for name in _HITS)

    @property
    def others(self) -> int:
        """Requests that got no token."""
        return sum(self.outcomes.values()) - self.served

    @property
    def saved(self) -> int:
        """Tokens that the upstream did not have to give."""
        return max(0, self.served - self.given)

    @property
    def share(self) -> float:
        """What was saved of what was served, in per cent."""
        return 100 * self.saved / self.served if self.served else 0.0


@dataclass(frozen=True, slots=True)
class Stats:
    """All upstreams of one process since it was started."""

    upstreams: Mapping[str, Traffic]
    seconds: float
    price: Decimal | None = None  # of one token
    total: Traffic = field(init=False)

    def __post_init__(self) -> None:
        """Add them up."""
        outcomes: Counter[str] = Counter()
        for traffic in self.upstreams.values():
            outcomes.update(traffic.outcomes)
        calls = sum(traffic.calls for traffic in self.upstreams.values())
        given = sum(traffic.given for traffic in self.upstreams.values())
        object.__setattr__(self, "total", Traffic(dict(outcomes), calls, given))

    def cost(self, tokens: int) -> Decimal | None:
        """Return what so many tokens cost, to the cent; None if no price was stated."""
        if self.price is None:
            return None
        return (self.price * tokens).quantize(_CENT, ROUND_HALF_UP)

    def monthly(self, count: int) -> int | None:
        """Return how many that are in thirty days; None: it is too early to say."""
        return round(count * _MONTH / self.seconds) if self.seconds >= _ENOUGH else None

    def describe(self) -> dict[str, Any]:
        """Return all of it as JSON has it."""
        return {
            "seconds": round(self.seconds),
            "upstreams": {name: _describe(each) for name, each in self.upstreams.items()},
            "total": _describe(self.total),
            "month": {
                "served": self.monthly(self.total.served),
                "given": self.monthly(self.total.given),
            },
            "price": None if self.price is None else str(self.price),
            "saved": None if self.price is None else str(self.cost(self.total.saved)),
        }


def read_stats(metrics: str, *, now: float, price: Decimal | None = None) -> Stats:
    """Return what a process says in the Prometheus text format. Raises ``ValueError``."""
    outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    calls: Counter[str] = Counter()
    given: Counter[str] = Counter()
    started = now
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            upstream = sample.labels.get("upstream", "")
            if sample.name == "broker_proxy_answers_total":
                outcomes[upstream][sample.labels["outcome"]] += int(sample.value)
            elif sample.name == "broker_proxy_upstream_calls_total":
                calls[upstream] += int(sample.value)
                given[upstream] += int(sample.value) * (sample.labels["outcome"] in _GIVEN)
            elif sample.name == "process_start_time_seconds":
                started = min(started, sample.value)  # of several processes, the oldest
    names = sorted({*outcomes, *calls})
    return Stats(
        {name: Traffic(dict(outcomes[name]), calls[name], given[name]) for name in names},
        max(0.0, now - started),
        price,
    )


def _describe(traffic: Traffic) -> dict[str, Any]:
    return {
        "served": traffic.served,
        "hits": traffic.hits,
        "upstream_calls": traffic.calls,
        "given_upstream": traffic.given,
        "without_a_token": traffic.others,
        "saved": traffic.saved,
        "saved_percent": round(traffic.share, 2),
        "outcomes": dict(traffic.outcomes),
    }
