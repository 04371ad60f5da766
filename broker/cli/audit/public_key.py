"""``--public-key``: which log is believed, and how that is told."""

from pathlib import Path
from typing import Annotated, Final

import typer

from broker.audit.note import VerifierKey, parse_vkeys
from broker.cli.audit.source import Unclear

_MOST: Final = 1024 * 1024  # bytes of a file of keys

PublicKey = Annotated[
    str,
    typer.Option(
        "--public-key",
        metavar="FILE|KEY",
        help="What `broker audit public-key` prints, a file or its text. Have it from somebody whom"
        " you trust, not from the database.",
        show_default=False,
    ),
]


def load_public_keys(value: str) -> tuple[VerifierKey, ...]:
    """Return the keys in a file of that name, or in the text itself. Raises ``Unclear``."""
    text = value
    if "+" not in value or Path(value).is_file():
        try:
            with Path(value).open("rb") as file:
                text = file.read(_MOST).decode()
        except (OSError, ValueError):
            raise Unclear(f"--public-key: there is no text file {value}") from None
    try:
        return parse_vkeys(text)
    except ValueError as error:
        raise Unclear(f"--public-key: {error}") from None
