"""Which live tokens a revocation reaches, and who holds them: asked of the audit trail.

What is counted are tokens that this broker issued, that have not expired, and that the rule kills:
by what their row says, or because they descend from such a one. A descendant is found by its
parent, row by row, within its transaction; no token outlives its ancestors (invariant 2), so while
it lives the rows of all of them are among those that are read.

It may say too much and never too little: a row may be of a token that nobody received, and a token
that another rule has killed before is counted again. What is not counted is what others issued: a
token of the identity provider's is refused here just as well, but no row tells that it exists.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text

from broker.audit.event import render_time
from broker.audit.outcome import REUSE
from broker.audit.query import CannotRead, Pseudonym, reason_of
from broker.blocklist.rule import OUTRIGHT, Rule, Scope
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

_SLACK: Final = timedelta(
    minutes=1
)  # between the arrival of a request and the ``iat`` of its token

_SIGNED_BY: Final = "record::json -> 'subject_token' ->> 'issuer'"  # the token that was presented
_ACTS: Final = (
    "EXISTS (SELECT FROM unnest(actors, actor_issuers) AS actor (subject, issuer)"
    " WHERE actor.subject IN (:key, :pseudonym) AND actor.issuer = {issuer})"
)
# What a row says itself. Every issued token is asserted by us, so our own issuer is all of them.
_BEARS: Final[Mapping[Scope, str]] = {
    Scope.ALL: "true",
    Scope.SUBJECT: "subject IN (:key, :pseudonym) AND subject_issuer = :issuer",
    Scope.ACTOR: f"{_ACTS.format(issuer=':issuer')} OR (client = :key AND :issuer = :ours)",
    Scope.CLIENT: f"client = :key OR {_ACTS.format(issuer=':ours')}",
    Scope.ISSUER: ":issuer IN (:ours, subject_issuer) OR :issuer = ANY (actor_issuers)",
    Scope.TXN: "txn = :key",
    Scope.KID: f"(kid = :key AND :issuer = :ours) OR ({_SIGNED_BY} = :issuer"
    " AND record::json -> 'subject_token' ->> 'kid' = :key)",
    Scope.JTI: "(id::text = :key AND :issuer = :ours)"
    f" OR (parent = :key AND {_SIGNED_BY} = :issuer)",
}
# The subject of a token without a chain acts itself; of what descends from it somebody else does.
_ALONE: Final[Mapping[Scope, str]] = {
    Scope.ACTOR: "cardinality(actors) = 0 AND subject IN (:key, :pseudonym)"
    " AND subject_issuer = :issuer"
}
_OF_ITS_OWN_AGE: Final = frozenset({Scope.ACTOR, Scope.CLIENT})

# One row for each token: those that tell that it was given out again are left out.
_ISSUED: Final = (
    "at >= :since AND kind = 'exchange' AND outcome = 'issued'"
    f" AND action IS DISTINCT FROM '{REUSE}'"
)
_STATEMENT: Final = """
WITH RECURSIVE issued AS MATERIALIZED (
    -- The transactions that it is about, whole: what descends from a token shares its ``txn``.
    SELECT id, id::text AS jti, client, subject, subject_issuer, actors, actor_issuers, txn, parent,
        kid, record,
        (record::json ->> 'issued_at')::timestamptz AS issued_at,
        (record::json ->> 'root_issued_at')::timestamptz AS root_issued_at,
        (record::json ->> 'expires_at')::timestamptz AS expires_at
    FROM audit_event
    WHERE {issued} AND txn IN (SELECT txn FROM audit_event WHERE {issued} AND ({bears} OR {alone}))
), reached AS (
    SELECT jti FROM issued WHERE {bears}
    UNION
    SELECT issued.jti FROM issued JOIN reached ON issued.parent = reached.jti
    WHERE {signed_by} = :ours
)
SELECT client, count(*) AS tokens, max(expires_at) AS expires_at FROM issued
WHERE expires_at > :now AND {older} AND (jti IN (SELECT jti FROM reached) OR {alone})
GROUP BY client ORDER BY count(*) DESC, client
"""


@dataclass(frozen=True, slots=True)
class Holder:
    """A client that live tokens were issued to."""

    client: str
    tokens: int
    expires_at: datetime  # the last of them


@dataclass(frozen=True, slots=True)
class Reach:
    """What a rule reaches, as of ``counted_at``."""

    holders: tuple[Holder, ...]  # who has most of them first
    counted_at: datetime
    since: datetime  # what was issued before has expired

    @property
    def tokens(self) -> int:
        """How many live tokens it kills."""
        return sum(holder.tokens for holder in self.holders)

    @property
    def expires_at(self) -> datetime | None:
        """Until when a verifier that asks nobody accepts the last of them; None: there is none."""
        return max((holder.expires_at for holder in self.holders), default=None)

    def describe(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        until = self.expires_at
        return {
            "tokens": self.tokens,
            "clients": [
                {
                    "client": holder.client,
                    "tokens": holder.tokens,
                    "expires_at": render_time(holder.expires_at),
                }
                for holder in self.holders
            ],
            # Two numbers, always apart: the broker refuses at once, an offline verifier does not.
            "accepted_offline_until": None if until is None else render_time(until),
            "counted_at": render_time(self.counted_at),
            "issued_since": render_time(self.since),
        }


async def find_reach(
    database: Database,
    rule: Rule,
    *,
    issuer: str,
    pseudonym: Pseudonym,
    longest_life: timedelta,
    now: datetime,
) -> Reach:
    """Return which live tokens ``rule`` kills, whether or not it is in the ledger.

    ``issuer`` is our own; ``pseudonym`` is what persons stand in rows as; ``longest_life`` of any
    token that may be live still, which bounds what is read. Raises ``CannotRead``.
    """
    since = now - longest_life - _SLACK
    values = {  # a statement takes those that it names
        "since": since,
        "now": now,
        "key": rule.key,
        "pseudonym": pseudonym(rule.key),
        "issuer": rule.issuer,
        "ours": issuer,
        "not_before": rule.not_before,
    }
    try:
        async with database.engine.connect() as connection:
            rows = (await connection.execute(text(_build_statement(rule.scope)), values)).all()
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise CannotRead(reason_of(error)) from error
    holders = tuple(Holder(row.client, row.tokens, row.expires_at) for row in rows)
    return Reach(holders, now, since)


def _build_statement(scope: Scope) -> str:
    older = "true"
    if scope in _OF_ITS_OWN_AGE:
        older = "issued_at < :not_before"
    elif scope not in OUTRIGHT:
        # Rows of before this was recorded do not say it, and are counted.
        older = "coalesce(root_issued_at < :not_before, true)"
    return _STATEMENT.format(
        issued=_ISSUED,
        bears=_BEARS[scope],
        alone=_ALONE.get(scope, "false"),
        signed_by=_SIGNED_BY,
        older=older,
    )
