"""``broker dev``: everything on this machine, the job being done, then it keeps serving."""

import asyncio
import os
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import httpx
import typer
from rich.console import Console
from rich.text import Text

from broker.audit.reader import RecordReader
from broker.audit.vault import load_vault
from broker.cli.console import build_console, short_revision
from broker.cli.progress import Progress
from broker.cli.recorded import follow_recorded, load_recorded
from broker.cli.show import (
    Next,
    print_audit,
    print_chapter,
    print_exchange,
    print_next,
    print_refusal,
    print_reloaded,
    print_row,
    print_title,
    print_token,
)
from broker.cli.show_cutoff import print_cut, print_introspected, print_login
from broker.cli.show_explorer import build_demo_explorer, offered, print_how
from broker.cli.show_trail import checkpoints_of, tell_the_trail
from broker.db.engine import Database
from broker.demo.cutoff import Cut, Introspected
from broker.demo.stage import Stage, set_stage
from broker.demo.story import Hop, Story
from broker.demo.watch import watch_policies
from broker.errors import CommitRejected, ConfigurationError
from broker.policy.stock import CHECKOUT, INSTALLED

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WORKING: Final = 2  # exchanges of the story that give a token
_TITLES: Final = {
    "checkout": ("alice's token", "for inventory"),
    "inventory": ("presented by inventory", "for ledger"),
}

FAULTY: Final = 1
CANNOT_START: Final = 2
INTERRUPTED: Final = 130

app = typer.Typer(rich_markup_mode="markdown")


@app.command(
    epilog="Exit codes: **0** all went as it should, **1** something did not, **2** it cannot"
    " start.\n\nExample: `broker dev --once`"
)
def dev(
    once: Annotated[
        bool, typer.Option("--once", help="Exit after the show instead of serving on.")
    ] = False,
    data_dir: Annotated[
        Path, typer.Option(help="Where the database, keys and secrets of it all are.")
    ] = Path(".broker"),
    policies: Annotated[
        Path | None,
        typer.Option(help="Policy folder; absent: `policies` here, or else the stock policy."),
    ] = None,
) -> None:
    """Start everything here, show exchanges being made and refused, and keep serving.

    A real PostgreSQL, a demo identity provider and the broker start on loopback; nothing needs to
    be set up. Saved policy files are live within two seconds. Ctrl-C stops it all.
    """
    console = build_console()
    try:
        code = asyncio.run(
            _run(console, once=once, data_dir=data_dir.absolute(), policies=policies)
        )
    except ConfigurationError as error:
        errors = build_console(stderr=True)
        errors.print(Text.assemble(("✗ cannot start: ", "bad"), str(error)))
        raise typer.Exit(CANNOT_START) from None
    raise typer.Exit(code)


async def _run(console: Console, *, once: bool, data_dir: Path, policies: Path | None) -> int:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    stop = asyncio.Event()

    def interrupt() -> None:
        # Once: a second one must not keep what was started from being stopped.
        for number in _SIGNALS:
            loop.add_signal_handler(number, stop.set)
        if task is not None:
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, interrupt)
    print_title(console)
    try:
        folder = _policies(policies, data_dir)
        async with set_stage(data_dir, folder, Progress(console)) as stage:
            faults = await _tell(console, stage)
            faults += await tell_the_trail(console, stage)
            _print_verdict(console, faults)
            if once:
                print_how(console, _program())
            else:
                for number in _SIGNALS:
                    loop.add_signal_handler(number, stop.set)
                await _serve(console, stage, stop)
    except asyncio.CancelledError:
        console.print("\n  interrupted, and all is stopped", style="quiet")
        return INTERRUPTED
    console.print("  all is stopped", style="quiet")
    return FAULTY if faults else 0


async def _tell(console: Console, stage: Stage) -> list[str]:
    """Show the exchanges and what was recorded of them; returns what was not as it should be."""
    console.print()
    database = Database(stage.postgres.auditor_url)
    reader = RecordReader(database, load_vault(stage.settings))
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            story = Story(
                stage.settings.issuer,
                stage.issuer,
                stage.clients.secrets,
                client,
                admin=stage.admin,
            )
            print_token(console, story.token, "alice asks checkout for something")
            began = datetime.now(UTC)
            hops = 0
            async for hop in story.tell():
                hops += 1
                if hop.expected is not None:
                    if hops == _WORKING + 1:
                        print_chapter(console, "what is refused")
                    print_refusal(console, hop)
                    continue
                recorded = await load_recorded(reader, since=began)
                sources = recorded[-1].derived if recorded else {}
                print_exchange(console, hop, _TITLES[hop.ask.client], sources)
            await _tell_the_end(console, story)
            recorded = await load_recorded(reader, since=began)
            print_chapter(console, "what was recorded", "read from the database as its auditor")
            print_audit(console, recorded)
            faults = await story.faults()
        on_record = {row.request_id for row in recorded}
        faults += [
            f"{hop.title}: not on record" for hop in story.hops if hop.request_id not in on_record
        ]
    finally:
        await database.aclose()
    return faults


async def _tell_the_end(console: Console, story: Story) -> None:
    async for told in story.cut_off():
        match told:
            case Cut():
                print_chapter(console, "alice's access is cut", "one call of the admin API")
                print_cut(console, told)
            case Introspected():
                print_introspected(console, told)
            case Hop(expected=None):
                print_login(console, told)
            case Hop():
                print_refusal(console, told)


def _print_verdict(console: Console, faults: list[str]) -> None:
    if not faults:
        text = "  ✓ Both tokens verify by the published keys, and every answer has its row."
        console.print(Text(text, "good"))
    for fault in faults:
        console.print(Text(f"  ✗ {fault}", "bad"))
    console.print()


async def _serve(console: Console, stage: Stage, stop: asyncio.Event) -> None:
    """Serve until ``stop``, showing each exchange, and each saved policy as it goes live."""
    print_next(
        console,
        Next(
            broker=stage.settings.issuer,
            issuer=stage.issuer.issuer,
            secret_file=stage.clients.file("checkout"),
            configuration=stage.configuration,
            policies=stage.policies,
            program=_program(),
            checkpoints=checkpoints_of(stage),
        ),
    )
    failed = asyncio.create_task(stage.broker.failed.wait())
    # A broker without one of its parts is not kept up for looks.
    failed.add_done_callback(lambda _: stop.set())
    try:
        async with build_demo_explorer(stage) as explorer:
            with offered(console, explorer):
                print_chapter(console, "serving", "Ctrl-C stops it all")
                await asyncio.gather(
                    _show_reloads(console, stage, stop), _show_exchanges(console, stage, stop)
                )
    finally:
        failed.cancel()
    console.print()


async def _show_reloads(console: Console, stage: Stage, stop: asyncio.Event) -> None:
    async def reload() -> None:
        try:
            await stage.broker.reload(stage.settings)
        except CommitRejected as rejected:
            raise ConfigurationError("the change cannot be recorded; save it again") from rejected

    async for reloaded in watch_policies(stage.policies, reload, stop):
        revision = short_revision(stage.broker.status()["policy_revision"])
        print_reloaded(console, reloaded, revision)


async def _show_exchanges(console: Console, stage: Stage, stop: asyncio.Event) -> None:
    database = Database(stage.postgres.auditor_url, pool_size=1)
    try:
        reader = RecordReader(database, load_vault(stage.settings))
        async for row in follow_recorded(reader, since=datetime.now(UTC), stop=stop):
            print_row(console, row)
    finally:
        await database.aclose()


def _policies(named: Path | None, data_dir: Path) -> Path:
    """Return the policy folder: the one named, the one here, or a copy of the stock policy."""
    here = Path.cwd() / "policies"
    if named is not None or here.is_dir():
        return (named or here).absolute()
    if CHECKOUT.is_dir():
        return CHECKOUT
    copy = data_dir / "policies"
    if not copy.exists():
        # In a copy, so that it can be edited.
        shutil.copytree(INSTALLED, copy)
    return copy


def _program() -> str:
    """Return how this program was called, so that what is printed can be typed here."""
    path = Path(sys.argv[0]).absolute()
    relative = os.path.relpath(path)
    if shutil.which("broker") == str(path) or path.stem != "broker":
        return "broker"
    return relative if not relative.startswith("..") else str(path)
