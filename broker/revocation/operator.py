"""An operator revokes: what, from when, why, and what it hit. Promises §4, the session is cut.

    check → revoke (ledger and audit row) → refresh this process → count what it reaches

The revocation comes first and never waits for the count. If that fails the answer says so, and what
was revoked stays revoked.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from broker.audit.query import CannotRead, Pseudonym
from broker.audit.reach import Reach, find_reach
from broker.blocklist.revoke import Trail, revoke
from broker.blocklist.rule import OUTRIGHT, Rule, RuleInvalid, Scope, check_rule
from broker.blocklist.snapshot import Snapshot
from broker.blocklist.store import Ledger, LedgerUnavailable
from broker.db.engine import Database
from broker.settings.values import parse_duration

# A client that comes back at once would get the next token: so it is kept out until somebody had
# the time to change its secret, or the configuration.
CLIENT_BLOCK: Final = timedelta(hours=24)
_RELATIVE: Final = re.compile(r"([+-])(\d+[a-z]+)")
_HOW: Final = (
    "not_before: write 2026-11-24T12:00:00Z, +24h to block until then, or -1h to spare what is"
    " younger"
)


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator asks for; ``issuer`` and ``key`` as in ``Rule``."""

    scope: Scope
    reason: str
    issuer: str = ""
    key: str = ""
    not_before: datetime | None = None  # None: as it is usual for the scope


@dataclass(frozen=True, slots=True)
class Hit:
    """What came of it."""

    rule: Rule
    reach: Reach | None  # None: it could not be counted

    def describe(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        hits = None if self.reach is None else self.reach.describe()
        return {"rule": self.rule.describe(), "hits": hits}


class Feed(Protocol):
    """What keeps the snapshot of this process."""

    async def refresh(self) -> None:
        """Take over what is new in the ledger. Raises ``LedgerUnavailable``."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Looks at what is revoked, and at what a revocation hits or would hit.

    ``longest_life`` is of any token that may be live, ``memory`` is for how long a rule can matter.
    """

    issuer: str
    ledger: Ledger
    database: Database  # of the audit trail
    pseudonym: Pseudonym  # what persons stand in it as
    longest_life: timedelta
    memory: Callable[[], timedelta]
    clock: Callable[[], datetime]

    async def preview(self, order: Order, *, by: str) -> Hit:
        """Return what revoking would do. Raises ``RuleInvalid``."""
        now = self.clock()
        not_before = _usual(order, now)
        if not_before is None and order.scope not in OUTRIGHT:
            not_before = now
        check_rule(order.scope, order.issuer, order.key, not_before, order.reason, by)
        # No number is given before it is written.
        rule = Rule(0, order.scope, order.issuer, order.key, not_before, order.reason, by, now)
        return Hit(rule, await self.count(rule))

    async def find_rules(self) -> list[Rule]:
        """Return the rules in force, oldest first: of several on one thing, the one that counts.

        Raises ``LedgerUnavailable``.
        """
        since = self.clock() - self.memory()
        snapshot = Snapshot.build(await self.ledger.load(since)).without_obsolete(since)
        return sorted(snapshot, key=lambda rule: rule.seq)

    async def count(self, rule: Rule) -> Reach | None:
        """Return what the rule reaches; None if that cannot be counted."""
        try:
            return await find_reach(
                self.database,
                rule,
                issuer=self.issuer,
                pseudonym=self.pseudonym,
                longest_life=self.longest_life,
                now=self.clock(),
            )
        except CannotRead:
            return None


@dataclass(frozen=True, slots=True)
class OperatorRevocation:
    """The use case."""

    survey: Survey
    trail: Trail
    feed: Feed | None = None  # None: this process answers for no token

    async def revoke(self, order: Order, *, by: str) -> Hit:
        """Return what was revoked, durably and on record, and what that reaches.

        Raises ``RuleInvalid``, ``LedgerUnavailable``, and ``CommitRejected`` where it cannot be
        recorded; then nothing is revoked.
        """
        now = self.survey.clock()
        rule = await revoke(
            self.survey.ledger,
            self.trail,
            order.scope,
            issuer=order.issuer,
            key=order.key,
            not_before=_usual(order, now),
            reason=order.reason,
            by=by,
            now=now,
        )
        if self.feed is not None:
            # Whoever is answered finds it in force here. If that fails, it is durable all the same,
            # and this process refuses everything before long unless it reads it.
            with suppress(LedgerUnavailable):
                await self.feed.refresh()
        return Hit(rule, await self.survey.count(rule))


def parse_not_before(text: str, now: datetime) -> datetime:
    """Return an instant, or one that is so long from now; raises ``RuleInvalid``.

    A duration has a sign: who writes ``24h`` could mean the last day or the next one.
    """
    try:
        if match := _RELATIVE.fullmatch(text):
            span = parse_duration(match[2])
            if isinstance(span, timedelta):
                return now + span if match[1] == "+" else now - span
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise RuleInvalid(_HOW) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _usual(order: Order, now: datetime) -> datetime | None:
    if order.not_before is None and order.scope is Scope.CLIENT:
        return now + CLIENT_BLOCK
    return order.not_before
