"""Client authentication by a signed assertion, ``private_key_jwt``. RFC 7523 §2.2, §3.

What holds when ``AssertionVerifier.verify`` returns; each number is repeated where it is checked:

(1) the signature is by a key of the client itself, with an algorithm that is its own;
(2) it is no other kind of JWT (``typ``, RFC 8725 §3.11);
(3) ``iss`` and ``sub`` are both the client;
(4) it is for this server and for no other (7523bis; ``aud`` as sole value, compared exactly);
(5) it is valid now, and for no more than an hour;
(6) nobody has used it before, anywhere.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from broker.clients.registry import RegisteredClient
from broker.errors import AuthenticationRejected, Reason
from broker.issuers.jwks import KeysUnavailable
from broker.jose.compact import UnverifiedJws
from broker.jose.errors import JoseError
from broker.jose.jwk import KeySet, load_keys
from broker.jose.sign import generate_signing_key
from broker.jose.verify import VerifiedJws, verify_signature
from broker.oauth import MAX_NAME
from broker.replay import ReplayUnavailable
from broker.telemetry import meter

LEEWAY: Final = timedelta(seconds=30)
MAX_AHEAD: Final = timedelta(seconds=60)  # of ``iat``: clocks of clients run ahead
MAX_LIFETIME: Final = timedelta(hours=1)
REPLAY_KIND: Final = "client_assertion"
# RFC 7523 defines none, 7523bis the first; a JWT of another kind names itself (RFC 8725 §3.11).
_TYPES: Final = frozenset({"client-authentication+jwt", "jwt", None})
# Which key stands in for that of a client that does not exist.
_STAND_INS: Final = {
    "ES256": "ES256",
    "Ed25519": "Ed25519",
    "EdDSA": "Ed25519",
    **{f"{family}{bits}": "RS256" for family in ("RS", "PS") for bits in (256, 384, 512)},
}

_endpoint_audiences = meter.create_counter(
    "broker.clients.endpoint_audiences",
    unit="1",
    description="Assertions whose audience was the token endpoint and not the issuer, by client.",
)


class ReplayGuard(Protocol):
    """Remembers what may be used once, for all processes."""

    async def claim(self, kind: str, issuer: str, jti: str, expires_at: datetime) -> bool:
        """Whether this is the first claim of exactly this ``jti``. Raises ``ReplayUnavailable``."""


@dataclass(frozen=True, slots=True)
class AssertionVerifier:
    """Verifies the assertions of all clients."""

    issuer: str
    token_endpoint: str
    replay: ReplayGuard
    stand_ins: dict[str, KeySet]

    async def verify(
        self, jws: UnverifiedJws, registered: RegisteredClient | None, *, now: datetime
    ) -> None:
        """Return if the assertion is this client's own, for us, now, and for the first time.

        ``registered`` is whom it claims to be from; None if that is nobody.

        Raises ``AuthenticationRejected``: ``client.unknown``, ``client.method_not_allowed``,
        ``client.assertion_invalid``, ``client.assertion_audience``, ``client.assertion_expired``,
        ``client.assertion_replayed``, ``client.keys_unavailable`` or ``replay.unavailable``.
        """
        if registered is None or registered.keys is None:
            # The same work as for a client that exists, so that time does not tell (ATK-TIM-01).
            self._verify_in_vain(jws)
            unknown = registered is None
            raise AuthenticationRejected(
                Reason.CLIENT_UNKNOWN if unknown else Reason.CLIENT_METHOD_NOT_ALLOWED
            )
        verified = self._verify_signature(jws, registered)
        _check_claims(verified, registered.client.id, self._audiences(registered), now)
        if _sole_audience(verified.claims) == self.token_endpoint:
            _endpoint_audiences.add(1, {"client": registered.client.id})

        # (6) Last, because only a good assertion may be spent; and kept until no clock within the
        # leeway, of any process, could still accept it.
        expires_at = datetime.fromtimestamp(verified.claims["exp"], UTC) + 2 * LEEWAY
        try:
            first = await self.replay.claim(
                REPLAY_KIND, registered.client.id, verified.claims["jti"], expires_at
            )
        except ReplayUnavailable as unavailable:
            raise AuthenticationRejected(Reason.REPLAY_UNAVAILABLE) from unavailable
        if not first:
            raise AuthenticationRejected(Reason.CLIENT_ASSERTION_REPLAYED)

    def _verify_signature(self, jws: UnverifiedJws, registered: RegisteredClient) -> VerifiedJws:
        # (1) With the keys at hand: nobody unauthenticated makes us wait for a client's server. A
        # key that is new there is fetched behind this request, and the next one finds it.
        assert registered.keys is not None  # noqa: S101 — judged by the caller
        algorithms = registered.settings.algorithms
        try:
            keys = registered.keys.at_hand(jws.kid, jws.alg)
        except KeysUnavailable as unavailable:
            raise AuthenticationRejected(Reason.CLIENT_KEYS_UNAVAILABLE) from unavailable
        if jws.alg not in algorithms or not keys.candidates(jws.kid, jws.alg):
            self._verify_in_vain(jws)
        try:
            return verify_signature(jws, keys, algorithms)
        except JoseError as error:
            raise AuthenticationRejected(Reason.CLIENT_ASSERTION_INVALID) from error

    def _verify_in_vain(self, jws: UnverifiedJws) -> None:
        keys = self.stand_ins.get(jws.alg)
        if keys is not None:
            with suppress(JoseError):
                verify_signature(replace(jws, kid=None), keys, (jws.alg,))

    def _audiences(self, registered: RegisteredClient) -> frozenset[str]:
        if registered.settings.assertion_audience == "endpoint":
            return frozenset({self.issuer, self.token_endpoint})
        return frozenset({self.issuer})


def build_stand_ins(clients: Iterable[RegisteredClient]) -> dict[str, KeySet]:
    """Return a key for each algorithm in use that nobody's assertion verifies under.

    None for ES384 and ES512: there, time may tell whether a client exists.
    """
    in_use = {
        algorithm
        for registered in clients
        if registered.keys is not None
        for algorithm in registered.settings.algorithms
    } & _STAND_INS.keys()
    public = {
        algorithm: generate_signing_key(algorithm).public_jwk
        for algorithm in {_STAND_INS[algorithm] for algorithm in in_use}
    }
    unnamed = {
        algorithm: {name: value for name, value in jwk.items() if name not in {"alg", "kid"}}
        for algorithm, jwk in public.items()
    }
    return {
        algorithm: load_keys({"keys": [unnamed[_STAND_INS[algorithm]]]}, [algorithm])
        for algorithm in in_use
    }


def _check_claims(
    verified: VerifiedJws, client_id: str, audiences: frozenset[str], now: datetime
) -> None:
    claims = verified.claims
    # (2) RFC 8725 §3.11
    if verified.typ not in _TYPES:
        raise AuthenticationRejected(Reason.CLIENT_ASSERTION_INVALID)
    # (3) RFC 7523 §3 (1), (2)
    if claims.get("iss") != client_id or claims.get("sub") != client_id:
        raise AuthenticationRejected(Reason.CLIENT_ASSERTION_INVALID)
    # (4) An assertion with another recipient could be replayed here by that recipient.
    if _sole_audience(claims) not in audiences:
        raise AuthenticationRejected(Reason.CLIENT_ASSERTION_AUDIENCE)
    # (5) RFC 7523 §3 (4) to (6)
    _check_times(claims, now)
    # (6) What may be used once needs a name.
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= MAX_NAME:
        raise AuthenticationRejected(Reason.CLIENT_ASSERTION_INVALID)


def _check_times(claims: dict[str, Any], now: datetime) -> None:
    # An ``exp`` far ahead would have its ``jti`` remembered for as long.
    at = now.timestamp()
    leeway, ahead, life = (d.total_seconds() for d in (LEEWAY, MAX_AHEAD, MAX_LIFETIME))
    expires = _numeric_date(claims, "exp")
    not_before = _numeric_date(claims, "nbf")
    issued = _numeric_date(claims, "iat")
    if expires is None:
        raise AuthenticationRejected(Reason.CLIENT_ASSERTION_INVALID)
    if expires <= at - leeway:
        raise AuthenticationRejected(Reason.CLIENT_ASSERTION_EXPIRED)
    # Many clients ask for the whole hour by a clock that is ahead of ours: hence the leeway.
    sound = (
        expires <= at + life + leeway
        and (not_before is None or not_before <= at + leeway)
        and (issued is None or at - life - leeway <= issued <= at + ahead)
        and (issued is None or 0 < expires - issued <= life)
    )
    if not sound:
        raise AuthenticationRejected(Reason.CLIENT_ASSERTION_INVALID)


def _numeric_date(claims: dict[str, Any], name: str) -> float | None:
    """Return a NumericDate in seconds, None if absent. RFC 7519 §2: a number, not text."""
    if name not in claims:
        return None
    value = claims[name]
    # ``True`` is a number to Python, and null is not an absence.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise AuthenticationRejected(Reason.CLIENT_ASSERTION_INVALID)
    try:
        return float(value)
    except OverflowError as error:
        raise AuthenticationRejected(Reason.CLIENT_ASSERTION_INVALID) from error


def _sole_audience(claims: dict[str, Any]) -> str | None:
    """Return the one ``aud``, as text or as a list of one; None if there is another number."""
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) == 1:
        audience = audience[0]
    return audience if isinstance(audience, str) else None
