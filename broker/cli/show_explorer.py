"""The explorer beside the demo: a link to it, and how to start it once the demo has ended."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from broker.audit.checkpoint_key import build_origin, load_checkpoint_keys
from broker.audit.vault import load_vault
from broker.cli.explorer import link_terms, links_on_enter, print_link, whoever
from broker.cli.show_trail import checkpoints_of
from broker.demo.stage import Stage
from broker.explorer.server import Explorer
from broker.explorer.sources import Means
from broker.settings import find_key_files

_INDENT: Final = (0, 2, 0, 2)


def build_demo_explorer(stage: Stage) -> Explorer:
    """Return an explorer of the demo's trail, with all keys at hand."""
    settings = stage.settings
    path = find_key_files(settings).checkpoints
    keys = load_checkpoint_keys(path, build_origin(settings.issuer)).public if path else ()
    return Explorer(
        Means(
            url=stage.postgres.auditor_url,
            zone=ZoneInfo("UTC"),
            by=whoever(),
            vault=load_vault(settings),
            keys=keys,
            checkpoints=checkpoints_of(stage),
        )
    )


@contextmanager
def offered(console: Console, explorer: Explorer) -> Iterator[None]:
    """Print a link to the explorer, and another one at each Enter."""
    with links_on_enter(console, explorer) as anybody:
        more = ". Enter prints another" if anybody else ""
        _print(console, f"See it all in a browser: {link_terms()}{more}.")
        print_link(console, explorer)
        console.print()
        yield


def print_how(console: Console, program: str) -> None:
    """Print how to look at it in a browser: what was started has stopped by then."""
    _print(console, "See it all in a browser: this serves on, and ends with a link.")
    console.print(Text(f"{program} dev", "link"), soft_wrap=True)
    console.print()


def _print(console: Console, text: str) -> None:
    console.print(Padding(Text(text), _INDENT))
