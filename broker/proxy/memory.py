"""What the proxy of one process remembers, whichever configuration is in force.

No secret of a client is in any of it: tokens, and errors of upstreams, by keys that nobody can
work backwards.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from broker.audit.proxied import Label
from broker.cache import BoundedCache
from broker.proxy.answer import Failure, Refusal, UpstreamToken
from broker.proxy.count import HitCounter
from broker.proxy.flight import Flights
from broker.proxy.key import build_secret
from broker.proxy.life import Life, Moment
from broker.proxy.shared import SharedTokens
from broker.telemetry import meter

# Whoever sends wrong secrets pushes out other errors, and no token.
MAX_REFUSALS: Final = 4 * 1024 * 1024  # bytes
FINAL: Final = 2.0  # seconds that an error is repeated which would be the same again
PASSING: Final = 0.5  # seconds that any other is

_entries = meter.create_gauge(
    "broker.proxy.cache.entries", unit="1", description="Tokens of upstreams in memory."
)
_bytes = meter.create_gauge(
    "broker.proxy.cache.bytes", unit="By", description="What they take, about; bounded."
)


@dataclass(slots=True)
class Held:
    """A token of an upstream, and how long it lives."""

    token: UpstreamToken
    life: Life
    label: Label  # what its uses are counted under
    fetched: bool = True  # by this process, which has asked the upstream
    renew_at: float = 0.0  # not before: monotonic, after a renewal that failed

    @property
    def size(self) -> int:
        """Bytes, for the bound of the cache."""
        return self.token.size + sum(map(len, self.label))


@dataclass(frozen=True, slots=True)
class Repeated:
    """An error of an upstream that is repeated for a moment."""

    refusal: Refusal
    until: float  # monotonic

    @property
    def size(self) -> int:
        """Bytes, for the bound of what is repeated."""
        return self.refusal.size


Outcome = Held | Refusal | Failure


@dataclass(slots=True)
class Memory:
    """Tokens, errors, what is under way, and how often what is kept was used."""

    hits: HitCounter
    moment: Callable[[], Moment]
    max_bytes: int
    shared: SharedTokens | None = None  # None: each process has its own
    secret: bytes = field(default_factory=build_secret, repr=False)
    tokens: BoundedCache[Held] = field(init=False, repr=False)
    refusals: BoundedCache[Repeated] = field(init=False, repr=False)
    flights: Flights[Outcome] = field(default_factory=Flights, repr=False)

    def __post_init__(self) -> None:
        """Make what is bounded by ``max_bytes``."""
        self.tokens = BoundedCache(self.max_bytes)
        self.refusals = BoundedCache(MAX_REFUSALS)

    def find_token(self, key: bytes, now: Moment) -> Held | None:
        """Return the token under a key if it has life left."""
        held = self.tokens.find(key)
        if held is None:
            return None
        if held.life.remaining(now) > 0:
            return held
        self.tokens.drop(key)
        return None

    def find_refusal(self, key: bytes, now: Moment) -> Refusal | None:
        """Return the error that is to be repeated, if there is one."""
        repeated = self.refusals.find(key)
        if repeated is None:
            return None
        if now.monotonic < repeated.until:
            return repeated.refusal
        self.refusals.drop(key)
        return None

    def keep(self, key: bytes, held: Held) -> None:
        """Keep a token."""
        self.tokens.keep(key, held)
        self._report()

    def repeat(self, key: bytes, refusal: Refusal, now: Moment) -> None:
        """Repeat an error for a moment. One that is final ends what is kept under the key, too.

        Whoever may not have a new token, for its secret was changed or it was removed upstream, is
        not given the old one any longer.
        """
        if refusal.is_final:
            self.tokens.drop(key)
            self._report()
        seconds = FINAL if refusal.is_final else PASSING
        self.refusals.keep(key, Repeated(refusal, now.monotonic + seconds))

    def _report(self) -> None:
        _entries.set(len(self.tokens))
        _bytes.set(self.tokens.size)
