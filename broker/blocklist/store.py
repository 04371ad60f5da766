"""The ledger of revocations in PostgreSQL: appended to, read in order, and never changed.

The database gives the numbers, under a lock that it holds until the commit. So they follow the
order of commits without a gap, and who has read up to a number has missed nothing before it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from broker.blocklist.rule import Rule, Scope, check_rule
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.tables import revocation

_CHANNEL: Final = "revocation"  # as the trigger of the table has it
PAGE: Final = 10_000  # rows read at once
_COLUMNS: Final = tuple(
    revocation.c[name]
    for name in ("seq", "scope", "issuer", "key", "not_before", "reason", "by", "at")
)


class LedgerUnavailable(Exception):  # noqa: N818 — a state of the database
    """The ledger did not answer, or not in time."""


class Ledger:
    """The table ``revocation``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self._database.engine.begin() as connection:
                yield connection
        except (NotDurable, *DATABASE_ERRORS) as error:
            raise LedgerUnavailable("revocations cannot be read or written") from error

    async def append(
        self,
        scope: Scope,
        *,
        issuer: str = "",
        key: str = "",
        not_before: datetime | None = None,
        reason: str,
        by: str,
        before_commit: Callable[[Rule], Awaitable[None]] | None = None,
    ) -> Rule:
        """Return the rule once it is durable; every process has it within the stated bound.

        ``before_commit`` records it. If that fails nothing is revoked; if the commit fails after
        it, a revocation is recorded that did not happen, and never the reverse.

        Raises ``RuleInvalid``, ``LedgerUnavailable``, and what ``before_commit`` raises.
        """
        check_rule(scope, issuer, key, not_before, reason, by)
        values = {
            "scope": scope,
            "issuer": issuer,
            "key": key,
            "not_before": not_before,
            "reason": reason,
            "by": by,
            # As of the statement: who waits for a transaction does not revoke earlier by that.
            "at": func.clock_timestamp(),
        }
        async with self._connection() as connection:
            inserted = insert(revocation).values(**values).returning(*_COLUMNS)
            rule = _rule((await connection.execute(inserted)).one())
            if before_commit is not None:
                await before_commit(rule)
        return rule

    async def pull(self, after: int) -> list[Rule]:
        """Return the rules whose number is greater, in order; of very many, the first ones.

        Raises ``LedgerUnavailable``.
        """
        return await self._read(revocation.c.seq > after)

    async def load(self, since: datetime) -> list[Rule]:
        """Return the rules that can still matter if nothing presented is older, and the newest.

        Raises ``LedgerUnavailable``.
        """
        newest = select(func.max(revocation.c.seq)).scalar_subquery()
        matters = or_(
            revocation.c.scope == Scope.KID,
            revocation.c.at >= since,
            revocation.c.not_before >= since,
            revocation.c.seq == newest,
        )
        rules: list[Rule] = []
        while True:
            after = rules[-1].seq if rules else 0
            page = await self._read(matters, revocation.c.seq > after)
            rules += page
            if len(page) < PAGE:
                return rules

    async def find_party(self, issuer: str, name: str) -> list[Rule]:
        """Return the rules that name somebody, as subject or as actor, in plain as they must.

        Raises ``LedgerUnavailable``.
        """
        columns = revocation.c
        naming = columns.scope.in_((Scope.SUBJECT, Scope.ACTOR))
        return await self._read(naming, columns.issuer == issuer, columns.key == name)

    async def listen(self, notify: Callable[[], None]) -> "Ear":
        """Call ``notify`` for each revocation from now on, for as long as the connection lasts.

        Only a hint: it is lost with the connection, and behind some poolers. Raises
        ``LedgerUnavailable``.
        """
        try:
            connection = await self._database.connect()
            try:
                await connection.add_listener(_CHANNEL, lambda *_: notify())
            except BaseException:
                connection.terminate()
                raise
        except (NotDurable, *DATABASE_ERRORS) as error:
            raise LedgerUnavailable("nobody says when something is revoked") from error
        return Ear(connection)

    async def _read(self, *matters: Any) -> list[Rule]:  # noqa: ANN401 — SQLAlchemy's conditions
        query = select(*_COLUMNS).where(*matters).order_by(revocation.c.seq).limit(PAGE)
        # A standby may lack what was revoked, and no connection to one is made (``NotDurable``).
        async with self._connection() as connection:
            return [_rule(row) for row in await connection.execute(query)]


class Ear:
    """The connection that notifications come over."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 — the driver's
        self._connection = connection

    @property
    def closed(self) -> bool:
        """Whether it is gone, as far as this side has heard."""
        return bool(self._connection.is_closed())

    def terminate(self) -> None:
        """Drop it without a word."""
        self._connection.terminate()


def _rule(row: Row[Any]) -> Rule:
    return Rule(
        seq=row.seq,
        scope=Scope(row.scope),
        issuer=row.issuer,
        key=row.key,
        not_before=row.not_before,
        reason=row.reason,
        by=row.by,
        at=row.at,
    )
