"""A token that was issued lately, given out once more where a new one would be the same.

Where the policy says ``reuse``, steps 0 to 4 run as always, and for each request: credentials,
signatures, expiry, revocation, trust, policy and floor. Only minting is left out, and only if

(1) the key fits: a keyed hash over what a new token would say, its times and ids left out, and over
    the client, the presented tokens, every parameter, the policy's revision and its whole decision;
(2) nothing was revoked, anywhere, since the request began that the token was minted for, and by
    what was revoked before the token itself is good: one of the same second would not be;
(3) the key that would sign now is the one that did;
(4) it is no older than the decision allows, has a sensible part of its life left, and ends no later
    than a new one would.

So it differs from what would be minted in nothing but being somewhat older. Never kept are tokens
that are bound to a key or oblige to something, and what was made of a token for one use. What is
kept is this process's and this configuration's: a reload begins with nothing.

Of several that ask for one thing at a time one mints, and the others wait until its row is durable:
a token is given out again only once the row that tells of it is there. Each has a row of its own.
"""

import asyncio
import hmac
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from opentelemetry.metrics import CallbackOptions, Observation

from broker.blocklist.snapshot import BlocklistStale, Revocations, Snapshot, facts_of_issued
from broker.cache import BoundedCache
from broker.domain import IssuedToken, Permit, ReusedToken, SignedToken
from broker.errors import MintRejected
from broker.minting.claims import build_claims
from broker.minting.mint import SigningKeys
from broker.telemetry import meter

MAX_BYTES: Final = 32 * 1024 * 1024  # of a process, and so about 10,000 tokens
LEAST: Final = timedelta(seconds=10)  # of life that is left of a token that is given out again
_SHARE: Final = 10  # and at least this part of the life that it began with
_SECRET: Final = 32  # bytes
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# What a token says that no other one says: its times and its ids.
_ITS_OWN: Final = ("iat", "nbf", "exp", "jti")

# Added up here and read when somebody asks: it is there to cost little.
_found: Final[Counter[str]] = Counter()


def _observe_found(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(count, {"outcome": outcome}) for outcome, count in _found.items()]


meter.create_observable_counter(
    "broker.exchange.reuses",
    callbacks=[_observe_found],
    unit="1",
    description="Exchanges whose grant allows reuse, by outcome: hit (given out again) or miss.",
)
_entries = meter.create_gauge(
    "broker.exchange.reuse.entries", unit="1", description="Issued tokens in memory, for reuse."
)
_bytes = meter.create_gauge(
    "broker.exchange.reuse.bytes", unit="By", description="What they take, about; bounded."
)


@dataclass(frozen=True, slots=True)
class KeptToken:
    """What is remembered of an issued token: nothing of the request that it was made for."""

    jti: str
    token: str = field(repr=False)
    txn: str
    kid: str
    minted_at: datetime
    issued_at: datetime  # the same, in whole seconds
    expires_at: datetime

    @property
    def size(self) -> int:
        """Bytes, for the bound of what is kept."""
        return len(self.token)

    def serves(self, permit: Permit, now: datetime) -> bool:
        """(4): whether it is as good as one that is minted now.

        The lifetime is the same, by its key; so it ends no later if it began no later, and the
        tokens that were presented live as long.
        """
        exchange, left = permit.exchange, self.expires_at - now
        return (
            self.issued_at <= now < self.minted_at + permit.reuse
            and left >= max(LEAST, (self.expires_at - self.issued_at) / _SHARE)
            and self.expires_at <= exchange.subject.expires_at
            and (exchange.actor is None or self.expires_at <= exchange.actor.expires_at)
        )


class TokenReuse:
    """The tokens that one configuration of one process has issued lately, and may give out again.

    ``issuer`` is our own; ``build_id`` makes ids of audit rows.
    """

    def __init__(
        self,
        revocations: Revocations,
        signing_keys: SigningKeys,
        *,
        issuer: str,
        clock: Callable[[], datetime],
        build_id: Callable[[], str],
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._revocations = revocations
        self._signing_keys = signing_keys
        self._issuer = issuer
        self._clock = clock
        self._build_id = build_id
        self._max_bytes = max_bytes
        self._secret = os.urandom(_SECRET)  # so that keys say nothing of what is behind them
        self._tokens: BoundedCache[KeptToken] = BoundedCache(max_bytes)
        self._snapshot: Snapshot | None = None  # under which all of them were minted
        self._flights: dict[bytes, asyncio.Event] = {}
        self._report()

    def look(self) -> Snapshot | None:
        """Return what is revoked when a request begins; None: that cannot be said."""
        try:
            return self._revocations.current
        except BlocklistStale:
            return None

    async def find_or_issue(
        self, permit: Permit, began: Snapshot | None, issue: Callable[[], Awaitable[IssuedToken]]
    ) -> IssuedToken | ReusedToken:
        """Return a token to be given out again, or what ``issue`` returns.

        ``began`` is from ``look``, before anything of the request was checked. Raises what
        ``issue`` raises.
        """
        claims = build_claims(permit, issuer=self._issuer, id="", now=_EPOCH)
        if began is None or not is_reusable(permit, claims):
            return await issue()
        key = derive_key(self._secret, permit, claims)
        flight = self._flights.get(key)
        if flight is not None:
            # Until the row of the one that mints is durable, or it has failed.
            await flight.wait()
        if (kept := self._find(key, permit, began)) is not None:
            _found["hit"] += 1
            return _reuse(kept, permit, self._build_id())
        _found["miss"] += 1
        if flight is not None:
            # What was waited for came to nothing; to wait in turn could take without end.
            return await issue()
        flight = self._flights[key] = asyncio.Event()
        try:
            issued = await issue()
            self._keep(key, permit, issued, began)
        finally:
            del self._flights[key]
            flight.set()
        return issued

    def _find(self, key: bytes, permit: Permit, began: Snapshot) -> KeptToken | None:
        # (2) A revocation that arrived amid a request came after the checks of that request.
        if not self._is_as(began):
            return None
        kept = self._tokens.find(key)
        if kept is None:
            return None
        if kept.kid == self._signing_kid(permit) and kept.serves(permit, self._clock()):
            return kept
        self._drop(key)
        return None

    def _keep(self, key: bytes, permit: Permit, issued: IssuedToken, began: Snapshot) -> None:
        signed = issued.signed
        if not isinstance(signed, SignedToken) or not self._is_as(began):
            return
        # What a revocation asks depends on no clock: what is good under it now stays so.
        if began.find(facts_of_issued(signed, issuer=self._issuer)) is None:
            self._tokens.keep(key, _remember(signed, permit.exchange.at))
            self._report()

    def _drop(self, key: bytes) -> None:
        self._tokens.drop(key)
        self._report()

    def _is_as(self, began: Snapshot) -> bool:
        """(2): whether nothing was revoked since; what was minted before a revocation is gone."""
        current = self.look()
        if current is not self._snapshot:
            self._tokens = BoundedCache(self._max_bytes)
            self._snapshot = current
            self._report()
        return current is began

    def _signing_kid(self, permit: Permit) -> str | None:
        """(3): the id of the key that would sign; None: there is none, as ``mint`` will find."""
        try:
            return self._signing_keys.signing_key(permit.targets[0].algorithm).kid
        except MintRejected:
            return None

    def _report(self) -> None:
        _entries.set(len(self._tokens))
        _bytes.set(self._tokens.size)


def is_reusable(permit: Permit, claims: dict[str, Any]) -> bool:
    """Return whether such a token may be given out again at all; ``claims`` are what it says."""
    exchange = permit.exchange
    one_time = exchange.subject.one_time or (exchange.actor is not None and exchange.actor.one_time)
    # A token that is bound to a key is for whoever has shown it in this very request.
    return bool(permit.reuse) and not (one_time or permit.obligations or "cnf" in claims)


def derive_key(secret: bytes, permit: Permit, claims: dict[str, Any]) -> bytes:
    """(1): return the key of a permit: HMAC-SHA256 over all of it but its times and ids.

    ``claims`` are what a new token would say. Lists in JSON are read back in one way only, so no
    two requests that differ have one text.
    """
    exchange = permit.exchange
    request, client = exchange.request, exchange.client
    subject, actor = exchange.subject, exchange.actor
    of_actor = None if actor is None else (actor.digest, actor.asserted_by)
    text = orjson.dumps(
        (
            (client.id, client.auth_method),
            (subject.digest, subject.asserted_by),
            of_actor,
            # As sent: two spellings of one request are two, which costs a token and no more.
            (request.audiences, request.resources, request.scope, request.purpose),
            (request.subject_token_type, request.actor_token_type, request.requested_token_type),
            [(target.name, target.format, target.algorithm) for target in permit.targets],
            (permit.evaluation.revision, permit.evaluation.output),
            {name: value for name, value in claims.items() if name not in _ITS_OWN},
        ),
        option=orjson.OPT_SORT_KEYS,
    )
    return hmac.digest(secret, text, "sha256")


def _remember(signed: SignedToken, minted_at: datetime) -> KeptToken:
    return KeptToken(
        jti=signed.id,
        token=signed.token,
        txn=signed.txn,
        kid=signed.kid,
        minted_at=minted_at,
        issued_at=signed.issued_at,
        expires_at=signed.expires_at,
    )


def _reuse(kept: KeptToken, permit: Permit, id: str) -> ReusedToken:  # noqa: A002 — the row's
    return ReusedToken(
        permit=permit,
        id=id,
        jti=kept.jti,
        token=kept.token,
        txn=kept.txn,
        kid=kept.kid,
        issued_at=kept.issued_at,
        expires_at=kept.expires_at,
    )
