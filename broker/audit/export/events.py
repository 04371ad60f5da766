"""Rows as events of OCSF, one JSON document a line."""

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from broker.audit.event import canonical_json
from broker.audit.export.columns import OPENED, PLACE, parse_record
from broker.audit.export.ocsf import build_ocsf
from broker.audit.query import CannotRead


class EventRows:
    """Writes rows to ``file`` as events; those that come with their place say so."""

    def __init__(self, file: BinaryIO, *, product_version: str) -> None:
        self._file = file
        self._version = product_version

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write these rows, in their order. Raises ``CannotRead`` where one has no record."""
        self._file.write(b"".join(b"%b\n" % canonical_json(self._event(row)) for row in rows))

    def close(self) -> None:
        """End the lines; there is nothing that says so."""

    def _event(self, row: Mapping[str, Any]) -> dict[str, Any]:
        try:
            record = row.get(OPENED) or parse_record(row)
            return build_ocsf(record, product_version=self._version, place=row.get(PLACE))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise CannotRead(
                f"row {row['seq']} of writer {row['writer']} has a record that nobody wrote:"
                " run `broker audit verify`"
            ) from None
