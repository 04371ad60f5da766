"""``broker policy test``: the tests of a policy folder, its scenarios, and what both reach."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console
from rich.text import Text

from broker.cli.console import build_console, printable
from broker.cli.policy.folder import FOLDER, Folder
from broker.cli.policy.junit import render_junit
from broker.cli.policy.scenario_table import print_scenarios
from broker.policy.bundle import build_bundle, find_opa, load_bundle
from broker.workbench.scenarios.document import ScenarioFileError
from broker.workbench.scenarios.read import find_scenario_files, read_scenarios
from broker.workbench.scenarios.suite import ScenarioTests, ask_all
from broker.workbench.suite import Failure, PolicyTests, run_policy_tests

TEST_HELP: Final = (
    "Exit codes: **0** all pass, **1** one fails, too little is covered, or nothing was tested,"
    " **2** they cannot be run.\n\nExamples: `broker policy test policies --threshold 100`,"
    " `broker policy test policies --only scenarios --filter elevation`"
)
_FAILED: Final = 1
_UNUSABLE: Final = 2


class Part(StrEnum):
    """What is tested."""

    ALL = "all"
    REGO = "rego"
    SCENARIOS = "scenarios"


class TestFormat(StrEnum):
    """How results are printed: for people, for programs, or for a CI service."""

    TABLE = "table"
    JSON = "json"
    JUNIT = "junit"


def run_tests(
    folder: Folder = FOLDER,
    scenarios: Annotated[
        list[Path] | None,
        typer.Option(
            help="Scenario files, or folders of them, beside those in the policy folder."
            " May be repeated.",
            show_default=False,
        ),
    ] = None,
    only: Annotated[Part, typer.Option(help="Test only this part.")] = Part.ALL,
    filter: Annotated[  # noqa: A002 — the option's name
        str,
        typer.Option(
            help="Only tests and scenarios with this text in their name, heading or file;"
            " what they reach is not measured then.",
            show_default=False,
        ),
    ] = "",
    threshold: Annotated[
        float,
        typer.Option(min=0, max=100, help="Least coverage of the Rego that passes, in per cent."),
    ] = 0.0,
    every_grant: Annotated[
        bool,
        typer.Option(
            "--every-grant", help="Fail if there is a grant, or a scope in one, without a scenario."
        ),
    ] = False,
    output: Annotated[TestFormat, typer.Option("--format", help="How to print it.")] = (
        TestFormat.TABLE
    ),
) -> None:
    """Run the tests and the scenarios of a policy folder, and say what none of them reaches.

    Tests are Rego (`*_test.rego`). Scenarios (`*.scenarios.yaml`) say in words who asks for what
    and what must come out; they are asked of the compiled policy, with the checks of the broker
    before it and its floor after it. A built bundle has no tests, and is asked scenarios that are
    elsewhere: `--only scenarios --scenarios DIR`. How to write one: docs/how-to/test-a-policy.md.
    """
    asked, rego = ScenarioTests(), None
    waiting = build_console(stderr=True)
    if only is not Part.REGO:
        with waiting.status("asking scenarios …"):
            asked = _ask_scenarios(folder, scenarios or [], filter)
    if only is not Part.SCENARIOS:
        with waiting.status("running the tests in Rego …"):
            rego = run_policy_tests(find_opa(), folder, filter)
    if output is TestFormat.JSON:
        document = {"rego": None if rego is None else _rego(rego), **asked.render()}
        print(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
    elif output is TestFormat.JUNIT:
        print(render_junit(rego, asked.outcomes))
    else:
        _print(rego, asked, folder, None if filter else threshold)
    if not _is_enough(rego, asked, threshold, measured=not filter, every_grant=every_grant):
        raise typer.Exit(_FAILED)


def _ask_scenarios(folder: Path, further: list[Path], text: str) -> ScenarioTests:
    try:
        places = [folder] if folder.is_dir() else []
        files = [read_scenarios(path) for path in find_scenario_files([*places, *further])]
    except ScenarioFileError as error:
        for line in str(error).splitlines():
            # In one piece, however long: an editor finds file and line in it.
            build_console(stderr=True).print(
                Text.assemble(("✗ ", "bad"), printable(line)), soft_wrap=True
            )
        raise typer.Exit(_UNUSABLE) from None
    if not files:
        return ScenarioTests()
    bundle = build_bundle(folder) if folder.is_dir() else load_bundle(folder)
    return ask_all(files, bundle, text)


def _is_enough(
    rego: PolicyTests | None,
    asked: ScenarioTests,
    threshold: float,
    *,
    measured: bool,
    every_grant: bool,
) -> bool:
    passed = len(asked.outcomes) + (0 if rego is None else rego.passed)
    if asked.failed or not passed or (rego is not None and rego.failures):
        return False
    if not measured:
        return True
    if every_grant and (asked.reach is None or asked.reach.untouched):
        return False
    return rego is None or rego.coverage >= threshold


def _rego(result: PolicyTests) -> dict[str, Any]:
    return {
        "passed": result.passed,
        "failed": len(result.failures),
        "coverage": result.coverage,
        "uncovered": list(result.uncovered),
        "failures": [
            {"name": each.name, "place": each.place, "lines": list(each.lines)}
            for each in result.failures
        ],
    }


def _print(
    rego: PolicyTests | None, asked: ScenarioTests, folder: Path, threshold: float | None
) -> None:
    console = build_console()
    if asked.outcomes:
        print_scenarios(asked, console)
        console.print()
    if rego is not None:
        _print_rego(rego, folder, console)
    console.print(_summary(rego, asked, threshold))


def _print_rego(result: PolicyTests, folder: Path, console: Console) -> None:
    for failure in result.failures:
        console.print(
            Text.assemble(("✗ ", "bad"), failure.name, ("  " + _place(failure, folder), "link"))
        )
        for line in failure.lines:
            console.print(Text(f"    {line}"))
    if result.failures:
        console.print()
    for place in result.uncovered:
        console.print(
            Text.assemble(("! ", "warning"), "no test reaches ", (f"{folder / place}", "link"))
        )
    if result.uncovered:
        console.print()


def _summary(rego: PolicyTests | None, asked: ScenarioTests, threshold: float | None) -> Text:
    parts: list[Text] = []
    if asked.outcomes:
        failed = len(asked.failed)
        text = f"scenarios: {len(asked.outcomes) - failed} passed, {failed} failed"
        parts.append(Text(text, style="bad" if failed else "good"))
        if asked.reach is not None:
            text = f", {asked.reach.touched} of {asked.reach.cells} grants asked for"
            parts[-1].append(text, style="warning" if asked.reach.untouched else "good")
    if rego is not None and (rego.passed or rego.failures or not asked.outcomes):
        text = f"{rego.passed} passed, {len(rego.failures)} failed"
        style = "bad" if rego.failures or not rego.passed else "good"
        parts.append(Text(f"{'rego: ' if asked.outcomes else ''}{text}", style=style))
        if not rego.failures and threshold is not None:
            enough = "good" if rego.coverage >= threshold else "bad"
            parts[-1].append(f", {rego.coverage:g} % covered", style=enough)
    return Text("\n").join(parts or [Text("nothing was tested", style="bad")])


def _place(failure: Failure, folder: Path) -> str:
    return str(folder / failure.place)
