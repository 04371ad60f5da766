"""Rows as Parquet, for whoever asks with a query engine: typed columns, zstd, one row group a lot.

``pyarrow`` is needed here and nowhere else, and takes a while to import: so it is, here alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final

from broker.audit.export.columns import COLUMNS, PERSONAL, Kind

GROUP: Final = 20_000  # rows of a row group, so of what is held in memory


class NoParquet(Exception):  # noqa: N818 — an answer to whoever asks
    """Parquet cannot be written here; ``str()`` says what to install."""


class ParquetRows:
    """Writes rows to ``file``; nothing of them can be read before ``close``."""

    def __init__(self, file: BinaryIO, *, opened: bool) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415 — see above
            from pyarrow import parquet  # noqa: PLC0415 — see above
        except ImportError:
            raise NoParquet("Parquet needs pyarrow, which is not installed here") from None
        types = {
            Kind.TEXT: pa.string(),
            Kind.TEXTS: pa.list_(pa.string()),
            Kind.NUMBER: pa.int64(),
            Kind.TIME: pa.timestamp("us", tz="UTC"),
            Kind.DIGEST: pa.binary(32),
        }
        columns = {**COLUMNS, **({PERSONAL: Kind.TEXT} if opened else {})}
        self._columns = columns
        self._schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
        self._pa = pa
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._batches: list[Any] = []  # of the row group that is not written yet
        self._rows = 0

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take these rows, in their order; written by the group."""
        plain = [
            {name: _plain(row.get(name), kind) for name, kind in self._columns.items()}
            for row in rows
        ]
        # As columns they take a fraction of the memory.
        self._batches.append(self._pa.RecordBatch.from_pylist(plain, schema=self._schema))
        self._rows += len(plain)
        if self._rows >= GROUP:
            self._flush()

    def close(self) -> None:
        """Write the rest, and the footer without which the file is none."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        table = self._pa.Table.from_batches(self._batches, schema=self._schema)
        if self._rows:
            self._writer.write_table(table, row_group_size=self._rows)
        self._batches, self._rows = [], 0


def _plain(value: Any, kind: Kind) -> Any:  # noqa: ANN401 — whatever a column holds
    # The driver's own kind of UUID is text to nobody else.
    return str(value) if kind is Kind.TEXT and value is not None else value
