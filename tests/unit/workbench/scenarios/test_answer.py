"""A difference is said, in words, and only where there is one."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.domain import Derived, Principal
from broker.errors import Reason
from broker.oauth import Mode
from broker.workbench.question import SupposedToken
from broker.workbench.scenarios.answer import Answer, compare
from broker.workbench.scenarios.ask import Asked, Outcome
from broker.workbench.scenarios.reach import Untouched, measure_reach
from broker.workbench.scenarios.scenario import Expectation, Request, Scenario
from broker.workbench.verdict import Fault, Verdict
from tests.builders import NOW
from tests.unit.workbench.scenarios.writing import read

CHECKOUT = Principal("https://broker.example", "checkout")
ROBOT = Principal("https://idp.example", "robot")
PERMITTED: dict[str, Any] = {
    "allowed": True,
    "targets": ("inventory",),
    "scopes": ("inventory.read", "stock.read"),
    "derived": (Derived("stock.read", "orders.write"),),
    "lifetime": 120,
    "mode": Mode.DELEGATION,
    "max_depth": 3,
    "claims": ("acr",),
}
EXPECTED: dict[str, Any] = {
    "granted": {"inventory.read": None, "stock.read": "orders.write"},
    "narrowed": frozenset({"inventory.write"}),
    "lifetime": timedelta(minutes=2),
    "lifetime_at_most": timedelta(minutes=2),
    "max_depth": 3,
    "mode": Mode.DELEGATION,
    "chain": (CHECKOUT,),
    "claims": frozenset({"acr"}),
    "obligations": frozenset(),
    "reuse": timedelta(),
}
ASKED = ("inventory.read", "inventory.write", "stock.read")
REFUSED = {"granted": {}, "refused": Reason.POLICY_DENIED}
NO = Verdict(reasons=(Reason.POLICY_DENIED,))


def differences(tmp_path: Path, verdict: Verdict, expected: dict[str, Any]) -> list[tuple]:
    settings = read(tmp_path, "rows: [{asks: a, then: granted}]\n").settings
    found = compare(Answer(verdict, (CHECKOUT,)), Expectation(**expected), ASKED, settings)
    return [(each.expected, each.got) for each in found]


def test_what_is_as_it_must_be_is_no_difference(tmp_path: Path) -> None:
    """A permit with every member as expected, and a refusal for the reason."""
    assert [] == differences(tmp_path, Verdict(**PERMITTED), EXPECTED)
    assert [] == differences(tmp_path, NO, REFUSED)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"granted": {"stock.read": "orders.write"}},
            (
                "granted stock.read from orders.write",
                "granted inventory.read, stock.read from orders.write",
            ),
        ),
        (
            {"granted": {"inventory.read": None, "stock.read": None}},
            (
                "granted inventory.read, stock.read",
                "granted inventory.read, stock.read from orders.write",
            ),
        ),
        ({"narrowed": frozenset()}, ("narrowed nothing", "narrowed inventory.write")),
        ({"lifetime": timedelta(minutes=1)}, ("lives 1m", "lives 2m")),
        ({"lifetime_at_most": timedelta(seconds=119)}, ("lives 119s at most", "lives 2m")),
        ({"max_depth": 2}, ("2 exchanges at most", "3 exchanges at most")),
        ({"mode": Mode.IMPERSONATION}, ("impersonation", "delegation")),
        ({"chain": (ROBOT, CHECKOUT)}, ("chain idp:robot, checkout", "chain checkout")),
        ({"purpose": "support"}, ("purpose support", "no purpose")),
        ({"claims": frozenset()}, ("claims nothing", "claims acr")),
        (
            {"reuse": timedelta(seconds=10)},
            ("given out again for 10s", "given out again for 0s"),
        ),
        ({"obligations": frozenset({"alert"})}, ("obligations alert", "obligations nothing")),
        (
            REFUSED,
            (
                "refused because policy.denied",
                "granted inventory.read, stock.read from orders.write",
            ),
        ),
    ],
)
def test_each_member_is_compared(
    tmp_path: Path, changed: dict[str, Any], said: tuple[str, str]
) -> None:
    """One that is otherwise is one difference."""
    expected = changed if "refused" in changed else EXPECTED | changed

    assert [said] == differences(tmp_path, Verdict(**PERMITTED), expected)


@pytest.mark.parametrize(
    ("verdict", "got"),
    [
        (NO, "refused because policy.denied"),
        (
            Verdict(reasons=(Reason.POLICY_SCOPE_UNKNOWN, Reason.POLICY_DENIED)),
            "refused because policy.scope_unknown (and policy.denied)",
        ),
        (
            Verdict(reasons=(Reason.POLICY_FLOOR_VIOLATION,), fault=Fault.FLOOR, detail="lifetime"),
            "refused because policy.floor_violation: the decision breaks lifetime",
        ),
        (Verdict(fault=Fault.FAILED, detail="too late"), "the policy failed: too late"),
    ],
)
def test_a_refusal_where_something_was_to_be_granted(
    tmp_path: Path, verdict: Verdict, got: str
) -> None:
    """Its reasons are said, and what is wrong with the policy."""
    said = differences(tmp_path, verdict, {"granted": {"a": None}})

    assert [("granted a", got)] == said


def test_a_policy_that_fails_refuses_for_no_reason(tmp_path: Path) -> None:
    """So no scenario that expects a refusal passes by it."""
    assert differences(tmp_path, Verdict(fault=Fault.FAILED, detail="too late"), REFUSED)


def _outcome(client: str, target: str, *granted: str) -> Outcome:
    request = Request(client=client, at=NOW, audiences=(target,))
    verdict = Verdict(allowed=bool(granted), targets=(target,), scopes=granted)
    scenario = Scenario("x", SupposedToken("idp", "alice"), (), 1)
    return Outcome(Path("x"), "x", scenario, (Asked(request, Answer(verdict), (), "", 1),))


def test_grants_that_nobody_asks_for_are_named() -> None:
    """A cell by any question, a scope by a grant of it."""
    data = b"""{"broker": {"grants": {
        "a": {"x": {"scopes": ["r", "w"], "derives": {"s": ["r"]}}, "y": {"scopes": ["r"]}},
        "b": {"x": {"scopes": ["r"]}}}}}"""
    outcomes = [_outcome("a", "x", "r"), _outcome("b", "x"), _outcome("c", "x", "r")]

    reach = measure_reach(data, outcomes)

    assert (3, 2) == (reach.cells, reach.touched)
    assert (
        Untouched("a", "x", ("s", "w")),
        Untouched("a", "y", ()),
        Untouched("b", "x", ("r",)),
    ) == reach.untouched
