"""What the steps of an exchange hand to one another, as frozen values.

``TokenExchangeRequest`` → ``Client`` → ``VerifiedToken`` → ``Delegation`` → ``Exchange`` →
``Permit`` → ``SignedToken`` → ``IssuedToken``. Each of the last four holds the one before it,
so nothing can be minted that was not permitted and nothing answered that was not recorded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from broker.errors import Reason
from broker.oauth import AuthMethod, Mode, TokenType

# A JSON object whose members are not known beforehand: claims, policy input and output.
JsonObject = Mapping[str, Any]

_SOURCE_PREFIX: Final = 64  # bits: what one holder of IPv6 addresses has at least


@dataclass(frozen=True, slots=True)
class Principal:
    """An identity: always the pair, for a ``sub`` means nothing without its ``iss``."""

    issuer: str
    subject: str


class Target(BaseModel):
    """A resource server that tokens are issued for, as configured under ``targets``."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str
    resources: tuple[str, ...] = ()
    audience: str = ""  # the settings fill in the name
    scopes: frozenset[str] = frozenset()
    max_lifetime: timedelta = timedelta(minutes=5)
    format: str = "jwt"
    algorithm: str = "ES256"
    claims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request presented to authenticate with, unverified and never shown."""

    unverified_authorization: tuple[str, ...] = field(default=(), repr=False)
    unverified_client_id: str | None = None
    unverified_client_secret: str | None = field(default=None, repr=False)
    unverified_client_assertion: str | None = field(default=None, repr=False)
    unverified_client_assertion_type: str | None = None


@dataclass(frozen=True, slots=True)
class TokenExchangeRequest:
    """A well-formed token exchange request. RFC 8693 §2.1. Empty parameters are absent."""

    id: str  # ours; answered as X-Request-Id and recorded
    source: str  # address of the peer, or what a trusted proxy said it was
    credentials: Credentials
    unverified_subject_token: str = field(repr=False)
    subject_token_type: str
    unverified_actor_token: str | None = field(default=None, repr=False)
    actor_token_type: str | None = None
    requested_token_type: TokenType = TokenType.ACCESS_TOKEN
    audiences: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scope: str | None = None  # judged in ``decide``, where its own error code belongs
    purpose: str | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """An authenticated client: who it is and what it is configured for, without its secrets."""

    id: str
    principal: Principal  # (our issuer, id)
    auth_method: AuthMethod
    targets: frozenset[str] = frozenset()  # names of the targets that this client *is*
    known_as: frozenset[Principal] = frozenset()  # what other issuers call it
    default_target: str | None = None
    grant_types: frozenset[str] = frozenset({"token-exchange"})

    def is_principal(self, principal: Principal) -> bool:
        """Whether the client is this identity, under its own name or one that it is known as."""
        return principal == self.principal or principal in self.known_as

    def names_at(self, issuer: str) -> frozenset[str]:
        """Return what ``issuer`` calls this client; empty if it has no name there."""
        own = {self.id} if issuer == self.principal.issuer else set()
        return frozenset(own | {p.subject for p in self.known_as if p.issuer == issuer})


@dataclass(frozen=True, slots=True)
class VerifiedToken:
    """A subject or actor token whose every check of step 2 has passed.

    Made only by ``broker.tokens.verify``.
    """

    principal: Principal  # of the origin: for our own tokens read from ``sub_id``
    asserted_by: str  # the issuer that signed this token; ours from the second hop on
    local_subject: str  # the ``sub`` that names this subject under our issuer
    token_type: str  # the declared identifier, RFC 8693 §3
    typ: str | None  # the JOSE header's, in its short form and lower case
    audiences: tuple[str, ...]
    scopes: frozenset[str]
    issued_at: datetime
    expires_at: datetime
    jti: str | None
    digest: str  # lower-case hex SHA-256 of the token as presented
    lineage_id: str  # its own entry in the lineage of what descends from it
    root_issued_at: datetime  # ``iat`` of the first token of the lineage; its own if it is that
    key_id: str  # the entry of its signing key in the ``lineage_keys`` of what descends from it
    kid: str | None = None  # of the key that has signed it
    client_id: str | None = None  # from the issuer's ``client_claim``
    chain: tuple[Principal, ...] = ()  # outermost (current actor) first
    may_act: Principal | None = None
    delegation_depth: int = 0  # exchanges
    max_delegation_depth: int | None = None  # exchanges
    txn: str | None = None  # only of our own tokens
    lineage: tuple[str, ...] = ()  # only of our own tokens, oldest first; so are the next two
    lineage_keys: tuple[str, ...] = ()  # distinct: the keys that signed its ancestors
    lineage_clients: tuple[str, ...] = ()  # distinct: to whom it and its ancestors were issued
    claims: JsonObject = field(default_factory=dict, repr=False)
    policy_claims: JsonObject = field(default_factory=dict, repr=False)
    scopeless: bool = False  # scopes may be derived from its identity
    one_time: bool = False  # claimed together with the audit row of what is issued


@dataclass(frozen=True, slots=True)
class Delegation:
    """Who acts for the subject now: step 3's answer. RFC 8693 §1.1, §4.1."""

    acting: Principal
    chain: tuple[Principal, ...]  # if this is delegation; current actor first
    subject_chain: tuple[Principal, ...]  # as the subject token had it; kept by impersonation
    depth: int  # exchanges, this one included
    max_depth: int  # exchanges that this one and every later one may reach
    reenters: bool  # the current actor was the subject or in the chain before
    actor_token: bool


@dataclass(frozen=True, slots=True)
class Exchange:
    """All that is known when the decision is made."""

    request: TokenExchangeRequest
    at: datetime
    client: Client
    subject: VerifiedToken
    actor: VerifiedToken | None
    delegation: Delegation
    targets: tuple[Target, ...]  # what ``audience`` and ``resource`` resolve to, or the default
    scopes: tuple[str, ...]  # requested, without repeats, in the order of the request


# Of ``policies/schemas/input.json``. Records name it, so that a later version knows which steps
# lead from an input on record to its own (``broker.workbench.upgrade``).
INPUT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a policy engine answered, or that it had no answer; enough to replay it."""

    revision: str  # digest of the bundle
    input: bytes = field(repr=False)  # JSON
    output: Any = field(repr=False)  # the decision document; None if undefined
    decision_id: str | None = None  # given by a policy server


@dataclass(frozen=True, slots=True)
class Derived:
    """A granted scope that follows from a held one, or from ``identity``."""

    scope: str
    source: str


class Obligation(StrEnum):
    """What a permit can oblige the broker to, besides giving the token."""

    ALERT = "alert"  # somebody is told, each time


@dataclass(frozen=True, slots=True)
class Permit:
    """The exchange is allowed, in these bounds. Made only by ``broker.policy.floor``."""

    exchange: Exchange
    evaluation: Evaluation
    targets: tuple[Target, ...]
    scopes: tuple[str, ...]  # sorted
    derived: tuple[Derived, ...]
    expires_at: datetime  # whole seconds
    mode: Mode
    chain: tuple[Principal, ...]  # to be written into the token
    max_depth: int
    purpose: str | None
    claims: JsonObject = field(repr=False)  # from the subject, by the target's allow-list
    obligations: tuple[Obligation, ...] = ()  # sorted
    reuse: timedelta = timedelta()  # how long its token may be handed out again; 0: never


@dataclass(frozen=True, slots=True)
class Deny:
    """The exchange is refused: the first reason is answered, all are recorded."""

    reasons: tuple[Reason, ...]
    evaluation: Evaluation | None = None  # None: refused before policy was asked
    violations: tuple[str, ...] = ()  # the invariants that the decision would have broken


@dataclass(frozen=True, slots=True)
class Reference:
    """What is stored of a reference token: what it stands for, and never the token itself."""

    digest: bytes  # SHA-256 of the token
    jti: str
    record: str = field(repr=False)  # its claims as a compact JWS, which is no token by its ``typ``
    kid: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SignedToken:
    """A minted token that must not leave yet. Made only by ``broker.minting.mint``."""

    permit: Permit
    id: str  # ``jti``, and the id of its audit row
    token: str = field(repr=False)
    txn: str
    kid: str
    issued_at: datetime
    expires_at: datetime
    claims: JsonObject = field(repr=False)
    reference: Reference | None = None  # to be stored with the audit row; None: a JWT


@dataclass(frozen=True, slots=True)
class ReusedToken:
    """A token that was issued to the same request before, and must not leave again yet.

    Made only by ``broker.exchange.reuse``. Its members are those of the ``SignedToken``, but for
    ``permit``, which is of the request at hand, and ``id``.
    """

    permit: Permit
    id: str  # of the audit row of this request; ``jti`` is the id of the first one's
    jti: str
    token: str = field(repr=False)
    txn: str
    kid: str
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A signed token, and that it is given out is durable. Made only by ``broker.audit.commit``."""

    signed: SignedToken | ReusedToken


@dataclass(frozen=True, slots=True)
class ProxyQuestion:
    """What the token proxy is asked to get from an upstream; the secret is not in it.

    Scopes and parameters are in order of name, each once; all else as it was sent.
    """

    upstream: str
    unverified_client_id: str  # what the upstream knows the client as; it alone can tell
    scopes: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()  # further ones, declared for this upstream


@dataclass(frozen=True, slots=True)
class Fetched:
    """What is recorded of a token that an upstream gave; the token itself is not in it."""

    auth_method: AuthMethod
    scopes: tuple[str, ...]  # as the upstream says; as asked, if it says nothing
    expires_in: int | None  # seconds; None: it does not say
    digest: str  # lower-case hex SHA-256 of the token


@dataclass(slots=True)
class Attempt:
    """What is known of one request so far; whatever becomes of it is recorded from this.

    Of an exchange: of the other endpoints only refusals, and these have a client or none.

    The one value that grows: each step of the pipeline adds what it made.
    """

    id: str  # the request id
    source: str
    at: datetime
    kind: Literal["exchange", "introspection", "revocation", "proxy"] = "exchange"
    request: TokenExchangeRequest | None = None
    proxied: ProxyQuestion | None = None  # what the token proxy was asked
    client: Client | None = None  # None: not authenticated
    subject: VerifiedToken | None = None
    actor: VerifiedToken | None = None
    delegation: Delegation | None = None
    exchange: Exchange | None = None
    evaluation: Evaluation | None = None  # None: policy was not asked, or had no answer
    deny: Deny | None = None
    revocation: int | None = None  # number of the rule that it is refused by


# Few peers connect, again and again.
@lru_cache(maxsize=4096)
def source_network(source: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 that an IPv6 address is in."""
    if ":" not in source:
        return source
    try:
        address = IPv6Address(source)
    except ValueError:
        return source
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((int(address), _SOURCE_PREFIX), strict=False))
