"""Tokens that several processes share: found there before an upstream is asked, put there after.

The store is never believed. What does not open, says more than it may or is over is nothing; and
while the store does not answer, each process does what it would do without one, and says so once.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import orjson

from broker.circuit import Circuit, State
from broker.proxy.answer import UpstreamToken
from broker.proxy.key import Parts
from broker.proxy.life import Life, Moment
from broker.proxy.seal import Seal, Unsealable
from broker.proxy.store import RedisStore, StoreUnavailable
from broker.telemetry import meter

_MEMBERS: Final = {
    "members": dict,
    "countdowns": dict,
    "expires_in": int,
    "digest": str,
    "asked": float,
}
_log = logging.getLogger(__name__)
_uses = meter.create_counter(
    "broker.proxy.store.uses",
    unit="1",
    description="Uses of the shared store of tokens, by outcome: found, missing, kept, dropped,"
    " unreadable, failed, not_asked.",
)
_circuit = meter.create_gauge(
    "broker.proxy.store.circuit",
    description="0 the shared store is asked, 1 it is tried, 2 it is not.",
)
Found = TypeVar("Found")


class SharedTokens:
    """The tokens of all processes that have one store and one shared secret."""

    def __init__(
        self,
        store: RedisStore,
        seal: Seal,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._seal = seal
        self._circuit = Circuit(monotonic, report=self._report)
        self._failing = False  # so that it is logged once, not at each of a thousand

    async def find(
        self, parts: Parts, now: Moment, *, margin: float
    ) -> tuple[UpstreamToken, Life] | None:
        """Return a token that needs no renewal yet, if another process has put one there."""
        try:
            found = await self._ask(lambda: self._store.find(self._seal.place(parts)))
        except StoreUnavailable:
            return None
        if found is None:
            _count("missing")
            return None
        value, left = found
        read = self._read(parts, value, left, now, margin)
        _count("unreadable" if read is None else "found")
        if read is None or not read[1].is_fresh(now):
            return None
        return read

    async def keep(self, parts: Parts, token: UpstreamToken, life: Life, now: Moment) -> None:
        """Put a token there for as long as it may be used."""
        document = {
            "members": dict(token.members),
            "countdowns": dict(token.countdowns),
            "expires_in": token.expires_in,
            "digest": token.digest,
            "asked": life.began.wall,
        }
        value = self._seal.seal(parts, orjson.dumps(document))
        left = life.seconds - life.elapsed(now)
        with suppress(StoreUnavailable):
            await self._ask(lambda: self._store.keep(self._seal.place(parts), value, left))
            _count("kept")

    async def drop(self, parts: Parts) -> None:
        """Take away what is there: the upstream gives it no longer."""
        with suppress(StoreUnavailable):
            await self._ask(lambda: self._store.drop(self._seal.place(parts)))
            _count("dropped")

    async def aclose(self) -> None:
        """Close every connection."""
        await self._store.aclose()

    def _read(
        self, parts: Parts, value: bytes, left: float, now: Moment, margin: float
    ) -> tuple[UpstreamToken, Life] | None:
        try:
            document = orjson.loads(self._seal.open(parts, value))
        except (Unsealable, orjson.JSONDecodeError):
            return None
        if type(document) is not dict or document.keys() != _MEMBERS.keys():
            return None
        if not all(type(document[name]) is kind for name, kind in _MEMBERS.items()):
            return None
        return _build(document, left, now, margin, len(value))

    async def _ask(self, ask: Callable[[], Awaitable[Found]]) -> Found:
        """Return what the store says, and tell the circuit. Raises ``StoreUnavailable``."""
        if not self._circuit.admit():
            _count("not_asked")
            raise StoreUnavailable("not asked")
        try:
            found = await ask()
        except StoreUnavailable as error:
            _count("failed")
            if not self._failing:
                _log.warning(
                    "the shared store of tokens does not answer", extra={"fault": str(error)}
                )
            self._failing = True
            self._circuit.failed()
            raise
        except BaseException:
            self._circuit.abandoned()
            raise
        self._failing = False
        self._circuit.succeeded()
        return found

    def _report(self, state: State) -> None:
        _circuit.set(state)


def _build(
    document: dict[str, Any], left: float, now: Moment, margin: float, size: int
) -> tuple[UpstreamToken, Life]:
    """Return the token with its life as it is by our clocks and by the store's, the shorter one."""
    expires_in = document["expires_in"]
    whole = Life.build(now, expires_in, margin=margin)
    # Another process has asked for it, so our monotonic clock knows nothing of that; and our wall
    # clock may be behind. How long the store keeps it yet needs neither.
    elapsed = max(whole.seconds - left, now.wall - document["asked"], 0.0)
    began = Moment(now.monotonic - elapsed, now.wall - elapsed)
    token = UpstreamToken(
        document["members"],
        document["countdowns"],
        expires_in,
        unusable=False,
        digest=document["digest"],
        size=size,
    )
    return token, Life.build(began, expires_in, margin=margin)


def _count(outcome: str) -> None:
    _uses.add(1, {"outcome": outcome})
