"""What the commands that roll out a policy share: whom they ask, and what they say."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from datetime import timedelta
from typing import Annotated, Any, Final

import orjson
import typer
from rich.text import Text

from broker.cli.backing import open_existing
from broker.cli.console import build_console, printable, short_revision
from broker.cli.options import Format
from broker.cli.recording import open_trail, operator
from broker.db.engine import Database
from broker.errors import CommitRejected, ConfigurationError
from broker.policy.activate import ActivationRefused, Record
from broker.policy.activation import Action, Activation, Mode
from broker.policy.follower import SEEN_WITHIN
from broker.policy.store import BundleUnknown, PolicyLedger, PolicyLedgerUnavailable, Replica
from broker.settings import Settings

NOT_EVERYWHERE: Final = 1
COULD_NOT: Final = 2
_PATIENCE: Final = 10.0  # seconds, for the replicas to follow
_LOOK: Final = 0.1

Author = Annotated[
    str | None,
    typer.Option(help="Who does this, for the audit trail; absent: who runs the command."),
]
Why = Annotated[
    str, typer.Option("--reason", help="Why, for the audit trail: a ticket, or the commit.")
]
Wait = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait until every running process follows.")
]
Change = Callable[[PolicyLedger, Record], Awaitable[Activation]]
Followed = tuple[Activation, Sequence[Replica]]


def change(settings: Settings, wanted: Change, *, wait: bool) -> Followed:
    """Make a change, recorded; return it and what the processes that run decide by then.

    Ends the command where it cannot be made.
    """
    if settings.policy.engine != "wasm":
        raise ConfigurationError(
            "policy.engine: opa gets its policy by its own configuration; roll it out there"
        )

    async def made(url: str) -> Followed:
        async with aclosing(Database(url)) as database:
            ledger = PolicyLedger(database)
            async with open_trail(settings, database) as trail:
                activation = await wanted(ledger, trail.record)
            return activation, await _followed(ledger, activation.seq, wait=wait)

    with told(), open_existing(settings) as backing:
        return asyncio.run(made(backing.app_url))


def author_or_operator(author: str | None) -> str:
    """Return who is named as the author."""
    return author or operator()


def print_change(followed: Followed, output: Format) -> None:
    """Print what was changed and who follows; if not all do, end with ``NOT_EVERYWHERE``."""
    activation, replicas = followed
    behind = [each for each in replicas if each.seq < activation.seq or each.fault]
    if output is Format.JSON:
        document: dict[str, Any] = {
            "activation": activation.describe(),
            "replicas": [each.describe() for each in replicas],
        }
        print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    else:
        console = build_console()
        console.print(Text.assemble(("✓ ", "good"), _sentence(activation)), soft_wrap=True)
        count = len(replicas)
        said = f"{count - len(behind)} of {count} running processes follow"
        console.print(Text(f"  {said if count else 'no process runs; the next one follows'}"))
        for each in behind:
            why = each.fault or "it has not followed yet"
            console.print(Text(f"  ! {each.place}: {printable(why)}", "warning"), soft_wrap=True)
    if behind:
        raise typer.Exit(NOT_EVERYWHERE)


@contextmanager
def told() -> Iterator[None]:
    """Tell in a line why nothing was changed."""
    try:
        yield
    except (ActivationRefused, BundleUnknown) as refused:
        warn(str(refused), "see broker policy status")
        raise typer.Exit(COULD_NOT) from None
    except PolicyLedgerUnavailable:
        warn("the database does not answer, so this is not known to be done", "see broker doctor")
        raise typer.Exit(COULD_NOT) from None
    except (CommitRejected, TimeoutError):
        warn("the audit trail cannot be written, so nothing was changed", "see broker doctor")
        raise typer.Exit(COULD_NOT) from None


def warn(text: str, remedy: str) -> None:
    """Print what went wrong, and what to do."""
    errors = build_console(stderr=True)
    errors.print(Text.assemble(("✗ ", "bad"), text), soft_wrap=True)
    errors.print(f"  → {remedy}", markup=False)


async def _followed(ledger: PolicyLedger, seq: int, *, wait: bool) -> Sequence[Replica]:
    deadline = asyncio.get_running_loop().time() + (_PATIENCE if wait else 0)
    while True:
        replicas = await ledger.find_replicas(timedelta(seconds=SEEN_WITHIN.total_seconds()))
        done = all(each.seq >= seq or each.fault for each in replicas)
        if done or asyncio.get_running_loop().time() >= deadline:
            return replicas
        await asyncio.sleep(_LOOK)


def _sentence(activation: Activation) -> str:
    name = short_revision(activation.revision) or "what policy.path names"
    if activation.action is Action.ROLLBACK:
        return f"rolled back: {name} decides, and no candidate is tried"
    if activation.mode is Mode.ENFORCE:
        return f"{name} decides from now on"
    if activation.mode is Mode.OBSERVE:
        return f"{name} is observed: it is asked beside the policy in force and decides nothing"
    share = activation.share
    shares = [f"{share.percent} % of clients"] if share.percent else []
    shares += sorted(share.clients)
    return f"{name} decides for {', '.join(shares)}"
