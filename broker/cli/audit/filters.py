"""``broker audit filters``: the questions that were saved, and an end to one of them."""

from collections.abc import Mapping
from typing import Annotated, Final

import orjson
import typer
from rich.text import Text

from broker.cli.audit import saved
from broker.cli.audit.asked import option_of
from broker.cli.audit.source import told
from broker.cli.console import build_console, printable
from broker.cli.options import ListFormat, ListOutput

FILTERS_HELP: Final = (
    "Exit codes: **0** listed or deleted, **2** could not.\n\nExample: `broker audit filters`"
)


def filters(
    delete: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Delete this one.", show_default=False),
    ] = None,
    output: ListOutput = ListFormat.TABLE,
) -> None:
    """List the questions that you saved with `--save` of `broker audit query`, or delete one.

    They are in `token-exchange-broker/filters.json` of your configuration folder
    (`XDG_CONFIG_HOME`), which nobody else may read.
    """
    with told():
        if delete is not None:
            saved.delete(delete)
            build_console().print(Text.assemble(("✓ ", "good"), f"{delete} is deleted"))
            return
        found = saved.load_saved()
    documents = [{"name": name, **given} for name, given in sorted(found.items())]
    if output is ListFormat.JSON:
        print(orjson.dumps(documents, option=orjson.OPT_INDENT_2).decode())
    elif output is ListFormat.JSONL:
        for document in documents:
            print(orjson.dumps(document).decode())
    else:
        _print_table(found)


def _print_table(found: Mapping[str, saved.Given]) -> None:
    console = build_console()
    if not found:
        console.print(Text("Nothing is saved: broker audit query --save does it.", "quiet"))
    for name, given in sorted(found.items()):
        options = " ".join(f"{option_of(field)} {value}" for field, value in given.items())
        text = printable(options) or "everything"
        console.print(Text.assemble((name, "heading"), f"  {text}"), soft_wrap=True)
