"""What the demo tells: two exchanges that work and three that are refused, all by real HTTP.

    alice's token → checkout exchanges it for inventory → inventory exchanges that for ledger

And how it ends: her access is cut, both of these tokens die, and she logs in again.

Nothing is printed here. Each ``Hop`` says what was asked and answered, and whether that is what
the story needs; who tells it decides how it looks.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import httpx

from broker.demo.cutoff import REASON, Cut, Introspected
from broker.jose.compact import parse_compact
from broker.jose.errors import JoseError
from broker.jose.jwk import KeySet, load_keys
from broker.jose.verify import verify_signature
from broker.oauth import GRANT_TYPE_TOKEN_EXCHANGE, OAuthError, TokenType

USER: Final = "alice"
_TIMEOUT: Final = 10.0  # seconds
_ALGORITHMS: Final = ("ES256",)


class TokenSource(Protocol):
    """Where a user's token comes from: the demo identity provider."""

    issuer: str

    def issue(self, subject: str, *, audience: str, **claims: Any) -> str:  # noqa: ANN401 — claims
        """Return a signed token of ``subject``."""
        ...


@dataclass(frozen=True, slots=True)
class Admin:
    """Where operators reach the broker, and by what it knows them."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a client asks for."""

    client: str
    audience: str
    scope: str


@dataclass(frozen=True, slots=True)
class Hop:
    """One exchange: what was asked, what came back, and what the story needs to come back."""

    title: str
    why: str
    ask: Ask
    expected: OAuthError | None  # None: a token
    presented: str = field(repr=False)
    status: int = 0
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    request_id: str = ""
    seconds: float = 0.0

    @property
    def issued(self) -> str | None:
        """The token, if there is one."""
        token = self.body.get("access_token")
        return token if isinstance(token, str) else None

    @property
    def is_as_expected(self) -> bool:
        """Whether the broker did what the story says it does."""
        if self.expected is None:
            return self.status == httpx.codes.OK and self.issued is not None
        return self.issued is None and self.body.get("error") == self.expected


def _body(response: httpx.Response) -> Mapping[str, Any]:
    """Return what was answered; nothing, where that is not the JSON object it should be."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


class Story:
    """The exchanges of the demo, each made when it is told."""

    def __init__(
        self,
        broker: str,
        issuer: TokenSource,
        secrets: Mapping[str, str],
        client: httpx.AsyncClient,
        *,
        admin: Admin,
    ) -> None:
        self._broker = broker
        self._admin = admin
        self._issuer = issuer
        self._secrets = secrets
        self._client = client
        self.token = issuer.issue(USER, audience="checkout")
        self.hops: list[Hop] = []
        self.ending: list[Cut | Introspected] = []

    async def tell(self) -> AsyncIterator[Hop]:
        """Yield the two exchanges, then the three refusals. One that fails ends the story."""
        first = await self._hop(
            "checkout exchanges it for inventory",
            "Fewer scopes, one audience, minutes of life. checkout now acts for alice.",
            Ask("checkout", "inventory", "inventory.read stock.read"),
            self.token,
        )
        yield first
        if first.issued is None:
            return
        second = await self._hop(
            "inventory exchanges that one for ledger",
            "The chain grows, and the transaction stays the same from end to end.",
            Ask("inventory", "ledger", "ledger.read"),
            first.issued,
        )
        yield second
        if second.issued is None:
            return
        yield await self._hop(
            "a scope it never held",
            "inventory may append to the ledger. alice's token never said that it might.",
            Ask("inventory", "ledger", "ledger.append"),
            first.issued,
            expected=OAuthError.INVALID_SCOPE,
        )
        yield await self._too_deep()
        yield await self._hop(
            "a token meant for somebody else",
            "ledger got hold of the token that alice gave to checkout.",
            Ask("ledger", "inventory", "inventory.read"),
            self.token,
            expected=OAuthError.INVALID_REQUEST,
        )

    async def cut_off(self) -> AsyncIterator[Cut | Introspected | Hop]:
        """Yield the cut, what introspection says of both tokens, a refusal, and a new login."""
        tokens = [hop.issued for hop in self.hops[:2]]
        match tokens:
            case [str() as first, str() as second]:
                pass
            case _:
                return
        asked = (("inventory", "checkout", first), ("ledger", "inventory", second))
        before = [await self._introspect(client, token) for client, _, token in asked]
        cut = await self._cut(least=len(tokens))
        self.ending.append(cut)
        yield cut
        if not cut.is_as_expected:
            return
        for (client, issued_to, token), told in zip(asked, before, strict=True):
            after = await self._introspect(client, token)
            self.ending.append(Introspected(client, issued_to, told, after))
            yield self.ending[-1]
        yield await self._hop(
            "inventory exchanges its token again",
            "It worked a moment ago. Who was cut off is in the token, however often it was passed"
            " on.",
            Ask("inventory", "ledger", "ledger.read"),
            first,
            expected=OAuthError.INVALID_REQUEST,
        )
        await asyncio.sleep(max(0.0, cut.over_at - time.time()))
        yield await self._hop(
            "alice logs in again, and checkout exchanges her new token",
            "What began before the cut is dead. What begins after it is not.",
            Ask("checkout", "inventory", "inventory.read stock.read"),
            self._issuer.issue(USER, audience="checkout"),
        )

    async def faults(self) -> list[str]:
        """Return what is not as it should be, after all was told; nothing, when all is well.

        What a resource server would check is checked here by the published keys.
        """
        found = [
            f"{hop.title}: the answer was {hop.status}"
            for hop in self.hops
            if not hop.is_as_expected
        ]
        found += [
            f"{type(told).__name__.lower()}: not as expected"
            for told in self.ending
            if not told.is_as_expected
        ]
        response = await self._client.get(f"{self._broker}/.well-known/jwks.json", timeout=_TIMEOUT)
        keys = load_keys(response.content, _ALGORITHMS)
        claims = [self._verified(hop.issued, keys) for hop in self.hops[:2] if hop.issued]
        match claims:
            case [dict() as first, dict() as second]:
                if first["txn"] != second["txn"]:
                    found.append("txn changed on the way")
                if second["act"].get("act") != first["act"]:
                    found.append("the chain of actors did not grow")
            case _:
                found.append("a token does not verify by the published keys")
        return found

    async def _too_deep(self) -> Hop:
        """Return a chain that is longer than the subject's own token allows."""
        token = self._issuer.issue(USER, audience="checkout", max_delegation_depth=1)
        once = await self._exchange(
            Hop(
                "a chain too deep",
                "",
                Ask("checkout", "inventory", "inventory.read stock.read"),
                None,
                token,
            )
        )
        return await self._hop(
            "a chain too deep",
            "This token of alice's may be passed on once, and checkout did that already.",
            Ask("inventory", "ledger", "ledger.read"),
            once.issued or "",
            expected=OAuthError.INVALID_REQUEST,
        )

    async def _cut(self, *, least: int) -> Cut:
        order = {"scope": "subject", "issuer": self._issuer.issuer, "key": USER, "reason": REASON}
        response = await self._client.post(
            f"{self._admin.url}/admin/revocations",
            json=order,
            headers={"Authorization": f"Bearer {self._admin.token}"},
            timeout=_TIMEOUT,
        )
        return Cut(order, least, response.status_code, _body(response))

    async def _introspect(self, client_id: str, token: str) -> Mapping[str, Any]:
        response = await self._client.post(
            f"{self._broker}/introspect",
            data={"token": token},
            headers={"Authorization": self._basic(client_id)},
            timeout=_TIMEOUT,
        )
        return _body(response)

    async def _hop(
        self, title: str, why: str, ask: Ask, presented: str, expected: OAuthError | None = None
    ) -> Hop:
        hop = await self._exchange(Hop(title, why, ask, expected, presented))
        self.hops.append(hop)
        return hop

    async def _exchange(self, hop: Hop) -> Hop:
        started = time.perf_counter()
        response = await self._client.post(
            f"{self._broker}/token",
            data={
                "grant_type": GRANT_TYPE_TOKEN_EXCHANGE,
                "subject_token": hop.presented,
                "subject_token_type": TokenType.ACCESS_TOKEN.value,
                "audience": hop.ask.audience,
                "scope": hop.ask.scope,
            },
            headers={"Authorization": self._basic(hop.ask.client)},
            timeout=_TIMEOUT,
        )
        return replace(
            hop,
            status=response.status_code,
            body=_body(response),
            request_id=response.headers.get("x-request-id", ""),
            seconds=time.perf_counter() - started,
        )

    def _basic(self, client_id: str) -> str:
        pair = f"{client_id}:{self._secrets[client_id]}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    @staticmethod
    def _verified(token: str, keys: KeySet) -> Mapping[str, Any] | None:
        try:
            return verify_signature(parse_compact(token), keys, _ALGORITHMS).claims
        except JoseError:
            return None
