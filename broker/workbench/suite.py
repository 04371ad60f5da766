"""Running a policy's own tests, and what they said."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from broker.errors import ConfigurationError
from broker.policy.compiler import explain, run_opa

_DEADLINE: Final = 600.0  # seconds for all of them


@dataclass(frozen=True, slots=True)
class Failure:
    """A test that did not pass."""

    name: str
    place: str  # file:line, from the policy folder
    lines: tuple[str, ...]  # why, as far as is known


@dataclass(frozen=True, slots=True)
class PolicyTests:
    """What became of the tests."""

    passed: int
    failures: tuple[Failure, ...]
    coverage: float = 0.0  # per cent; nothing is measured where one fails
    uncovered: tuple[str, ...] = ()  # file:from-to
    names: tuple[str, ...] = ()  # of those that passed


def run_policy_tests(
    opa: Path,
    folder: Path,
    text: str = "",
    *,
    measure: bool = True,
    deadline: float = _DEADLINE,
) -> PolicyTests:
    """Return how the tests of a folder went; of those with ``text`` in their names, if it is given.

    Of some of them nothing says what all would reach, so then no coverage is measured; nor if
    ``measure`` is false, which is several times as fast.

    Raises ``ConfigurationError`` if they could not be run, as when the policy does not parse.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"policy.path: {folder} is no folder")
    some = ("--run", f"(?i){re.escape(text)}") if text else ()
    results = _run(opa, folder, deadline, *some, "--format", "json")
    if not isinstance(results, list):
        results = []
    counted = [each for each in results if not each.get("skip")]
    failures = tuple(_read_failure(each) for each in counted if each.keys() & {"fail", "error"})
    names = tuple(_name(each) for each in counted if not each.keys() & {"fail", "error"})
    passed = len(names)
    if failures or not passed or some or not measure:
        return PolicyTests(passed, failures, names=names)
    report = _run(opa, folder, deadline, "--coverage", "--format", "json")
    uncovered = tuple(_uncovered(report.get("files", {})))
    return PolicyTests(passed, (), float(report.get("coverage", 0)), uncovered, names)


def _run(opa: Path, folder: Path, deadline: float, *arguments: str) -> Any:  # noqa: ANN401 — JSON of opa's
    # -b: without it the schemas would be read as policy data. Coverage makes tests much slower.
    ended = run_opa(
        opa,
        ["test", *arguments, "--timeout", "120s", "-b", "."],
        folder=folder,
        deadline=deadline,
    )
    try:
        return json.loads(ended.stdout if ended.stdout.strip() or ended.stderr.strip() else "[]")
    except ValueError:
        text = explain(ended.stderr or ended.stdout, folder)
        raise ConfigurationError(f"policy.path: the tests cannot be run\n{text}") from None


def _read_failure(result: Mapping[str, Any]) -> Failure:
    location = result.get("location", {})
    lines = [str(result["error"].get("message", "error"))] if "error" in result else []
    lines += [f"in {name}" for name in _failed_cases(result.get("sub_results") or {})]
    lines += result.get("output", "").splitlines() if isinstance(result.get("output"), str) else []
    place = f"{location.get('file', '?')}:{location.get('row', 0)}"
    return Failure(_name(result), place, tuple(lines))


def _name(result: Mapping[str, Any]) -> str:
    package = str(result.get("package", "")).removeprefix("data.")
    return f"{package}.{result.get('name', '?')}"


def _failed_cases(cases: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the cases of a table test that failed, inner ones after outer ones."""
    for name, case in cases.items():
        inner = case.get("sub_results") or {}
        if case.get("fail") and not inner:
            yield name
        yield from (f"{name}/{each}" for each in _failed_cases(inner))


def _uncovered(files: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that were not reached, those that follow one another as one span."""
    for name, file in sorted(files.items()):
        first = last = 0
        for span in sorted(file.get("not_covered") or (), key=lambda each: each["start"]["row"]):
            if not first or span["start"]["row"] > last + 1:
                if first:
                    yield _render_span(name, first, last)
                first = span["start"]["row"]
            last = max(last, span["end"]["row"])
        if first:
            yield _render_span(name, first, last)


def _render_span(name: str, first: int, last: int) -> str:
    return f"{name}:{first}" + (f"-{last}" if last > first else "")
