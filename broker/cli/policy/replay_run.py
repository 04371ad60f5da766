"""A replay from the trail or from a file, under policies that are compiled for it."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from broker.audit.access import describe_filter
from broker.audit.decided import Lots, Stretch, read_export, read_trail
from broker.audit.export.output import open_output
from broker.audit.query import Filter
from broker.audit.reader import RecordReader
from broker.audit.vault import Vault
from broker.cli.audit.source import (
    Unclear,
    find_database,
    find_vault,
    open_reader,
    record_look,
)
from broker.cli.console import build_console
from broker.cli.policy.replay_progress import ReplayProgress
from broker.workbench.candidate import open_candidate
from broker.workbench.replay.disguise import Disguise
from broker.workbench.replay.past import Cause
from broker.workbench.replay.replayer import CEILING, Keep, Replayer, undisturbed
from broker.workbench.replay.report import Report


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be replayed."""

    policies: Path
    against: Path | None  # None: what was decided then is compared with
    file: Path | None  # None: the trail of a database
    stretch: Stretch
    save: Path | None  # where decisions are taken along to
    harmless: frozenset[str]  # claims that keep their values there


def run_replay(
    asked: Asked, *, config: Path | None, url: str | None, key_file: Path | None
) -> Report:
    """Return what was found. Raises ``ConfigurationError``, ``CannotRead`` or ``Unclear``."""
    with _database(asked, config, url) as found, _saved(asked) as keep:
        vault = find_vault(config, url, key_file) if found else None
        return asyncio.run(_replay(asked, found, vault, keep))


@contextmanager
def _database(asked: Asked, config: Path | None, url: str | None) -> Iterator[str | None]:
    """Yield where to read from; None where a file says all of it."""
    if asked.file is not None and config is None and url is None:
        yield None
        return
    with find_database(config, url) as found:
        yield found


@contextmanager
def _saved(asked: Asked) -> Iterator[Keep | None]:
    """Yield what takes decisions along; the file is there as a whole or not at all."""
    if asked.save is None:
        if asked.harmless:
            raise Unclear("--keep-claim: is for --save; leave it out")
        yield None
        return
    try:
        with open_output(asked.save) as out:
            yield Keep(Disguise(os.urandom(32), harmless=asked.harmless), out.write)
    except OSError as error:
        raise Unclear(f"--save: {asked.save} cannot be written ({error.strerror})") from None


async def _replay(asked: Asked, url: str | None, vault: Vault | None, keep: Keep | None) -> Report:
    console = build_console(stderr=True)
    async with AsyncExitStack() as stack:
        progress = stack.enter_context(ReplayProgress(console))
        progress.say("compiling …")
        candidate = stack.enter_context(open_candidate(asked.policies, ceiling=CEILING))
        before = (
            None
            if asked.against is None
            else stack.enter_context(open_candidate(asked.against, ceiling=CEILING))
        )
        replayer = Replayer(candidate, against=before, keep=keep)
        lots = await stack.enter_async_context(aclosing(await _open(asked, url, vault, stack)))
        stack.enter_context(undisturbed())
        async for lot in lots:
            replayer.feed(lot)
            progress.show(replayer.tally)
            if replayer.exhausted:
                break
    if keep is not None:
        console.print(Text(_say_kept(replayer), "quiet"))
    stretch = asked.stretch
    if not replayer.tally.decisions and replayer.tally.lost[Cause.SEALED]:
        raise Unclear(
            "every input is sealed: name the audit key with --key-file, or export with"
            " `broker audit query --format jsonl --open`"
        )
    return Report(
        candidate=candidate.revision,
        against=None if before is None else before.revision,
        since=stretch.since,
        until=stretch.until,
        client=stretch.client,
        target=stretch.target,
        limit=stretch.limit,
        sample=stretch.sample,
        whole=not replayer.exhausted,
        tally=replayer.tally,
    )


def _say_kept(replayer: Replayer) -> str:
    left = replayer.tally.decisions - replayer.kept
    why = f"; {left:,} are not: they are decided otherwise without the persons" if left else ""
    return f"{replayer.kept:,} decisions are saved{why}"


async def _open(asked: Asked, url: str | None, vault: Vault | None, stack: AsyncExitStack) -> Lots:
    stretch, file = asked.stretch, asked.file
    if url is None:
        # Only where a file says all of it.
        return read_export(file or Path(), None, stretch)
    database = await stack.enter_async_context(open_reader(url))
    reader = RecordReader(database, vault)
    wanted = Filter(
        since=stretch.since, until=stretch.until, client=stretch.client, target=stretch.target
    )
    details = describe_filter(wanted) | {
        "most": stretch.limit,
        "names": False,
        "saved": asked.save is not None,
    }
    await record_look(database, "audit.replay", details, vault)
    if file is not None:
        return read_export(file, reader, stretch)
    return read_trail(database, reader, stretch)
