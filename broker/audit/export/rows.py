"""Rows of a query into a format, in bounded memory."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from broker.audit.export.columns import OPENED, parse_record, plain_columns
from broker.audit.query import CannotRead

_TOGETHER: Final = 500  # rows held

Row = Mapping[str, Any]  # the columns of ``audit_event``, and what else is known of it
# Returns records with what identifies persons in plain, or saying that it cannot be.
Opener = Callable[[Sequence[Mapping[str, Any]]], Awaitable[Sequence[Mapping[str, Any]]]]
# Returns rows with something more.
Enricher = Callable[[Sequence[Row]], Awaitable[Sequence[Row]]]


class Rows(Protocol):
    """Something that takes rows and writes them in a format."""

    def write(self, rows: Sequence[Row]) -> None:
        """Take rows, as the columns of ``audit_event``."""

    def close(self) -> None:
        """Write what has to come last."""


async def write_rows(
    found: AsyncIterator[Row],
    rows: Rows,
    *,
    enrichers: Sequence[Enricher] = (),
    progress: Callable[[int], None] = lambda _done: None,
) -> int:
    """Write all that is found, and what has to come last; return how many rows there were.

    Raises ``CannotRead``, or what writing raises.
    """
    count = 0
    lot: list[Row] = []
    async for row in found:
        lot.append(row)
        if len(lot) == _TOGETHER:
            await _write(lot, rows, enrichers)
            count += len(lot)
            lot = []
            progress(count)
    await _write(lot, rows, enrichers)
    rows.close()
    return count + len(lot)


async def _write(lot: Sequence[Row], rows: Rows, enrichers: Sequence[Enricher]) -> None:
    for enrich in enrichers:
        lot = await enrich(lot)
    rows.write(lot)


def opening(opener: Opener) -> Enricher:
    """Return what puts into rows what their records say of persons."""

    async def enrich(rows: Sequence[Row]) -> Sequence[Row]:
        opened = await opener([_record_of(row) for row in rows])
        return [
            {**plain_columns(row, record), OPENED: record}
            for row, record in zip(rows, opened, strict=True)
        ]

    return enrich


def _record_of(row: Row) -> dict[str, Any]:
    try:
        return parse_record(row)
    except ValueError:
        raise CannotRead(
            f"row {row['seq']} of writer {row['writer']} has a record that nobody wrote:"
            " run `broker audit verify`"
        ) from None
