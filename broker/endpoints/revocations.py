"""``/admin/revocations``: a help desk or an incident bot revokes, and sees what is revoked.

POST    {"scope": "subject", "issuer": "https://idp.example.com", "key": "alice",
         "not_before": "+24h", "reason": "laptop stolen"}       → 201 {"rule": …, "hits": …}
GET     → 200 {"revocations": […]}

A body is strict JSON: a member that is misspelt would revoke something else than was meant.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from broker.blocklist.rule import RuleInvalid, Scope
from broker.blocklist.store import LedgerUnavailable
from broker.endpoints.bearer import render_json
from broker.errors import PUBLIC, CommitRejected, ParseRejected
from broker.exchange.body import read_body
from broker.jose.errors import Malformed
from broker.jose.json import parse_json
from broker.revocation.operator import OperatorRevocation, Order, parse_not_before

MAX_BODY: Final = 8 * 1024  # bytes
_BY: Final = "admin"
_REQUIRED: Final = frozenset({"scope", "reason"})
_MEMBERS: Final = _REQUIRED | {"issuer", "key", "not_before"}


class BodyInvalid(Exception):  # noqa: N818 — an answer to whoever asks
    """The body is not what is expected; ``str()`` says what is."""


@dataclass(frozen=True, slots=True)
class RevocationsEndpoint:
    """The endpoint; what guards it stands before it."""

    revocation: OperatorRevocation
    clock: Callable[[], datetime]

    async def list_rules(self, _: Request) -> Response:
        """Answer with the rules in force, oldest first."""
        try:
            rules = await self.revocation.survey.find_rules()
        except LedgerUnavailable:
            return _unavailable()
        return render_json({"revocations": [rule.describe() for rule in rules]})

    async def revoke(self, request: Request) -> Response:
        """Revoke; answer with the rule, which is durable by then, and what it reaches."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _refused("send application/json", 415)
        try:
            body = await read_body(request.scope, request.receive, limit=MAX_BODY)
            order = parse_order(body, now=self.clock())
            hit = await self.revocation.revoke(order, by=_BY)
        except ParseRejected as rejected:
            public = PUBLIC[rejected.reason]
            return _refused(public.description, public.status, close=True)
        except (BodyInvalid, RuleInvalid) as invalid:
            return _refused(str(invalid), 400)
        except (LedgerUnavailable, CommitRejected):
            return _unavailable()
        return render_json(hit.describe(), 201)


def parse_order(body: bytes, *, now: datetime) -> Order:
    """Return what is asked for. Raises ``BodyInvalid`` or ``RuleInvalid``."""
    try:
        members = parse_json(body)
    except Malformed:
        raise BodyInvalid("send a JSON object") from None
    if not isinstance(members, dict):
        raise BodyInvalid("send a JSON object")
    if not members.keys() >= _REQUIRED or not members.keys() <= _MEMBERS:
        required, optional = sorted(_REQUIRED), sorted(_MEMBERS - _REQUIRED)
        raise BodyInvalid(f"send {', '.join(required)}, perhaps {', '.join(optional)}, and no more")
    if not all(isinstance(value, str) for value in members.values()):
        raise BodyInvalid("every member is a string")
    if members["scope"] not in {*Scope}:
        raise BodyInvalid(f"scope: one of {', '.join(Scope)}")
    not_before = members.get("not_before")
    return Order(
        Scope(members["scope"]),
        members["reason"],
        issuer=members.get("issuer", ""),
        key=members.get("key", ""),
        not_before=None if not_before is None else parse_not_before(not_before, now),
    )


def _refused(text: str, status: int, *, close: bool = False) -> Response:
    answer = render_json({"error": "invalid_request", "error_description": text}, status)
    if close:
        # The body was not read to its end, so the next request could not be found.
        answer.headers["connection"] = "close"
    return answer


def _unavailable() -> Response:
    # A commit whose answer was lost may have gone through, and revoking twice does no harm.
    text = "The database does not answer, so this is not known to be done. Try again."
    answer = render_json({"error": "temporarily_unavailable", "error_description": text}, 503)
    answer.headers["retry-after"] = "1"
    return answer
