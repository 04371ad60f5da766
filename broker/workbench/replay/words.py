"""The words of a replay's report, for every way to print it."""

from collections.abc import Mapping
from typing import Final

from broker.policy.difference import Kind
from broker.workbench.replay.past import Cause
from broker.workbench.replay.report import Outcome, Report

KINDS: Final[Mapping[Kind, str]] = {
    Kind.PERMITTED: "newly permitted",
    Kind.WIDER_SCOPES: "wider scopes",
    Kind.MORE_TARGETS: "more targets",
    Kind.LONGER_LIFE: "longer life",
    Kind.LONGER_REUSE: "longer reuse",
    Kind.DEEPER: "deeper delegation",
    Kind.REENTRY: "re-entry",
    Kind.MORE_CLAIMS: "more claims",
    Kind.FEWER_OBLIGATIONS: "fewer obligations",
    Kind.IMPERSONATION: "impersonation",
    Kind.FAILED: "policy fails",
    Kind.REFUSED: "newly refused",
    Kind.NARROWER_SCOPES: "narrower scopes",
    Kind.FEWER_TARGETS: "fewer targets",
    Kind.SHORTER_LIFE: "shorter life",
    Kind.SHORTER_REUSE: "shorter reuse",
    Kind.SHALLOWER: "shallower delegation",
    Kind.NO_REENTRY: "no re-entry",
    Kind.FEWER_CLAIMS: "fewer claims",
    Kind.MORE_OBLIGATIONS: "more obligations",
    Kind.DELEGATION: "delegation",
    Kind.DERIVATION: "other derivation",
    Kind.PURPOSE: "other purpose",
    Kind.REASON: "other reason",
}
CAUSES: Final[Mapping[Cause, str]] = {
    Cause.BEFORE_POLICY: "refused before the policy was asked",
    Cause.COUNTED: "refusals that share a row",
    Cause.UNANSWERED: "the policy gave no answer then",
    Cause.ERASED: "a person in it was erased",
    Cause.SEALED: "sealed, and there is no audit key",
    Cause.UNREADABLE: "does not open with this audit key",
    Cause.OMITTED: "too large to have been recorded",
    Cause.VERSION: "input of a version that no upgrade leads on from",
    Cause.MALFORMED: "no record that a broker writes",
    Cause.PROXY: "decided for the token proxy",
}


def say_outcome(report: Report) -> str:
    """Return what it amounts to, in a sentence."""
    tally = report.tally
    if not report.whole:
        return "The policy kept failing, so the replay was given up: what is here is not all."
    if not tally.decisions:
        return "Nothing was replayed, so nothing is known of this policy."
    match report.outcome:
        case Outcome.SAME:
            return f"All {tally.decisions:,} decisions stay as they are."
        case Outcome.WIDENS:
            return (
                f"{tally.changed:,} of {tally.decisions:,} decisions change,"
                f" and {tally.widening:,} of them widen what somebody gets."
            )
        case _:
            return f"{tally.changed:,} of {tally.decisions:,} decisions change; nothing widens."


def say_compared(report: Report) -> str:
    """Return what was compared with what."""
    if report.against is not None:
        return f"{short(report.against)} → {short(report.candidate)}"
    return f"as recorded → {short(report.candidate)}"


def say_span(report: Report) -> str:
    """Return from when to when decisions were replayed, UTC, to the minute."""
    tally = report.tally
    if tally.first is None or tally.last is None:
        return "none"
    return f"{_minute(tally.first)} to {_minute(tally.last)} UTC"


def say_rate(rate: float) -> str:
    """Return how many a day, as exactly as that can be meant."""
    return f"{rate:,.0f}" if rate >= 10 or rate == int(rate) else f"{rate:.1f}"


def short(revision: str) -> str:
    """Return enough of a policy's revision to tell it from another."""
    return revision[:12]


def _minute(at: str) -> str:
    return at[:16].replace("T", " ")
