"""``broker policy test``: the tests of a policy folder, and what they reach."""

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from broker.cli.console import build_console
from broker.cli.policy.folder import FOLDER, Folder
from broker.cli.policy.suite import Failure, PolicyTests, run_policy_tests
from broker.policy.bundle import find_opa

TEST_HELP: Final = (
    "Exit codes: **0** all pass, **1** one fails or too little is covered,"
    " **2** they cannot be run.\n\nExample: `broker policy test policies --threshold 100`"
)
_FAILED: Final = 1


def run_tests(
    folder: Folder = FOLDER,
    threshold: Annotated[
        float, typer.Option(min=0, max=100, help="Least coverage that passes, in per cent.")
    ] = 0.0,
) -> None:
    """Run the tests of a policy folder (`*_test.rego`), and say which lines no test reaches."""
    result = run_policy_tests(find_opa(), folder)
    _print_tests(result, folder, threshold)
    if result.failures or result.coverage < threshold or not result.passed:
        raise typer.Exit(_FAILED)


def _print_tests(result: PolicyTests, folder: Path, threshold: float) -> None:
    console = build_console()
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
    style = "bad" if result.failures or not result.passed else "good"
    summary = Text(f"{result.passed} passed, {len(result.failures)} failed", style=style)
    if not result.failures:
        enough = "good" if result.coverage >= threshold else "bad"
        summary.append(f", {result.coverage:g} % covered", style=enough)
    console.print(summary)


def _place(failure: Failure, folder: Path) -> str:
    return str(folder / failure.place)
