"""What became of scenarios, as lines that a reviewer can follow."""

from itertools import groupby
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from broker.cli.console import printable
from broker.workbench.scenarios.ask import Outcome
from broker.workbench.scenarios.reach import Reach
from broker.workbench.scenarios.suite import ScenarioTests

_MOST: Final = 20  # grants that are named one by one


def print_scenarios(tests: ScenarioTests, console: Console) -> None:
    """Print a line for each file, what came out otherwise under it, and what nobody asked."""
    for path, found in groupby(tests.outcomes, key=lambda outcome: outcome.path):
        members = list(found)
        failed = [each for each in members if not each.passed]
        sign = ("✗ ", "bad") if failed else ("✓ ", "good")
        count = f"{len(failed)} of {len(members)} fail" if failed else f"{len(members)}"
        title = printable(members[0].title)
        line = Text.assemble(sign, title, (f"  {count}", "quiet"), (f"  {path}", "link"))
        console.print(line, soft_wrap=True)
        for outcome in failed:
            _print_failure(outcome, console)
    if tests.reach is not None:
        _print_reach(tests.reach, console)


def _print_failure(outcome: Outcome, console: Console) -> None:
    step = outcome.steps[-1]
    hop = f"  exchange {len(outcome.steps)}" if len(outcome.scenario.steps) > 1 else ""
    lines = [
        Text.assemble(
            (printable(outcome.scenario.name), "heading"),
            (hop, "quiet"),
            (f"  {outcome.path}:{step.line}", "link"),
        )
    ]
    if outcome.scenario.name != step.sentence:
        lines.append(Text(printable(step.sentence)))
    for each in step.differences:
        lines.append(Text.assemble(("expected  ", "quiet"), (printable(each.expected), "good")))
        lines.append(Text.assemble(("got       ", "quiet"), (printable(each.got), "bad")))
    lines += [Text.assemble(("perhaps   ", "quiet"), printable(hint)) for hint in step.hints]
    first, *rest = lines
    console.print()
    console.print(Text("    ").append_text(first), soft_wrap=True)
    for line in rest:
        console.print(Padding(line, (0, 0, 0, 6)))


def _print_reach(reach: Reach, console: Console) -> None:
    for each in reach.untouched[:_MOST]:
        cell = f"{each.client} at {each.target}"
        what = f"is granted {', '.join(each.scopes)} of {cell}" if each.scopes else f"asks {cell}"
        console.print(Text.assemble(("! ", "warning"), printable(f"no scenario {what}")))
    if len(reach.untouched) > _MOST:
        console.print(Text(f"! … and {len(reach.untouched) - _MOST} more", "warning"))
