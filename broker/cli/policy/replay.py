"""``broker policy replay``: what another policy would have said to what was asked."""

from pathlib import Path
from typing import Annotated, Final

import typer

from broker.audit.decided import Stretch
from broker.cli.audit.source import Config, DatabaseUrl, KeyFile, parse_moment, told
from broker.cli.console import build_console
from broker.cli.policy.replay_reports import (
    RENDERERS,
    ReplayFormat,
    find_renderer,
    write_report,
)
from broker.cli.policy.replay_run import Asked, run_replay
from broker.cli.policy.replay_table import print_report
from broker.workbench.replay.report import Outcome

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
        asked = Asked(
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
        renderers = {path: find_renderer(path) for path in reports or ()}
        report = run_replay(asked, config=config, url=database_url, key_file=key_file)
        for path, render in renderers.items():
            write_report(path, render(report))
    if output is ReplayFormat.TABLE:
        print_report(report, build_console())
    else:
        print(RENDERERS[output](report))
    raise typer.Exit(_CODES[report.outcome])
