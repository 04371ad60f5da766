"""``broker policy matrix``: who may obtain what, found by asking the policy."""

from contextlib import ExitStack
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer

from broker.cli.audit.source import Unclear, parse_moment, told
from broker.cli.console import build_console
from broker.cli.options import Config
from broker.cli.policy.explain_asked import parse_claims
from broker.cli.policy.folder import find_policy
from broker.cli.policy.matrix_progress import MatrixProgress
from broker.cli.policy.matrix_table import print_matrix
from broker.settings import load_settings
from broker.workbench.candidate import open_candidate
from broker.workbench.matrix.circumstances import combine
from broker.workbench.matrix.difference import MatrixDifference, compare_matrices
from broker.workbench.matrix.matrix import Asked, Matrix, find_area, survey
from broker.workbench.matrix.page import render_page
from broker.workbench.matrix.probe import MOST, SUBJECT, Budget
from broker.workbench.matrix.rows import render_csv
from broker.workbench.matrix.vocabulary import gather
from broker.workbench.replay.report import Outcome
from broker.workbench.scenarios.setting import PARTIES

MATRIX_HELP: Final = (
    "Exit codes: **0** done, and with `--against` nothing changes; **1** something changes and"
    " nothing widens; **2** it could not be done, or not to the end, or the policy is at fault;"
    " **3** somebody may get more than before.\n\n"
    "Example: `broker policy matrix --config broker.yaml`\n\n"
    "Example: `broker policy matrix candidate --against policies --config broker.yaml"
    " --format html > matrix.html`"
)
_CODES: Final = {
    Outcome.SAME: 0,
    Outcome.CHANGES: 1,
    Outcome.UNFINISHED: 2,
    Outcome.WIDENS: 3,
}
_NARROW: Final = "Part of it"
_WHEN: Final = "Circumstances"


class MatrixFormat(StrEnum):
    """How it is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


def matrix(
    policy: Annotated[
        Path | None,
        typer.Argument(
            help="The policy folder, or a built bundle; absent: what the configuration names,"
            " or `policies`.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Say what is another than by this policy.", show_default=False),
    ] = None,
    client: Annotated[
        list[str] | None,
        typer.Option(help="Only this client; repeatable.", rich_help_panel=_NARROW),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Only this target; repeatable.", rich_help_panel=_NARROW),
    ] = None,
    issuer: Annotated[
        list[str] | None,
        typer.Option(
            help="Only subjects of this issuer, by alias or URL; repeatable.",
            rich_help_panel=_NARROW,
        ),
    ] = None,
    subject_scope: Annotated[
        list[str] | None,
        typer.Option(
            help="All that the subject holds; repeatable. Absent: whatever is needed.",
            rich_help_panel=_NARROW,
        ),
    ] = None,
    subject: Annotated[
        str, typer.Option(help="Who the subject is, at each issuer.", rich_help_panel=_WHEN)
    ] = SUBJECT,
    at: Annotated[
        list[str] | None,
        typer.Option(
            help="When is asked, like `2026-11-24T12:00:00Z`; repeatable; now.",
            rich_help_panel=_WHEN,
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(help="From which address; repeatable.", rich_help_panel=_WHEN),
    ] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(
            help="A claim of the subject's token, like `acr=gold`. Another value of the same name"
            " is another circumstance.",
            rich_help_panel=_WHEN,
        ),
    ] = None,
    purpose: Annotated[
        list[str] | None,
        typer.Option(
            help="A purpose to try where the policy names none; repeatable.", rich_help_panel=_WHEN
        ),
    ] = None,
    evaluations: Annotated[
        int, typer.Option(min=1, help="How often each policy is asked at most.")
    ] = MOST,
    output: Annotated[
        MatrixFormat, typer.Option("--format", help="How to print it.")
    ] = MatrixFormat.TABLE,
    config: Config = None,
) -> None:
    """Compute who may obtain what: for each client and target the scopes, and how they come by.

    The policy is asked, not read: on behalf of subjects of each issuer who hold everything, one
    scope, or nothing. So it is told apart what has to be held, what follows from what, and what an
    identity is enough for; with lifetime, hops, mode and purposes of the token. Rules that look
    at the time, the address or claims are asked with those that you declare; where these
    disagree, the line says on which it depends.
    """
    with told():
        settings = load_settings(config, only=PARTIES)
        holds = [one for each in subject_scope or () for one in each.split()]
        area = find_area(settings, clients=client or (), targets=target or (), issuers=issuer or ())
        now = datetime.now(UTC).replace(microsecond=0)
        times = [parse_moment("--at", each) or now for each in at or ()] or [now]
        circumstances = combine(times, source or (), _alternatives(claim or ()))
        if not area.size:
            raise Unclear("--config: it has no clients, no targets or no issuers")
        console = build_console(stderr=True)
        with ExitStack() as stack:
            progress = stack.enter_context(MatrixProgress(console))
            progress.say("compiling …")
            ceiling = settings.max_delegation_depth
            after = stack.enter_context(
                open_candidate(find_policy(policy, config), ceiling=ceiling)
            )
            before = (
                None
                if against is None
                else stack.enter_context(open_candidate(against, ceiling=ceiling))
            )
            names = gather(after.bundle, settings, holds=holds, purposes=purpose or ())
            if before is not None:
                # Both are asked the same, or they could not be compared.
                names |= gather(before.bundle, settings, holds=holds, purposes=purpose or ())
            asked = Asked(area, circumstances, names, subject, tuple(dict.fromkeys(holds)))
            found = survey(after, settings, asked, Budget(evaluations), progress.show)
            difference = None
            if before is not None:
                old = survey(before, settings, asked, Budget(evaluations), progress.show)
                difference = compare_matrices(old, found)
    _print(found, difference, output)
    raise typer.Exit(_code(found, difference))


def _alternatives(written: list[str] | tuple[()]) -> dict[str, list[Any]]:
    claims: dict[str, list[Any]] = {}
    for one in written:
        for name, value in parse_claims([one]).items():
            claims.setdefault(name, []).append(value)
    return claims


def _code(found: Matrix, difference: MatrixDifference | None) -> int:
    if difference is not None and difference.outcome is not Outcome.SAME:
        return _CODES[difference.outcome]
    return _CODES[Outcome.UNFINISHED] if found.stopped or found.faulty else 0


def _print(found: Matrix, difference: MatrixDifference | None, output: MatrixFormat) -> None:
    match output:
        case MatrixFormat.TABLE:
            print_matrix(found, difference, build_console())
        case MatrixFormat.CSV:
            print(render_csv(found), end="")
        case MatrixFormat.HTML:
            print(render_page(found, difference))
        case MatrixFormat.JSON:
            document = found.render()
            if difference is not None:
                document["difference"] = difference.render()
            print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
