"""``broker policy reach``: what a client can obtain in a few exchanges, and by which path."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, cast

import orjson
import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text
from rich.tree import Tree

from broker.cli.audit.source import Unclear, parse_moment, told
from broker.cli.console import build_console, printable
from broker.cli.options import Config
from broker.cli.policy.explain_asked import parse_claims
from broker.cli.policy.folder import find_policy
from broker.cli.policy.matrix_progress import MatrixProgress
from broker.settings import load_settings
from broker.settings.values import parse_duration
from broker.workbench.candidate import open_candidate
from broker.workbench.matrix.circumstances import NO_SOURCE, Circumstance
from broker.workbench.matrix.matrix import find_area
from broker.workbench.matrix.probe import MOST, SUBJECT, Budget, suppose_subject
from broker.workbench.matrix.vocabulary import gather
from broker.workbench.question import USUAL_LIFE
from broker.workbench.reach.dot import render_dot
from broker.workbench.reach.picture import render_file
from broker.workbench.reach.walk import HOPS, Hop, Reach, Walker, prune
from broker.workbench.reach.words import say_bounds, say_path, say_scopes, say_start
from broker.workbench.scenarios.setting import PARTIES
from broker.workbench.suppose import find_client

REACH_HELP: Final = (
    "Exit codes: **0** done, **2** it could not be done, or not to the end.\n\n"
    "Example: `broker policy reach checkout --subject-scope orders.write --config broker.yaml`\n\n"
    "Example: `broker policy reach checkout --target ledger --format svg --config broker.yaml"
    " > reach.svg`"
)
_UNFINISHED: Final = 2
_SHOWN: Final = 200  # hops of a tree
_FROM: Final = "The token it begins with"


class ReachFormat(StrEnum):
    """How it is printed."""

    TREE = "tree"
    JSON = "json"
    DOT = "dot"
    SVG = "svg"


def reach(
    client: Annotated[str, typer.Argument(help="The client that begins.", show_default=False)],
    policies: Annotated[
        Path | None,
        typer.Option(
            help="The policy folder, or a built bundle; absent: what the configuration names,"
            " or `policies`.",
            show_default=False,
        ),
    ] = None,
    hops: Annotated[int, typer.Option(min=1, max=8, help="Exchanges one after another.")] = HOPS,
    target: Annotated[
        str | None,
        typer.Option(help="Only the paths that lead to this target.", show_default=False),
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option(
            help="Whose token; absent: the first of the configuration.", rich_help_panel=_FROM
        ),
    ] = None,
    subject: Annotated[str, typer.Option(help="Of whom.", rich_help_panel=_FROM)] = SUBJECT,
    subject_scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What it holds; repeatable. Absent: everything there is.", rich_help_panel=_FROM
        ),
    ] = None,
    life: Annotated[
        str | None,
        typer.Option(help="What is left of it, like `5m`; an hour.", rich_help_panel=_FROM),
    ] = None,
    claim: Annotated[
        list[str] | None,
        typer.Option(help="A claim of it, like `acr=gold`; repeatable.", rich_help_panel=_FROM),
    ] = None,
    at: Annotated[str | None, typer.Option(help="When, like `2026-11-24T12:00:00Z`; now.")] = None,
    source: Annotated[str, typer.Option(help="From which address.")] = NO_SOURCE,
    purpose: Annotated[
        list[str] | None,
        typer.Option(help="A purpose to try where the policy names none; repeatable."),
    ] = None,
    output: Annotated[
        ReachFormat, typer.Option("--format", help="How to print it.")
    ] = ReachFormat.TREE,
    config: Config = None,
) -> None:
    """Tell what a client can obtain in a few exchanges, and by which path.

    Each token that is obtained is presented by whoever may: the clients whose target it is for.
    The policy is asked at every hop, with the scopes, the chain, the depth and the life that the
    token would have by then. The last lines name each scope with the shortest path to it.
    """
    with told():
        settings = load_settings(config, only=PARTIES)
        find_client(client, settings)
        area = find_area(settings, issuers=(issuer,) if issuer else ())
        if not area.issuers or not area.targets:
            raise Unclear("--config: it has no issuers, or no targets")
        find_area(settings, targets=(target,) if target else ())
        moment = parse_moment("--at", at) or datetime.now(UTC).replace(microsecond=0)
        circumstance = Circumstance(moment, source, parse_claims(claim or ()))
        holds = frozenset(one for each in subject_scope or () for one in each.split())
        with ExitStack() as stack:
            progress = stack.enter_context(MatrixProgress(build_console(stderr=True)))
            progress.say("compiling …")
            found = find_policy(policies, config)
            candidate = stack.enter_context(
                open_candidate(found, ceiling=settings.max_delegation_depth)
            )
            names = gather(candidate.bundle, settings, purposes=purpose or ())
            token = suppose_subject(area.issuers[0], circumstance, settings, subject)
            token = replace(token, scopes=holds or names.scopes, life=_life(life))
            progress.say("asking hop by hop …")
            walker = Walker(candidate, settings, circumstance, names, Budget(MOST))
            reached = walker.walk(client, token, hops)
    if target is not None:
        reached = replace(reached, hops=tuple(prune(reached.hops, target)))
    _print(reached, output, everything=not holds)
    raise typer.Exit(_UNFINISHED if reached.cut else 0)


def _life(written: str | None) -> timedelta:
    if written is None:
        return USUAL_LIFE
    try:
        return cast(timedelta, parse_duration(written))
    except ValueError as error:
        raise Unclear(f"--life: {error}") from None


def _print(reached: Reach, output: ReachFormat, *, everything: bool) -> None:
    match output:
        case ReachFormat.TREE:
            _print_tree(reached, build_console(), everything=everything)
        case ReachFormat.JSON:
            print(orjson.dumps(reached.render(), option=orjson.OPT_INDENT_2).decode())
        case ReachFormat.DOT:
            print(render_dot(reached), end="")
        case ReachFormat.SVG:
            print(render_file(reached), end="")


def _print_tree(reached: Reach, console: Console, *, everything: bool) -> None:
    holds = "whatever there is to hold" if everything else ", ".join(reached.holds) or "no scope"
    root = Tree(
        Text.assemble((printable(say_start(reached)), "heading"), (f"  holding {holds}", "quiet")),
        guide_style="quiet",
    )
    left = [_SHOWN]
    _grow(root, list(reached.hops), left)
    console.print(root)
    console.print()
    if left[0] < 0:
        console.print(Text(f"… and {-left[0]:,} more: --format json has all of them", "quiet"))
    if reached.refused is not None:
        console.print(Text(f"✗ refused before the policy is asked: {reached.refused}", "bad"))
    elif not reached.hops:
        console.print(Text("Nothing can be obtained."))
    for (target, scope), path in reached.found.items():
        line = Text.assemble((printable(scope), "good"), f" at {printable(target)}")
        line.append(f"  {printable(say_path(path))}", "quiet")
        console.print(Padding(line, (0, 0, 0, 0)))
    if reached.cut:
        console.print(Text(f"✗ cut {reached.cut}: there may be more", "bad"))


def _grow(above: Tree, hops: list[Hop], left: list[int]) -> None:
    for hop in hops:
        left[0] -= 1
        if left[0] >= 0:
            text = Text.assemble(
                (printable(hop.client), "client"),
                f" → {printable(hop.target)}  ",
                (printable(", ".join(say_scopes(hop))), "good"),
                (f"  {printable(say_bounds(hop))}", "quiet"),
            )
            _grow(above.add(text), hop.hops, left)
