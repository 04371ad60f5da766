"""Rows of a query into a format, in bounded memory."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from broker.audit.export.columns import OPENED, parse_record, plain_columns
from broker.audit.query import CannotRead

_TOGETHER: Final = 500  # rows held

# Returns the record with what identifies persons in plain, or saying that it cannot be.
Opener = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
# Returns the row with something more.
Enricher = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


class Rows(Protocol):
    """Something that takes rows and writes them in a format."""

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take rows, as the columns of ``audit_event``."""

    def close(self) -> None:
        """Write what has to come last."""


async def write_rows(
    found: AsyncIterator[Mapping[str, Any]],
    rows: Rows,
    *,
    enrichers: Sequence[Enricher] = (),
    progress: Callable[[int], None] = lambda _done: None,
) -> int:
    """Write all that is found, and what has to come last; return how many rows there were.

    Raises ``CannotRead``, or what writing raises.
    """
    count = 0
    lot: list[Mapping[str, Any]] = []
    async for row in found:
        for enrich in enrichers:
            row = await enrich(row)  # noqa: PLW2901 — the same row, with more
        lot.append(row)
        if len(lot) == _TOGETHER:
            rows.write(lot)
            count += len(lot)
            lot = []
            progress(count)
    rows.write(lot)
    rows.close()
    return count + len(lot)


def opening(opener: Opener) -> Enricher:
    """Return what puts into a row what its record says of persons."""

    async def enrich(row: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            opened = await opener(parse_record(row))
        except ValueError:
            raise CannotRead(
                f"row {row['seq']} of writer {row['writer']} has a record that nobody wrote:"
                " run `broker audit verify`"
            ) from None
        return {**plain_columns(row, opened), OPENED: opened}

    return enrich
