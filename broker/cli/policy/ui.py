"""``broker policy ui``: change a policy in a browser, on a copy, and see what it does."""

import asyncio
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from broker.audit.access import describe_filter
from broker.audit.decided import Lots, Stretch, read_export, read_trail
from broker.audit.query import Filter
from broker.audit.reader import RecordReader
from broker.audit.vault import Vault
from broker.cli.audit.source import (
    DatabaseUrl,
    KeyFile,
    Unclear,
    find_database,
    find_vault,
    open_reader,
    parse_moment,
    record_look,
    told,
)
from broker.cli.explorer import offer
from broker.cli.options import Config
from broker.cli.policy.folder import find_policy
from broker.settings import load_settings
from broker.workbench.page.judge import Judge
from broker.workbench.page.scratch import Scratch
from broker.workbench.page.server import Workbench
from broker.workbench.scenarios.setting import PARTIES

UI_HELP: Final = (
    "Exit codes: **0** stopped as told, **2** could not begin, or not serve.\n\n"
    "Example: `broker policy ui policies --config broker.yaml`"
)
_RECORDS: Final = 20_000  # that are replayed at each try: some seconds


def ui(
    folder: Annotated[
        Path | None,
        typer.Argument(
            help="The policy folder; absent: what the configuration names, or `policies`.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Replay what was exported by `broker audit query --format jsonl --open`, or saved"
            " with `--save` of `broker policy replay`.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Replay what is in the trail from then on, like `7d` ago; read once, at the"
            " start, and on record as any look.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0: whichever is free.")
    ] = 0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the link and open nothing.")
    ] = False,
    config: Config = None,
    database_url: DatabaseUrl = None,
    key_file: KeyFile = None,
) -> None:
    """Change grants or Rego in a browser, and see at once what it does.

    It is a copy that is changed: nothing is written to the folder, and no broker is touched. Shown
    are errors with file and line, tests, scenarios, who may obtain more or less, and, with
    `--from` or `--since`, what would have changed for calls on record. What leaves is a patch for
    `git apply`. Served on this machine alone, to the browser that opens the link that is printed.
    """
    with told():
        settings = None if config is None else load_settings(config, only=PARTIES)
        if file is not None and since is not None:
            raise Unclear("--since: is for the trail; leave it out with --from")
        records: list[dict[str, object]] = []
        if file is not None:
            records = asyncio.run(_read_file(file))
        elif since is not None:
            stretch = Stretch(since=parse_moment("--since", since), limit=_RECORDS)
            with find_database(config, database_url) as url:
                vault = find_vault(config, database_url, key_file)
                records = asyncio.run(_read_trail(url, vault, stretch))
        with Scratch(find_policy(folder, config)) as scratch:
            judge = Judge(scratch, settings, records)
            made = partial(Workbench, scratch, judge, port=port)
            asyncio.run(offer(made, browse=not no_browser))


async def _read_file(file: Path) -> list[dict[str, object]]:
    return await _gather(read_export(file, None, Stretch(limit=_RECORDS)))


async def _read_trail(url: str, vault: Vault | None, stretch: Stretch) -> list[dict[str, object]]:
    async with open_reader(url) as database:
        details = describe_filter(Filter(since=stretch.since))
        details |= {"most": stretch.limit, "names": False}
        await record_look(database, "audit.replay", details, vault)
        return await _gather(read_trail(database, RecordReader(database, vault), stretch))


async def _gather(lots: Lots) -> list[dict[str, object]]:
    async with aclosing(lots):
        return [record async for lot in lots for record in lot]
