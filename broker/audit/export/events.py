"""Rows as events of OCSF, one JSON document a line."""

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO
from uuid import UUID

from broker.audit.event import canonical_json
from broker.audit.export.columns import OPENED, parse_record
from broker.audit.export.ocsf import Place, build_ocsf
from broker.audit.query import CannotRead


class EventRows:
    """Writes rows to ``file`` as events.

    ``integrity`` adds the profile of that name; ``origin`` is then the log's, None if there is no
    checkpoint yet.
    """

    def __init__(
        self, file: BinaryIO, *, product_version: str, integrity: bool, origin: str | None
    ) -> None:
        self._file = file
        self._version = product_version
        self._integrity = integrity
        self._origin = origin

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write these rows, in their order. Raises ``CannotRead`` where one has no record."""
        self._file.write(b"".join(b"%b\n" % canonical_json(self._event(row)) for row in rows))

    def close(self) -> None:
        """End the lines; there is nothing that says so."""

    def _event(self, row: Mapping[str, Any]) -> dict[str, Any]:
        place = None
        writer, seq = UUID(int=row["writer"].int), row["seq"]
        if self._integrity:
            place = Place(writer, seq, row["leaf"], self._origin)
        try:
            record = row.get(OPENED) or parse_record(row)
            return build_ocsf(record, product_version=self._version, place=place)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise CannotRead(
                f"row {seq} of writer {writer} has a record that nobody wrote:"
                " run `broker audit verify`"
            ) from None
