"""Results of tests as JUnit XML, the form that CI services read.

There is no standard of it. Written is what all of them take: ``testsuites``, ``testsuite``,
``testcase`` with ``failure``, as https://github.com/testmoapp/junitxml describes them.
"""

import re
from collections.abc import Iterable
from itertools import groupby
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from broker.workbench.scenarios.ask import Outcome
from broker.workbench.suite import PolicyTests

# What no XML 1.0 document may hold, not even escaped.
_NO_CHARACTER: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(rego: PolicyTests | None, outcomes: Iterable[Outcome]) -> str:
    """Return one suite for the Rego tests and one for each scenario file."""
    root = Element("testsuites")
    if rego is not None:
        suite = _suite(root, "rego", rego.passed + len(rego.failures), len(rego.failures))
        for failure in rego.failures:
            case = _case(suite, "rego", failure.name)
            _fail(case, "failed", "\n".join((failure.place, *failure.lines)))
        for name in rego.names:
            _case(suite, "rego", name)
    for path, found in groupby(outcomes, key=lambda outcome: outcome.path):
        members = list(found)
        suite = _suite(root, str(path), len(members), sum(not each.passed for each in members))
        for outcome in members:
            case = _case(suite, outcome.title, outcome.scenario.name)
            case.set("file", str(path))
            case.set("line", str(outcome.scenario.line))
            if not outcome.passed:
                step = outcome.steps[-1]
                lines = [f"{path}:{step.line}", step.sentence]
                for each in step.differences:
                    lines += [f"expected  {each.expected}", f"got       {each.got}"]
                _fail(case, step.differences[0].got, "\n".join((*lines, *step.hints)))
    return tostring(root, encoding="unicode", xml_declaration=True)


def _suite(root: Element, name: str, tests: int, failures: int) -> Element:
    counts = {"tests": str(tests), "failures": str(failures), "errors": "0"}
    return SubElement(root, "testsuite", {"name": _clean(name), **counts})


def _case(suite: Element, classname: str, name: str) -> Element:
    return SubElement(suite, "testcase", {"classname": _clean(classname), "name": _clean(name)})


def _fail(case: Element, message: str, text: str) -> None:
    SubElement(case, "failure", {"message": _clean(message)}).text = _clean(text)


def _clean(text: str) -> str:
    return _NO_CHARACTER.sub("\N{REPLACEMENT CHARACTER}", text)
