"""Step 1, authenticate: which client sends this request. RFC 6749 §2.3, §3.2.1, §5.2.

(1) one method, one client named;
(2) it has not failed too often;
(3) its credential is good, and by the method it is registered with;
(4) it is not revoked;
(5) for an exchange: it may use this grant.

No network is touched here, and the database only for an assertion that is good. An unknown client
costs as much time as a wrong secret, and both are answered alike.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from broker.blocklist.snapshot import BlocklistStale, Revocations
from broker.clients.assertion import AssertionVerifier, ReplayGuard, build_stand_ins
from broker.clients.credentials import PresentedAssertion, PresentedSecret, read_credentials
from broker.clients.registry import ClientRegistry, RegisteredClient
from broker.domain import Client, Credentials
from broker.errors import AuthenticationRejected, Reason
from broker.jose.compact import UnverifiedJws, parse_compact
from broker.jose.errors import Malformed

_GRANT_TYPE: Final = "token-exchange"
# A credential was judged and is not good; anything else says nothing about who is guessing.
_FAILURES: Final = frozenset(
    {
        Reason.CLIENT_CREDENTIALS_MALFORMED,
        Reason.CLIENT_UNKNOWN,
        Reason.CLIENT_METHOD_NOT_ALLOWED,
        Reason.CLIENT_SECRET_MISMATCH,
        Reason.CLIENT_ASSERTION_INVALID,
        Reason.CLIENT_ASSERTION_EXPIRED,
        Reason.CLIENT_ASSERTION_AUDIENCE,
        Reason.CLIENT_ASSERTION_REPLAYED,
    }
)


class Throttle(Protocol):
    """Counts failed authentications and says who has to wait."""

    def check(self, client_id: str, source: str, now: datetime) -> int | None:
        """Return how many seconds this client has to wait at this source; None: not at all."""

    def failed(self, client_id: str, source: str, now: datetime) -> None:
        """Count a failed authentication."""

    def succeeded(self, client_id: str, source: str) -> None:
        """Remember that this client was at this source."""


@dataclass(frozen=True, slots=True)
class _Claimed:
    """Whom the credentials claim to be from, and what is to be judged."""

    unverified_client_id: str  # empty if they do not say
    presented: PresentedSecret | UnverifiedJws | Reason  # a reason: not fit to be judged


class ClientAuthenticator:
    """Authenticates the clients of one configuration."""

    def __init__(
        self,
        registry: ClientRegistry,
        *,
        issuer: str,
        token_endpoint: str,
        throttle: Throttle,
        replay: ReplayGuard,
        revocations: Revocations,
    ) -> None:
        """``issuer`` and ``token_endpoint`` are ours: what assertions are addressed to."""
        self._registry = registry
        self._throttle = throttle
        self._revocations = revocations
        self._assertions = AssertionVerifier(
            issuer, token_endpoint, replay, build_stand_ins(registry)
        )

    async def authenticate(self, credentials: Credentials, *, source: str, now: datetime) -> Client:
        """Return the client that the credentials prove, if it may exchange tokens.

        ``source`` is the address of the peer, or what a trusted proxy said it was.

        Raises ``AuthenticationRejected`` with a reason ``client.…``, or ``replay.unavailable`` or
        ``revocation.unavailable``.
        """
        client = await self.identify(credentials, source=source, now=now)
        # (5) RFC 6749 §5.2: a known client, so it is told.
        if _GRANT_TYPE not in client.grant_types:
            raise AuthenticationRejected(Reason.CLIENT_GRANT_TYPE_NOT_ALLOWED)
        return client

    async def identify(self, credentials: Credentials, *, source: str, now: datetime) -> Client:
        """Return the client that the credentials prove, whichever endpoint it asks.

        Raises what ``authenticate`` raises, except for the grant.
        """
        # (1) Who it claims to be from, whoever it is from.
        claimed = _claim(credentials)
        # (2) Before anything is judged: a good guess must not show while guesses are refused.
        client_id = claimed.unverified_client_id
        wait = self._throttle.check(client_id, source, now)
        if wait is not None:
            raise AuthenticationRejected(Reason.CLIENT_THROTTLED, retry_after=wait)
        # (3) What was not good counts; that our database was away does not.
        try:
            client = await self._judge(claimed, now)
        except AuthenticationRejected as rejected:
            if rejected.reason in _FAILURES:
                self._throttle.failed(client_id, source, now)
            raise
        self._throttle.succeeded(client_id, source)
        # (4) After the secret: who does not know it learns nothing of the client.
        self._check_revoked(client, now)
        return client

    def _check_revoked(self, client: Client, now: datetime) -> None:
        try:
            block = self._revocations.current.find_block(client, now)
        except BlocklistStale as stale:
            raise AuthenticationRejected(Reason.REVOCATION_UNAVAILABLE) from stale
        if block is not None:
            raise AuthenticationRejected(Reason.CLIENT_REVOKED)

    async def _judge(self, claimed: _Claimed, now: datetime) -> Client:
        registered = self._registry.find(claimed.unverified_client_id)
        match claimed.presented:
            case PresentedSecret() as presented:
                return self._judge_secret(presented, registered)
            case UnverifiedJws() as jws:
                await self._assertions.verify(jws, registered, now=now)
            case Reason() as reason:
                raise AuthenticationRejected(reason)
        if registered is None:  # not possible: nobody's assertion verifies
            raise AuthenticationRejected(Reason.CLIENT_UNKNOWN)
        return registered.client

    def _judge_secret(
        self, presented: PresentedSecret, registered: RegisteredClient | None
    ) -> Client:
        # Hashed and compared whether or not there is such a client (OA-2.3-06).
        secrets = self._registry.nobody if registered is None else registered.secrets
        fits = secrets.match(presented.unverified_secret)
        if registered is None:
            raise AuthenticationRejected(Reason.CLIENT_UNKNOWN)
        if presented.method is not registered.client.auth_method:
            raise AuthenticationRejected(Reason.CLIENT_METHOD_NOT_ALLOWED)
        if not fits:
            raise AuthenticationRejected(Reason.CLIENT_SECRET_MISMATCH)
        return registered.client


def _claim(credentials: Credentials) -> _Claimed:
    """Return whom the credentials claim to be from.

    Raises ``AuthenticationRejected`` for what is a mistake in the request and no failed attempt.
    """
    try:
        presented = read_credentials(credentials)
    except AuthenticationRejected as rejected:
        if rejected.reason is Reason.CLIENT_CREDENTIALS_MALFORMED:
            return _Claimed(credentials.unverified_client_id or "", rejected.reason)
        raise
    if isinstance(presented, PresentedSecret):
        return _Claimed(presented.unverified_client_id, presented)
    return _claim_by_assertion(presented)


def _claim_by_assertion(presented: PresentedAssertion) -> _Claimed:
    beside = presented.unverified_client_id
    try:
        jws = parse_compact(presented.unverified_assertion)
    except Malformed:
        return _Claimed(beside or "", Reason.CLIENT_ASSERTION_INVALID)
    subject = jws.unverified_claims.get("sub")
    # RFC 7521 §4.2: a ``client_id`` beside it names the same client.
    if not isinstance(subject, str) or beside not in {None, subject}:
        return _Claimed(beside or "", Reason.CLIENT_ASSERTION_INVALID)
    return _Claimed(subject, jws)
