"""Who got what, on whose behalf, and why: rows of the audit trail by what is in their columns."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, and_, bindparam, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from broker.audit.outcome import REUSE
from broker.audit.page import Position
from broker.audit.uuid7 import time_of_uuid7
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.tables import audit_event

Pseudonym = Callable[[str], str]
_CHUNK = 500  # rows held at a time
_AROUND = timedelta(hours=1)
_EQUAL = (
    *("client", "subject_issuer", "outcome", "reason", "txn", "parent", "kind"),
    *("request_id", "action"),
)
# As a pair: the same ``sub`` of another issuer is somebody else.
_ACTOR_PAIR = text(
    "EXISTS (SELECT FROM unnest(actors, actor_issuers) AS actor (subject, issuer)"
    " WHERE actor.subject = ANY(:actors) AND actor.issuer = :actor_issuer)"
)


class CannotRead(Exception):  # noqa: N818 — an answer to whoever asks
    """The trail cannot be read; ``str()`` says why, without any value."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What to look for: whatever is not None must be as it says, exactly."""

    since: datetime | None = None  # included
    until: datetime | None = None  # not included
    client: str | None = None
    subject: str | None = None
    subject_issuer: str | None = None
    actor: str | None = None  # anywhere in the chain
    actor_issuer: str | None = None
    target: str | None = None
    outcome: str | None = None
    reason: str | None = None  # the one that was answered
    txn: str | None = None
    jti: str | None = None  # of an issued token; any row's id
    parent: str | None = None  # ``jti`` of the token that was exchanged
    kind: str | None = None
    request_id: str | None = None
    action: str | None = None

    @property
    def names_somebody(self) -> bool:
        """Whether it asks for a person, or a client, by name."""
        return self.subject is not None or self.actor is not None


async def find_rows(
    database: Database,
    wanted: Filter,
    *,
    limit: int | None = None,
    pseudonym: Pseudonym | None = None,
    after: Position | None = None,
    reused: bool | None = None,
) -> AsyncGenerator[dict[str, Any]]:
    """Yield what fits, newest first, as the columns of ``audit_event``; ``limit`` None: all of it.

    Persons are found by their pseudonym; without ``pseudonym`` only where they stand in plain.
    ``after`` goes on behind a row that was seen; ``reused`` False leaves out what tells that a
    token was given out again, True all else. Raises ``CannotRead``.
    """
    try:
        async with database.engine.connect() as connection:
            streaming = await connection.execution_options(yield_per=_CHUNK)
            async with streaming.stream(
                build_query(wanted, limit=limit, pseudonym=pseudonym, after=after, reused=reused)
            ) as rows:
                async for row in rows.mappings():
                    yield {str(name): value for name, value in row.items()}
    except (NotDurable, *DATABASE_ERRORS) as error:
        raise CannotRead(reason_of(error)) from error


def build_query(
    wanted: Filter,
    *,
    limit: int | None = None,
    pseudonym: Pseudonym | None = None,
    after: Position | None = None,
    reused: bool | None = None,
) -> Select[Any]:
    """Return the statement; every value in it is a parameter."""
    columns = audit_event.c
    query = (
        select(audit_event)
        .where(*_conditions(wanted, pseudonym), *_implied(wanted), *_behind(after))
        .order_by(columns.at.desc(), columns.writer, columns.seq.desc())
    )
    if reused is not None:
        again = columns.action.is_not_distinct_from(REUSE)
        query = query.where(again if reused else ~again)
    return query if limit is None else query.limit(limit)


def _behind(after: Position | None) -> list[ColumnElement[bool]]:
    """Return what holds of all rows behind one, in the order of ``build_query``."""
    if after is None:
        return []
    columns = audit_event.c
    same_writer = and_(columns.writer == after.writer, columns.seq < after.seq)
    same_time = and_(columns.at == after.at, or_(columns.writer > after.writer, same_writer))
    # The first says what the second implies, so that partitions and pages are left out by it.
    return [columns.at <= after.at, or_(columns.at < after.at, same_time)]


def _conditions(wanted: Filter, pseudonym: Pseudonym | None) -> list[ColumnElement[bool]]:
    columns = audit_event.c
    conditions: list[Any] = [
        columns[name] == value for name in _EQUAL if (value := getattr(wanted, name)) is not None
    ]
    if wanted.since is not None:
        conditions.append(columns.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(columns.at < wanted.until)
    if wanted.target is not None:
        conditions.append(columns.targets.contains([wanted.target]))
    if wanted.subject is not None:
        conditions.append(columns.subject.in_(_names(wanted.subject, pseudonym)))
    if wanted.actor is not None:
        conditions.append(columns.actors.overlap(_names(wanted.actor, pseudonym)))
    if wanted.actor_issuer is not None:
        conditions.append(columns.actor_issuers.contains([wanted.actor_issuer]))
    if wanted.actor is not None and wanted.actor_issuer is not None:
        conditions.append(
            _ACTOR_PAIR.bindparams(
                bindparam("actors", _names(wanted.actor, pseudonym), type_=ARRAY(Text)),
                bindparam("actor_issuer", wanted.actor_issuer),
            )
        )
    if wanted.jti is not None:
        conditions.append(columns.id == UUID(wanted.jti))
    return conditions


def _implied(wanted: Filter) -> list[ColumnElement[bool]]:
    """Return what holds of every row that fits anyway, and leads to an index."""
    columns = audit_event.c
    conditions: list[ColumnElement[bool]] = []
    if wanted.reason is not None:
        # Nothing that was issued has one.
        conditions.append(columns.outcome != "issued")
    if (made := _time_in(wanted.request_id)) is not None:
        conditions += [columns.at > made - _AROUND, columns.at < made + _AROUND]
    return conditions


def _time_in(request_id: str | None) -> datetime | None:
    """Return when an id of ours was made; the rows of that request are not of another hour."""
    try:
        ours = request_id is not None and UUID(request_id).version == 7
    except ValueError:
        return None
    return time_of_uuid7(str(UUID(request_id))) if ours else None


def _names(name: str, pseudonym: Pseudonym | None) -> list[str]:
    """Return what a party may stand in a row as: a client as it is, a person by its pseudonym."""
    return [name] if pseudonym is None else [name, pseudonym(name)]


def reason_of(error: BaseException) -> str:
    """Return what to tell of a failed database: no value, no address, no password."""
    if isinstance(error, NotDurable):
        return str(error)
    return f"PostgreSQL cannot be asked ({type(cause_of(error)).__name__})"


def cause_of(error: BaseException) -> BaseException:
    """Return the driver's own error, where a library has put others around it."""
    original = getattr(error, "orig", None) or error
    return getattr(original, "__cause__", None) or original
