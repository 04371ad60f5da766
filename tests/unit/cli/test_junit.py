"""JUnit XML is XML whatever names say, and has a case for every test."""

from pathlib import Path
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from broker.cli.policy.junit import render_junit
from broker.errors import Reason
from broker.workbench.question import SupposedToken
from broker.workbench.scenarios.answer import Difference, refused_by
from broker.workbench.scenarios.ask import Asked, Outcome
from broker.workbench.scenarios.scenario import Request, Scenario
from broker.workbench.suite import Failure, PolicyTests
from tests.builders import NOW


def outcome(path: str, name: str, *differences: Difference) -> Outcome:
    """What became of a scenario that is refused."""
    answer = refused_by(Reason.POLICY_DENIED)
    asked = Asked(Request("checkout", NOW), answer, differences, name, 7, (name,))
    scenario = Scenario(name, SupposedToken("idp", "alice"), (), 3)
    return Outcome(Path(path), name, scenario, (asked,))


@given(st.text(), st.text())
def test_any_text_gives_xml(name: str, got: str) -> None:
    """Control characters and halves of surrogates are no part of it."""
    rego = PolicyTests(0, (Failure(name, got, (got,)),))
    text = render_junit(rego, [outcome("a", name, Difference(name, got))])

    assert 2 == len(list(ET.fromstring(text).iter("failure")))


def test_every_test_is_a_case() -> None:
    """By file and line where it is known, and a failure says what differs."""
    rego = PolicyTests(1, (Failure("a.test_b", "a_test.rego:3", ("in one",)),), names=("a.test_a",))
    different = outcome("one.scenarios.yaml", "It is granted", Difference("granted a", "refused"))
    root = ET.fromstring(render_junit(rego, [different, outcome("two.scenarios.yaml", "No")]))

    assert [
        ("rego", "2", "1"),
        ("one.scenarios.yaml", "1", "1"),
        ("two.scenarios.yaml", "1", "0"),
    ] == [(suite.get("name"), suite.get("tests"), suite.get("failures")) for suite in root]
    assert [2, 1, 1] == [len(suite.findall("testcase")) for suite in root]
    (failure,) = root[1].iter("failure")
    assert "refused" == failure.get("message")
    assert (
        "one.scenarios.yaml:7\nIt is granted\nexpected  granted a\ngot       refused\nIt is granted"
        == (failure.text)
    )
