"""Revoking: one rule in the ledger and one row in the audit trail, and never the rule alone."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from broker.blocklist.feed import STALE_AFTER
from broker.blocklist.rule import OUTRIGHT, Rule, Scope
from broker.blocklist.store import Ledger

ACTION: Final = "revocation"
# Until then a replica may not know, and goes on issuing to whom it is about: these die as well.
_NOT_KNOWN_YET: Final = STALE_AFTER
_BY_ISSUE: Final = frozenset({Scope.ACTOR, Scope.CLIENT})


class Trail(Protocol):
    """What of the audit trail is needed here."""

    async def record(
        self, action: str, details: Mapping[str, Any], *, by: str, personal: Mapping[str, Any]
    ) -> None:
        """Return once it is durable that ``action`` was, or is about to be, done."""


async def revoke(
    ledger: Ledger,
    trail: Trail,
    scope: Scope,
    *,
    issuer: str = "",
    key: str = "",
    not_before: datetime | None = None,
    reason: str,
    by: str,
    now: datetime,
) -> Rule:
    """Return the rule once it is durable and recorded.

    Without ``not_before`` everything is revoked that there is: for ``actor`` and ``client`` also
    what replicas issue before they know of it, so that client is blocked for as long.

    The row is written inside the ledger's transaction, before its commit. If it cannot be written
    nothing is revoked, and the caller is told. If the commit fails after it, a revocation is on
    record that did not happen: reported too much, never too little.

    Raises ``RuleInvalid``, ``LedgerUnavailable``, and what the trail raises.
    """
    if not_before is None and scope not in OUTRIGHT:
        not_before = now + (_NOT_KNOWN_YET if scope in _BY_ISSUE else timedelta())

    async def record(rule: Rule) -> None:
        await trail.record(ACTION, _details(rule), by=by, personal=_personal(rule))

    return await ledger.append(
        scope,
        issuer=issuer,
        key=key,
        not_before=not_before,
        reason=reason,
        by=by,
        before_commit=record,
    )


def _details(rule: Rule) -> dict[str, Any]:
    """Return what identifies no person. The rule itself is found by its number."""
    details: dict[str, Any] = {
        "seq": rule.seq,
        "scope": rule.scope,
        "not_before": None if rule.not_before is None else rule.not_before.isoformat(),
    }
    if rule.scope not in {Scope.SUBJECT, Scope.ACTOR}:
        details |= {"issuer": rule.issuer, "key": rule.key}
    return details


def _personal(rule: Rule) -> dict[str, Any]:
    """Return the rest, in the form that exchanges have it in, so that it is found like these."""
    party = {"issuer": rule.issuer, "subject": rule.key}
    # Why somebody is revoked says something about them, and is free text.
    personal: dict[str, Any] = {"reason": rule.reason}
    if rule.scope is Scope.SUBJECT:
        personal["subject"] = party
    if rule.scope is Scope.ACTOR:
        personal["actors"] = [party]
    return personal
