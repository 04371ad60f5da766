"""Where the pages of the workbench are."""

from typing import Final
from urllib.parse import urlencode

HOME: Final = "/"
EDIT: Final = "/edit"
REVERT: Final = "/revert"
PATCH: Final = "/change.patch"


def file_link(name: str, line: int | None = None) -> str:
    """Return the page with this file in the editor; with a line, which it then shows."""
    given = {"file": name} | ({} if line is None else {"line": str(line)})
    return f"{HOME}?{urlencode(given)}"
