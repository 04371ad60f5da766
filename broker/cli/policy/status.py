"""``broker policy status``: which policy is in force, on which process, and how it came to that."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from broker.cli.backing import open_existing
from broker.cli.console import build_console, printable, short_revision
from broker.cli.options import Config, Format, Output
from broker.cli.policy.rollout import NOT_EVERYWHERE, told
from broker.db.engine import Database
from broker.policy.activation import Activation, State, add_up
from broker.policy.follower import SEEN_WITHIN
from broker.policy.store import PolicyLedger, Replica
from broker.settings import load_settings

STATUS_HELP: Final = (
    "Exit codes: **0** every running process decides by the same, and nothing is wrong, **1** they"
    " differ, or one has a fault, **2** could not ask.\n\n"
    "Example: `broker policy status --config broker.yaml`"
)
_SHOWN: Final = 10  # activations
_CONFIGURED: Final = "what policy.path names"


@dataclass(frozen=True, slots=True)
class Status:
    """What the ledger says, and what the processes that run say."""

    state: State
    history: Sequence[Activation]  # oldest first
    replicas: Sequence[Replica]

    @property
    def agreed(self) -> bool:
        """Whether every process decides by the same, and that is the newest, without a fault."""
        said = {(each.revision, each.candidate, each.mode) for each in self.replicas}
        return len(said) <= 1 and all(
            each.seq == self.state.seq and not each.fault for each in self.replicas
        )

    def describe(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        state, trial = self.state, self.state.trial
        back = state.way_back()
        return {
            "activation": state.seq,
            "revision": state.live or None,
            "candidate": None if trial is None else trial.revision,
            "mode": None if trial is None else trial.mode.value,
            "percent": None if trial is None else trial.share.percent,
            "clients": None if trial is None else sorted(trial.share.clients),
            "rollback": {"possible": back is not None, "revision": back or None},
            "agreed": self.agreed,
            "replicas": [each.describe() for each in self.replicas],
            "history": [each.describe() for each in self.history],
        }


def status(config: Config = None, output: Output = Format.TABLE) -> None:
    """Show which policy is in force, what is tried, and whether every process follows.

    A process that has ended is listed for up to a minute. The history has the newest activations;
    all of them, with what each candidate would have changed, are in the audit trail.
    """
    settings = load_settings(config)

    async def ask(url: str) -> Status:
        async with aclosing(Database(url)) as database:
            ledger = PolicyLedger(database)
            history = await ledger.load()
            return Status(add_up(history), history, await ledger.find_replicas(SEEN_WITHIN))

    with told(), open_existing(settings) as backing:
        found = asyncio.run(ask(backing.app_url))
    if output is Format.JSON:
        print(orjson.dumps(found.describe(), option=orjson.OPT_INDENT_2).decode())
    else:
        _print(found, build_console())
    if not found.agreed:
        raise typer.Exit(NOT_EVERYWHERE)


def _print(found: Status, console: Console) -> None:
    state, trial = found.state, found.state.trial
    console.print(Text.assemble(("in force   ", "quiet"), _name(state.live)))
    if trial is not None:
        shares = [f"{trial.share.percent} % of clients"] if trial.share.percent else []
        share = ", ".join([*shares, *sorted(trial.share.clients)])
        text = f"{_name(trial.revision)}  {trial.mode.value} {share}".rstrip()
        console.print(Text.assemble(("candidate  ", "quiet"), text))
    back = state.way_back()
    text = "nothing to go back to" if back is None else f"to {_name(back)}"
    console.print(Text.assemble(("rollback   ", "quiet"), text))
    console.print()
    _print_replicas(found, console)
    if found.history:
        console.print()
        _print_history(found.history, console)


def _print_replicas(found: Status, console: Console) -> None:
    if not found.replicas:
        console.print(Text("No process runs, or none that knows of activations.", "quiet"))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)
    table.add_column("process", overflow="fold", ratio=2)
    table.add_column("decides by", no_wrap=True)
    table.add_column("candidate", no_wrap=True)
    table.add_column("follows", overflow="fold", ratio=3)
    for each in found.replicas:
        follows = Text("✓", "good") if each.seq == found.state.seq else Text("not yet", "warning")
        fault = Text(printable(each.fault), "bad") if each.fault else follows
        candidate = f"{short_revision(each.candidate)} {each.mode}".strip() or "·"
        table.add_row(printable(each.place), short_revision(each.revision), candidate, fault)
    console.print(table)
    if not found.agreed:
        console.print(Text("\nThe processes do not all decide by the same.", "warning"))


def _print_history(history: Sequence[Activation], console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)
    table.add_column("no.", justify="right", style="quiet", no_wrap=True)
    table.add_column("when (UTC)", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("policy", no_wrap=True)
    table.add_column("who, and why", overflow="fold", ratio=3)
    for each in history[: -_SHOWN - 1 : -1]:
        why = Text(printable(each.by)).append(f"  {printable(each.reason)}", "quiet")
        what = each.action.value if each.action.value == "rollback" else each.mode.value
        name = short_revision(each.revision) or "configured"
        table.add_row(str(each.seq), _instant(each.at), what, name, why)
    console.print(table)


def _name(revision: str) -> str:
    return short_revision(revision) or _CONFIGURED


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"
