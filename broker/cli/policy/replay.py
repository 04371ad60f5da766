"""``broker policy replay``: what another policy would have said to what was asked."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from rich.text import Text

from broker.audit.access import describe_filter
from broker.audit.decided import Lots, Stretch, read_export, read_trail
from broker.audit.export.output import open_output
from broker.audit.query import Filter
from broker.audit.reader import RecordReader
from broker.audit.vault import Vault
from broker.cli.audit.source import (
    Config,
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
from broker.cli.console import build_console
from broker.cli.policy.replay_progress import ReplayProgress
from broker.cli.policy.replay_table import print_report
from broker.workbench.candidate import open_candidate
from broker.workbench.replay.disguise import Disguise
from broker.workbench.replay.markdown import render_markdown
from broker.workbench.replay.page import render_page
from broker.workbench.replay.past import Cause
from broker.workbench.replay.replayer import CEILING, Keep, Replayer, undisturbed
from broker.workbench.replay.report import Outcome, Report

REPLAY_HELP: Final = (
    "Exit codes: **0** nothing changes, **1** something changes and nothing widens, **2** it could"
    " not be done, or not to the end, **3** somebody gets more than before.\n\n"
    "Example: `broker policy replay --policies policies --since 7d --config broker.yaml`"
)
_CODES: Final = {
    Outcome.SAME: 0,
    Outcome.CHANGES: 1,
    Outcome.UNFINISHED: 2,
    Outcome.WIDENS: 3,
}


class ReplayFormat(StrEnum):
    """How it is printed."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


_SUFFIXES: Final = {
    ".json": ReplayFormat.JSON,
    ".md": ReplayFormat.MARKDOWN,
    ".html": ReplayFormat.HTML,
}


@dataclass(frozen=True, slots=True)
class _Asked:
    policies: Path
    against: Path | None
    file: Path | None
    stretch: Stretch
    save: Path | None
    harmless: frozenset[str]


def replay(
    policies: Annotated[
        Path,
        typer.Option(help="The candidate: a policy folder, or a built bundle.", show_default=False),
    ],
    against: Annotated[
        Path | None,
        typer.Option(
            help="Compare with this policy; absent: with what was decided then.",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="From then on: `24h` ago, or `2026-11-24T12:00:00Z`; absent: `7d`, and all of a"
            " file.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Before then.", show_default=False)] = None,
    client: Annotated[
        str | None, typer.Option(help="The client that asked.", show_default=False)
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Name of the target.", show_default=False)
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Rows at most: the newest, of a file the first; absent: all.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        float,
        typer.Option(
            min=0.001, max=1, help="Which part of the rows: `0.1` is a tenth, always the same one."
        ),
    ] = 1.0,
    file: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Replay a file, not the database: what `--save` took along,"
            " `broker audit query --format jsonl --open`, or a native export beside the database"
            " of its keys.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        ReplayFormat, typer.Option("--format", help="How to print it.")
    ] = ReplayFormat.TABLE,
    reports: Annotated[
        list[Path] | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write it to a file as well, by its name `.html`, `.md` or `.json`; repeatable.",
            show_default=False,
        ),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Take decisions along, for `--from` elsewhere: persons and addresses are replaced,"
            " and only what is decided the same without them is in it.",
            show_default=False,
        ),
    ] = None,
    harmless: Annotated[
        list[str] | None,
        typer.Option(
            "--keep-claim",
            metavar="NAME",
            help="With `--save`: a claim that names no person and keeps its value, as rules look at"
            " it; repeatable.",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    database_url: DatabaseUrl = None,
    key_file: KeyFile = None,
) -> None:
    """Ask a policy what was asked on record, and say what would change.

    Every decision is made again from its recorded input, by the code that makes it in production,
    and nothing is written but that somebody looked. Told is who would be refused, who would get
    **more** (red, exit code 3), less, longer or shorter, by client and target, with how many calls
    a day and the ids of some. What cannot be replayed is counted by its cause.
    """
    with told():
        asked = _Asked(
            policies,
            against,
            file,
            Stretch(
                since=parse_moment("--since", since or (None if file else "7d")),
                until=parse_moment("--until", until),
                client=client,
                target=target,
                limit=limit,
                sample=sample,
            ),
            save,
            frozenset(harmless or ()),
        )
        writers = {path: _writer(path) for path in reports or ()}
        with _database(asked, config, database_url) as url:
            vault = find_vault(config, database_url, key_file) if url else None
            with _saved(asked) as keep:
                report = asyncio.run(_replay(asked, url, vault, keep))
        for path, render in writers.items():
            _write(path, render(report))
    _print(report, output)
    raise typer.Exit(_CODES[report.outcome])


@contextmanager
def _database(asked: _Asked, config: Path | None, url: str | None) -> Iterator[str | None]:
    """Yield where to read from; None where a file says all of it."""
    if asked.file is not None and config is None and url is None:
        yield None
        return
    with find_database(config, url) as found:
        yield found


@contextmanager
def _saved(asked: _Asked) -> Iterator[Keep | None]:
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


async def _replay(asked: _Asked, url: str | None, vault: Vault | None, keep: Keep | None) -> Report:
    console = build_console(stderr=True)
    async with AsyncExitStack() as stack:
        progress = stack.enter_context(ReplayProgress(console))
        progress.say("compiling")
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


async def _open(asked: _Asked, url: str | None, vault: Vault | None, stack: AsyncExitStack) -> Lots:
    stretch = asked.stretch
    if asked.file is not None and url is None:
        return read_export(asked.file, None, stretch)
    database = await stack.enter_async_context(open_reader(url or ""))
    reader = RecordReader(database, vault)
    wanted = Filter(
        since=stretch.since, until=stretch.until, client=stretch.client, target=stretch.target
    )
    details = describe_filter(wanted) | {"most": stretch.limit, "names": False}
    await record_look(database, "audit.replay", details, vault)
    if asked.file is not None:
        return read_export(asked.file, reader, stretch)
    return read_trail(database, reader, stretch)


def _writer(path: Path) -> Callable[[Report], str]:
    try:
        return _RENDERERS[_SUFFIXES[path.suffix]]
    except KeyError:
        raise Unclear(
            f"--report: {path.name} should end in one of {', '.join(_SUFFIXES)}"
        ) from None


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise Unclear(f"--report: {path} cannot be written ({error.strerror})") from None


def _print(report: Report, output: ReplayFormat) -> None:
    if output is ReplayFormat.TABLE:
        print_report(report, build_console())
    else:
        print(_RENDERERS[output](report))


def _render_json(report: Report) -> str:
    return orjson.dumps(report.render(), option=orjson.OPT_INDENT_2).decode()


_RENDERERS: Final[dict[ReplayFormat, Callable[[Report], str]]] = {
    ReplayFormat.JSON: _render_json,
    ReplayFormat.MARKDOWN: render_markdown,
    ReplayFormat.HTML: render_page,
}
