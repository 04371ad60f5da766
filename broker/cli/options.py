"""Options that several commands have, so that they are called and explained alike."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option(
        help="The configuration; absent: the environment says all.",
        envvar="BROKER_CONFIG",
        show_default=False,
    ),
]


class Format(StrEnum):
    """How one thing is printed."""

    TABLE = "table"
    JSON = "json"


class ListFormat(StrEnum):
    """How many things are printed: as a whole, or one JSON document a line."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


class RowFormat(StrEnum):
    """How rows are printed: as ``ListFormat``, or for a spreadsheet."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"


Output = Annotated[Format, typer.Option("--format", help="How to print it.")]
ListOutput = Annotated[ListFormat, typer.Option("--format", help="How to print them.")]
