"""``broker policy init``: a policy folder to begin with."""

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from broker.cli.console import build_console
from broker.cli.policy.folder import FOLDER
from broker.policy.scaffold.complete import complete_folder
from broker.policy.scaffold.scaffold import add_rules, create_folder, is_bundle
from broker.policy.scaffold.template import TEMPLATES

INIT_HELP: Final = (
    "Exit codes: **0** written, **2** something is there already, or it cannot be written.\n\n"
    "Example: `broker policy init policies`\n\n"
    "Example: `broker policy init policies --with hours --with ticket --target ledger`\n\n"
    "Example: `broker policy init policies --complete`"
)
_RULES: Final = ", ".join(f"`{name}`" for name in TEMPLATES)


def init(
    folder: Annotated[Path, typer.Argument(help="The folder to make, or to add to.")] = FOLDER,
    rules: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="RULE",
            help=f"Add this rule of the library as a package with its test and its parameters:"
            f" {_RULES}. May be repeated.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str, typer.Option(metavar="NAME", help="The target that the added rules are about.")
    ] = "payroll",
    complete: Annotated[
        bool,
        typer.Option(
            "--complete",
            help="Add what a folder with grants of its own lacks of the stock policy, and change"
            " nothing in it: so are the examples made whole.",
        ),
    ] = False,
) -> None:
    """Write a policy folder that compiles, with its tests at full coverage and a page on it.

    It is a copy of the stock policy: rules, the library, grants to change, schemas, scenarios.
    Where the folder is a policy already, `--with` adds to it; nothing is ever written over.
    """
    console = build_console()
    if complete:
        added = complete_folder(folder)
        for path in add_rules(folder, rules, target) if rules else ():
            console.print(Text.assemble("wrote ", (f"{folder / path}", "link")))
        text = f", {len(added)} files of the stock policy beside its own"
        console.print(Text.assemble("completed ", (f"{folder}", "link"), text))
    elif is_bundle(folder) and rules:
        for path in add_rules(folder, rules, target):
            console.print(Text.assemble("wrote ", (f"{folder / path}", "link")))
    else:
        written = create_folder(folder, rules or (), target)
        console.print(Text.assemble("wrote ", (f"{folder}", "link"), f", {len(written)} files"))
    console.print(Text(f"next: broker policy check {folder}"))
    threshold = "--only scenarios" if complete else "--threshold 100"
    console.print(Text(f"      broker policy test {folder} {threshold}"))
    console.print(Text(f"      then change {folder / 'broker/grants/data.yaml'}"))
