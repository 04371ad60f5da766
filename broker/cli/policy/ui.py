"""``broker policy ui``: change a policy in a browser, on a copy, and see what it does."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from broker.audit.decided import Stretch, read_export
from broker.cli.audit.source import Unclear, told
from broker.cli.console import build_console
from broker.cli.explorer import link_terms, links_on_enter, open_browser, print_link
from broker.cli.options import Config
from broker.cli.policy.folder import find_policy
from broker.settings import load_settings
from broker.workbench.page.judge import Judge
from broker.workbench.page.scratch import Scratch
from broker.workbench.page.server import CannotServe, Workbench
from broker.workbench.scenarios.setting import PARTIES

UI_HELP: Final = (
    "Exit codes: **0** stopped as told, **2** could not begin, or not serve.\n\n"
    "Example: `broker policy ui policies --config broker.yaml`"
)
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
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
            help="Replay what was exported by `broker audit query --format jsonl --open`.",
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
) -> None:
    """Change grants or Rego in a browser, and see at once what it does.

    It is a copy that is changed: nothing is written to the folder, and no broker is touched. Shown
    are errors with file and line, tests, scenarios, who may obtain more or less, and, with
    `--from`, what would have changed for calls on record. What leaves is a patch for
    `git apply`. Served on this machine alone, to the browser that opens the link that is printed.
    """
    with told():
        settings = None if config is None else load_settings(config, only=PARTIES)
        records = [] if file is None else asyncio.run(_read(file))
        with Scratch(find_policy(folder, config)) as scratch:
            asyncio.run(_serve(scratch, Judge(scratch, settings, records), port, not no_browser))


async def _read(file: Path) -> list[dict[str, object]]:
    return [
        record async for lot in read_export(file, None, Stretch(limit=_RECORDS)) for record in lot
    ]


async def _serve(scratch: Scratch, judge: Judge, port: int, browse: bool) -> None:
    console = build_console()
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    try:
        async with Workbench(scratch, judge, port=port) as workbench:
            console.print(Text(f"{link_terms().capitalize()}:"))
            link = print_link(console, workbench)
            if browse:
                await open_browser(link)
            with links_on_enter(console, workbench) as anybody:
                more = "Enter prints another link, " if anybody else ""
                console.print(Text(f"{more}Ctrl-C ends it.", "quiet"))
                await stop.wait()
    except CannotServe as error:
        raise Unclear(f"--port: {error}") from None
