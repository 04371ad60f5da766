"""An explanation that can be sent to the team of the client: about their own request, and no more.

It is made of texts that every caller may read and of what the request itself said. No other client
or target, no grant, rule, file, revision or person is in it, whatever the policy says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from broker.errors import PUBLIC, Reason
from broker.workbench.explain.explanation import Explanation
from broker.workbench.explain.fates import Cause, Fate, Outcome

_SUPPORT: Final = "If this is not what you expect, ask the security team and name the request."
_WHY: Final = {
    Cause.NO_GRANT: "cannot be granted: this client is not granted that target",
    Cause.UNKNOWN: "is not known at what you ask a token for",
    Cause.NOT_GRANTED: "is not granted to this client there",
    Cause.NOT_HELD: "is not held by the subject token that you presented",
    Cause.RULE: "is not allowed by the policy for this request",
}


@dataclass(frozen=True, slots=True)
class ClientAnswer:
    """What a client team may read of one of its requests."""

    request_id: str
    at: str
    client: str  # their own
    asked_for: tuple[str, ...]  # audiences and resources, as they were sent
    scopes: tuple[str, ...]  # as they were asked for
    granted: tuple[str, ...]
    lifetime: int  # seconds; 0: nothing was issued
    error: str  # OAuth's; empty: it was granted
    points: tuple[str, ...]  # sentences without a full stop

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "request_id": self.request_id,
            "at": self.at,
            "client": self.client,
            "asked_for": list(self.asked_for),
            "scopes": list(self.scopes),
            "granted": list(self.granted),
            "lifetime": self.lifetime,
            "error": self.error,
            "points": list(self.points),
            "support": _SUPPORT,
        }


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as its client has sent it."""

    request_id: str
    at: str
    client: str
    audiences: tuple[str, ...]
    resources: tuple[str, ...]
    scopes: tuple[str, ...]


def answer_client(
    sent: Sent, explanation: Explanation, *, scope: str | None = None
) -> ClientAnswer:
    """Return what may be said of an exchange; ``scope``: of this one alone, if it was asked for."""
    verdict = explanation.verdict
    # A policy that fails has no reason of its own, and is answered by this one.
    refused = () if verdict.allowed else verdict.reasons or (Reason.POLICY_UNAVAILABLE,)
    fates = [one for one in explanation.scopes if one.scope in sent.scopes]
    if scope is not None:
        fates = [one for one in fates if one.scope == scope]
    points = [*_reasons(refused), *_scopes(fates)]
    if scope is not None and scope not in sent.scopes:
        points.append(f"{scope} was not asked for")
    return _answer(sent, refused, points, granted=verdict.scopes, lifetime=verdict.lifetime)


def answer_refused(sent: Sent, reasons: Sequence[Reason]) -> ClientAnswer:
    """Return what may be said of a refusal of which no more is known than its reasons."""
    return _answer(sent, reasons, [*_reasons(reasons)])


def support() -> str:
    """Return the line that ends every such answer."""
    return _SUPPORT


def _answer(
    sent: Sent,
    reasons: Sequence[Reason],
    points: Sequence[str],
    *,
    granted: tuple[str, ...] = (),
    lifetime: int = 0,
) -> ClientAnswer:
    return ClientAnswer(
        request_id=sent.request_id,
        at=sent.at,
        client=sent.client,
        asked_for=(*sent.audiences, *sent.resources),
        scopes=sent.scopes,
        granted=granted,
        lifetime=lifetime,
        error=PUBLIC[reasons[0]].error.value if reasons else "",
        points=tuple(points),
    )


def _reasons(reasons: Sequence[Reason]) -> Iterator[str]:
    # All of them and not only the one that was answered: each text is one that callers read.
    yield from dict.fromkeys(PUBLIC[reason].description.removesuffix(".") for reason in reasons)


def _scopes(fates: Sequence[Fate]) -> Iterator[str]:
    for fate in fates:
        if fate.outcome in {Outcome.HELD, Outcome.DERIVED}:
            yield f"{fate.scope} is granted"
        elif fate.outcome is Outcome.POSSIBLE:
            yield f"{fate.scope} would be granted in a request without the others"
        elif fate.cause is not None:
            yield f"{fate.scope} {_WHY[fate.cause]}"
