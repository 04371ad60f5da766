"""Where the pages are. Every link of the explorer is made here."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

OPEN: Final = "/open"
SEARCH: Final = "/"
TRAIL: Final = "/trail"
VERIFY: Final = "/trail/verify"
STATIC: Final = "/static/"


def search_link(given: Mapping[str, str]) -> str:
    """Return the search with these fields, as ``broker.explorer.question`` reads them."""
    return SEARCH + _query(given)


def timeline_link(given: Mapping[str, str]) -> str:
    """Return the page with nothing but the timeline of a search, which may take longer."""
    return f"/timeline{_query(given)}"


def export_link(kind: str, given: Mapping[str, str]) -> str:
    """Return all that a search finds as a file; ``kind`` is ``csv`` or ``jsonl``."""
    return f"/export.{kind}{_query(given)}"


def verify_link(given: Mapping[str, str]) -> str:
    """Return the page that verifies a window."""
    return VERIFY + _query(given)


def row_link(id: str, given: Mapping[str, str] | None = None) -> str:  # noqa: A002 — the column's name
    """Return the page of a row, by its id; of the fields it may be ``given`` it knows the zone."""
    return f"/rows/{id}{_query(given or {})}"


def transaction_link(id: str, given: Mapping[str, str] | None = None) -> str:  # noqa: A002 — the column's name
    """Return the page of the transaction that a row belongs to, by the id of the row."""
    return f"/rows/{id}/transaction{_query(given or {})}"


def proof_link(id: str) -> str:  # noqa: A002 — the column's name
    """Return the file that proves a row."""
    return f"/rows/{id}/proof"


def record_link(id: str) -> str:  # noqa: A002 — the column's name
    """Return the record of a row, byte for byte as it was hashed."""
    return f"/rows/{id}/record"


def _query(given: Mapping[str, str]) -> str:
    return f"?{urlencode(given)}" if given else ""
