"""``broker audit ui``: the trail as pages in a browser, for whoever does not live in a terminal."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from broker.audit.checkpoint_key import build_origin, load_checkpoint_keys
from broker.audit.note import VerifierKey
from broker.cli.audit.public_key import load_public_keys
from broker.cli.audit.source import (
    Config,
    DatabaseUrl,
    KeyFile,
    Unclear,
    find_database,
    find_vault,
    told,
)
from broker.cli.explorer import offer, whoever
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
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the link and open nothing.")
    ] = False,
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="Of all times, like `Europe/Berlin`.")
    ] = "UTC",
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Checkpoints that were kept outside, to verify against: the file of"
            " `audit.checkpoints.file`, or a folder with the objects of a bucket.",
            show_default=False,
        ),
    ] = None,
    public_key: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|KEY",
            help="The public key of the log, a file or its text, from somebody whom you trust;"
            " absent: the one of the configuration's key file.",
            show_default=False,
        ),
    ] = None,
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
        if checkpoints is not None and not checkpoints.exists():
            raise Unclear(f"--checkpoints: there is no {checkpoints}")
        vault = find_vault(config, database_url, key_file)
        keys = _load_keys(public_key, config, offline=database_url is not None)
        with find_database(config, database_url) as url:
            means = Means(url, zone, whoever(), vault, keys, checkpoints)
            asyncio.run(offer(lambda: Explorer(means, port=port), browse=not no_browser))


def _load_keys(
    public_key: str | None, config: Path | None, *, offline: bool
) -> Sequence[VerifierKey]:
    if public_key is not None:
        return load_public_keys(public_key)
    if offline:
        return ()
    settings = load_settings(config)
    path = find_key_files(settings).checkpoints
    if path is None or not path.exists():
        return ()
    return load_checkpoint_keys(path, build_origin(settings.issuer)).public
