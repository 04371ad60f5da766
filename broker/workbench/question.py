"""A question to the policy in words: who asks for what, with which token in hand."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from broker.domain import Principal
from broker.oauth import TokenType

USUAL_LIFE: Final = timedelta(hours=1)
USUAL_AGE: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class SupposedToken:
    """A token as its verification would have found it."""

    issuer: str  # of the origin: an issuer's alias or its identifier
    subject: str
    scopes: frozenset[str] = frozenset()
    client_id: str | None = None
    token_type: TokenType = TokenType.ACCESS_TOKEN
    audiences: tuple[str, ...] = ()  # none: meant for who presents it
    chain: tuple[Principal, ...] = ()  # current actor first
    may_act: Principal | None = None
    depth: int = 0  # exchanges so far
    max_depth: int | None = None
    exchanged: bool = False  # it is one of ours by now
    age: timedelta = USUAL_AGE
    life: timedelta = USUAL_LIFE  # what is left of it
    claims: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """A token exchange that nobody has asked for yet."""

    client: str  # the id of a configured client
    subject: SupposedToken
    at: datetime
    audiences: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()  # none: the defaults are wanted
    purpose: str | None = None
    actor: SupposedToken | None = None
    requested_token_type: TokenType = TokenType.ACCESS_TOKEN
    source: str = "192.0.2.1"  # RFC 5737: an address of nobody
    id: str = "supposed"
