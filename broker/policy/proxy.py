"""What the policy is asked of a token of an upstream, and what it answers: ``data.broker.proxy``.

The question is the combination and nothing else: no time, no source, no request. So one policy
has one answer to it, and whoever asked once need not ask again before the policy changes.
"""

from typing import Any, Final

import orjson

from broker.domain import ProxyQuestion
from broker.errors import Reason
from broker.policy.decision import MAX_REASONS, DecisionMalformed
from broker.settings import Upstream

# A policy may give these and no others.
PROXY_REASONS: Final = {
    reason.value: reason
    for reason in (
        Reason.PROXY_CLIENT_NOT_ALLOWED,
        Reason.PROXY_DENIED,
        Reason.PROXY_PARAMETER_NOT_ALLOWED,
        Reason.PROXY_SCOPE_NOT_ALLOWED,
    )
}
_MEMBERS: Final = frozenset({"allow", "reasons"})


def build_proxy_input(question: ProxyQuestion, upstream: Upstream) -> bytes:
    """Return the policy input as JSON: ``policies/schemas/proxy_input.json``."""
    return orjson.dumps(
        {
            "upstream": {
                "name": upstream.name,
                "clients": list(upstream.clients),
                "parameters": list(upstream.parameters),
            },
            "client": {"id": question.unverified_client_id},
            "request": {
                "scopes": list(question.scopes),
                "audiences": list(question.audiences),
                "resources": list(question.resources),
                "parameters": dict(question.parameters),
            },
        }
    )


def read_proxy_decision(output: Any) -> tuple[Reason, ...]:  # noqa: ANN401 — a document of the policy's
    """Return the reasons of a refusal, the one to be answered first; none: it is allowed.

    Read to the letter, as ``broker.policy.decision`` reads. Raises ``DecisionMalformed``.
    """
    if type(output) is not dict or output.keys() != _MEMBERS:
        raise DecisionMalformed("members")
    allow, codes = output["allow"], output["reasons"]
    if type(codes) is not list or len(codes) > MAX_REASONS:
        raise DecisionMalformed("reasons")
    if not all(type(code) is str and code in PROXY_REASONS for code in codes):
        raise DecisionMalformed("reasons")
    if len(set(codes)) != len(codes):
        raise DecisionMalformed("reasons")
    # A yes with reasons against it is two answers, and a no without one is none.
    if type(allow) is not bool or allow == bool(codes):
        raise DecisionMalformed("allow")
    return tuple(PROXY_REASONS[code] for code in codes)
