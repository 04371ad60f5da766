"""A row of the trail as it is explained: what was decided then, and whether it would be so now."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from broker.errors import Reason
from broker.workbench.explain.explanation import Explanation
from broker.workbench.explain.policy import normal_decision
from broker.workbench.replay.past import Cause, Lost, Past, read_past

_CANNOT: Final = {
    Cause.COUNTED: "it counts refusals that share a row, and holds no single one of them",
    Cause.ERASED: "a person in it was erased, and what was asked with that",
    Cause.SEALED: "what was asked is sealed; name the audit key with --key-file",
    Cause.UNREADABLE: "what is sealed in it does not open: it was changed, or by another key",
    Cause.OMITTED: "what was asked was too large to be recorded",
    Cause.VERSION: "its policy input is of a version that no declared upgrade leads on from",
    Cause.MALFORMED: "its policy input is none that a broker writes",
    Cause.PROXY: "it is of the token proxy; this explains token exchanges",
}


class NotExplainable(Exception):  # noqa: N818 — a property of a row, not an error of ours
    """There is nothing in the row to explain; the text says why."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was asked and decided, as far as it is on record."""

    id: str  # of the row
    at: str  # as records spell times
    request_id: str
    client: str  # empty: none was authenticated
    audiences: tuple[str, ...]  # as they were asked for
    resources: tuple[str, ...]
    scope: str
    issued: bool
    reasons: tuple[str, ...]
    past: Past | None  # None: refused before the policy was asked

    @property
    def early(self) -> Reason | None:
        """The reason of a refusal that the policy had no part in."""
        if self.past is not None or not self.reasons:
            return None
        return Reason(self.reasons[0])


@dataclass(frozen=True, slots=True)
class Since:
    """What was decided then beside what this policy decides."""

    revision: str  # of the policy then
    same_policy: bool
    same_decision: bool  # of the policies, before the floor
    issued: bool  # then
    reasons: tuple[str, ...]  # then

    @property
    def contradicts(self) -> bool:
        """Whether the very same policy decides otherwise, which none can."""
        return self.same_policy and not self.same_decision

    def render(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "revision": self.revision,
            "same_policy": self.same_policy,
            "same_decision": self.same_decision,
            "issued": self.issued,
            "reasons": list(self.reasons),
        }


def read_recorded(record: Mapping[str, Any]) -> Recorded:
    """Return what an opened record says of an exchange. Raises ``NotExplainable``."""
    if record.get("kind") not in {"exchange", "refusals", "proxy"}:
        raise NotExplainable("it is no exchange")
    past = read_past(record)
    if isinstance(past, Lost) and past.cause in _CANNOT:
        raise NotExplainable(_CANNOT[past.cause])
    try:
        return _read(record, past if isinstance(past, Past) else None)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NotExplainable(_CANNOT[Cause.MALFORMED]) from None


def _read(record: Mapping[str, Any], past: Past | None) -> Recorded:
    asked = record.get("asked") or {}
    reasons = tuple(record.get("reasons") or ())
    return Recorded(
        id=str(record["id"]),
        at=str(record["at"]),
        request_id=str(record.get("request_id") or ""),
        client=str((record.get("client") or {}).get("id") or ""),
        audiences=tuple(map(str, asked.get("audiences") or ())),
        resources=tuple(map(str, asked.get("resources") or ())),
        scope=str(asked.get("scope") or ""),
        issued=record["outcome"] == "issued",
        # One that is of another version of the broker would have no text.
        reasons=tuple(Reason(reason).value for reason in reasons),
        past=past,
    )


def compare_with_record(explanation: Explanation, recorded: Recorded, past: Past) -> Since:
    """Return what was decided then beside what is decided now."""
    return Since(
        revision=past.revision,
        same_policy=past.revision == explanation.revision,
        same_decision=normal_decision(past.output) == normal_decision(explanation.decision),
        issued=recorded.issued,
        reasons=recorded.reasons,
    )
