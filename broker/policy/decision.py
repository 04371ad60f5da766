"""What a policy engine answers, read strictly: ``policies/schemas/decision.json`` to the letter.

Nothing is converted, completed or passed over. A member that is missing, unknown or of another
type makes the whole document malformed, and a malformed decision is a refusal: no answer is not
a yes. That a well-formed one is also within bounds is judged in ``broker.policy.floor``.
"""

from dataclasses import dataclass
from typing import Any, Final

from broker.domain import Derived
from broker.errors import Reason
from broker.oauth import MAX_NAME, Mode

MAX_REASONS: Final = 32
MAX_NAMES: Final = 1024  # in one list

# A policy may give these and no others: to call itself unavailable, say, is not for it.
POLICY_REASONS: Final = {
    reason.value: reason
    for reason in (
        Reason.DELEGATION_DEPTH_EXCEEDED,
        Reason.DELEGATION_LOOP,
        Reason.POLICY_DENIED,
        Reason.POLICY_IMPERSONATION_WITH_ACTOR_TOKEN,
        Reason.POLICY_ISSUER_NOT_ALLOWED,
        Reason.POLICY_MODE_CONFLICT,
        Reason.POLICY_PURPOSE_MISSING,
        Reason.POLICY_PURPOSE_NOT_ALLOWED,
        Reason.POLICY_SCOPE_NOT_GRANTED,
        Reason.POLICY_SCOPE_NOT_HELD,
        Reason.POLICY_SCOPE_NOTHING_LEFT,
        Reason.POLICY_SCOPE_UNKNOWN,
        Reason.POLICY_TARGET_NOT_GRANTED,
        Reason.SCOPE_MISSING,
    )
}
_MODES: Final = {mode.value: mode for mode in Mode}
_REFUSAL: Final = frozenset({"allow", "reasons"})
_ALLOWANCE: Final = _REFUSAL | {
    *("targets", "scopes", "derived", "lifetime", "mode", "max_depth", "reentry", "purpose"),
    *("claims", "obligations"),
}
# May be left out: who does not know of it has not said it.
_OPTIONAL: Final = frozenset({"reuse"})
_DERIVED: Final = frozenset({"scope", "from"})


class DecisionMalformed(Exception):  # noqa: N818 — an answer that is none, not an error of ours
    """The document is not a decision. The text names the member, never its value."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The policy says no; the first reason is answered."""

    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Allowance:
    """The policy says yes, in these bounds, which nobody has checked yet."""

    targets: tuple[str, ...]
    scopes: tuple[str, ...]
    derived: tuple[Derived, ...]
    lifetime: int  # seconds
    mode: Mode
    max_depth: int  # exchanges
    reentry: bool
    purpose: str | None
    claims: tuple[str, ...]
    obligations: tuple[str, ...]
    reuse: int = 0  # seconds; 0: not said, so never


def read_decision(output: object) -> Allowance | Refusal:
    """Return the decision document of an engine as a value.

    Raises ``DecisionMalformed``. Types are compared exactly: ``True`` is an ``int`` to Python,
    and a lifetime of ``true`` would be a second.
    """
    if type(output) is not dict:
        raise DecisionMalformed("not an object")
    allow = output.get("allow")
    if allow is True:
        return _read_allowance(output)
    if allow is False:
        return _read_refusal(output)
    raise DecisionMalformed("allow")


def _read_refusal(output: dict[str, Any]) -> Refusal:
    if output.keys() != _REFUSAL:
        raise DecisionMalformed("members")
    codes = _read_names(output, "reasons", MAX_REASONS)
    # Without a reason there is nothing to answer, and an unknown one is in no table.
    if not codes or not POLICY_REASONS.keys() >= set(codes):
        raise DecisionMalformed("reasons")
    return Refusal(tuple(POLICY_REASONS[code] for code in codes))


def _read_allowance(output: dict[str, Any]) -> Allowance:
    if output.keys() - _OPTIONAL != _ALLOWANCE:
        raise DecisionMalformed("members")
    # A yes with reasons against it is two answers.
    if output["reasons"] != [] or type(output["reasons"]) is not list:
        raise DecisionMalformed("reasons")
    mode = output["mode"]
    if type(mode) is not str or mode not in _MODES:
        raise DecisionMalformed("mode")
    if type(output["reentry"]) is not bool:
        raise DecisionMalformed("reentry")
    purpose = output["purpose"]
    if purpose is not None and not _is_name(purpose):
        raise DecisionMalformed("purpose")
    return Allowance(
        targets=_read_names(output, "targets"),
        scopes=_read_names(output, "scopes"),
        derived=_read_derived(output["derived"]),
        lifetime=_read_count(output, "lifetime"),
        mode=_MODES[mode],
        max_depth=_read_count(output, "max_depth"),
        reentry=output["reentry"],
        purpose=purpose,
        claims=_read_names(output, "claims"),
        obligations=_read_names(output, "obligations"),
        reuse=_read_count(output, "reuse") if "reuse" in output else 0,
    )


def _read_names(output: dict[str, Any], member: str, most: int = MAX_NAMES) -> tuple[str, ...]:
    """Return a list of strings, none of which is repeated."""
    names = output[member]
    if type(names) is not list or len(names) > most:
        raise DecisionMalformed(member)
    if not all(map(_is_name, names)) or len(set(names)) != len(names):
        raise DecisionMalformed(member)
    return tuple(names)


def _read_derived(entries: object) -> tuple[Derived, ...]:
    if type(entries) is not list or len(entries) > MAX_NAMES:
        raise DecisionMalformed("derived")
    derived = []
    for entry in entries:
        if type(entry) is not dict or entry.keys() != _DERIVED:
            raise DecisionMalformed("derived")
        scope, source = entry["scope"], entry["from"]
        if not _is_name(scope) or not _is_name(source):
            raise DecisionMalformed("derived")
        derived.append(Derived(scope, source))
    if len(set(derived)) != len(derived):
        raise DecisionMalformed("derived")
    return tuple(derived)


def _read_count(output: dict[str, Any], member: str) -> int:
    """Return a whole number of at least one."""
    count = output[member]
    if type(count) is not int or count < 1:
        raise DecisionMalformed(member)
    return count


def _is_name(value: object) -> bool:
    return type(value) is str and len(value) <= MAX_NAME
