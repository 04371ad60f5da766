"""``broker audit ui``: the trail as pages in a browser, for whoever does not live in a terminal."""

import asyncio
import getpass
import signal
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from broker.audit.checkpoint_key import build_origin, load_checkpoint_keys
from broker.audit.note import VerifierKey
from broker.cli.audit.source import (
    Config,
    DatabaseUrl,
    KeyFile,
    Unclear,
    find_database,
    find_vault,
    told,
)
from broker.cli.console import build_console
from broker.explorer.server import Explorer
from broker.explorer.sources import Means
from broker.explorer.times import find_zone
from broker.settings import find_key_files, load_settings

UI_HELP: Final = (
    "Exit codes: **0** stopped as told, **2** could not look, or not serve.\n\n"
    "Example: `broker audit ui --config broker.yaml --timezone Europe/Berlin`"
)


def ui(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0: whichever is free.")
    ] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the link.")] = False,
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="Of times, like `Europe/Berlin`.")
    ] = "UTC",
    config: Config = None,
    database_url: DatabaseUrl = None,
    key_file: KeyFile = None,
) -> None:
    """Search the trail, see who got what on whose behalf and why, and verify it, in a browser.

    Served on this machine alone, to the browser that opens the link that is printed: it works
    once. Nothing is changed, and each search, row and export is on record. Ctrl-C ends it.
    """
    with told():
        zone = find_zone(timezone)
        if zone is None:
            raise Unclear("--timezone: no such zone here; write one like Europe/Berlin, or UTC")
        vault = find_vault(config, database_url, key_file)
        keys = () if database_url is not None else _load_keys(config)
        with find_database(config, database_url) as url:
            means = Means(url=url, zone=zone, by=_whoever(), vault=vault, keys=keys)
            asyncio.run(_serve(means, port, browse=not no_browser))


async def _serve(means: Means, port: int, *, browse: bool) -> None:
    console = build_console()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    try:
        async with Explorer(means, port=port) as explorer:
            link = explorer.new_link()
            console.print(Text(link, "link"), soft_wrap=True)
            if browse:
                await asyncio.to_thread(webbrowser.open, link)
            await stop.wait()
    except OSError as error:
        raise Unclear(f"--port: {port} cannot be used ({error.strerror})") from None


def _whoever() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody without a name on this machine"


def _load_keys(config: Path | None) -> Sequence[VerifierKey]:
    settings = load_settings(config)
    path = find_key_files(settings).checkpoints
    if path is None or not path.exists():
        return ()
    return load_checkpoint_keys(path, build_origin(settings.issuer)).public
