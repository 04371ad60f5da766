"""What the rules of the library are called with, and by whom."""

from pathlib import Path

import pytest

from broker.policy.review.calls import review_calls
from broker.policy.review.parameters import review_parameters
from tests.unit.policy.review.world import IDP, settings

SEEN = settings(issuers={"idp": {"policy_claims": ["acr", "tenant", "groups"]}})


def found(parameters, configured=SEEN):
    """What is said to be wrong, by its name."""
    flaws = review_parameters(parameters, configured, lambda _: "here")
    return [(flaw.subject.removeprefix("parameters "), flaw.fails) for flaw in flaws]


GOOD = {
    "partner": {"a": {"issuers": [IDP], "targets": ["front"], "scopes": ["front.read"]}},
    "tenant": {"a": {"claim": "tenant", "targets": {"front": ["x"]}, "shared": ["back"]}},
    "actors": {"a": {"issuers": [IDP, "https://broker.test"]}},
    "step_up": {"a": {"acr": ["gold"]}},
    "ticket": {"a": {"projects": ["CHG"]}},
    "break_glass": {"a": {"claim": "groups", "members": ["x"], "ticket": "a", "step_up": "a"}},
    "hours": {"a": []},
}


def test_good_parameters_have_no_flaw():
    """With and without a configuration."""
    broker = SEEN.issuer
    good = GOOD | {"actors": {"a": {"issuers": [IDP, broker]}}}

    assert [] == found(good)
    assert [] == found(good, None)


@pytest.mark.parametrize(
    ("rule", "row", "name"),
    [
        pytest.param("partner", {"issuers": ["https://x.test"]}, "issuers[0]", id="issuer"),
        pytest.param("partner", {"targets": ["front", "bakc"]}, "targets[1]", id="target"),
        pytest.param("partner", {"scopes": ["x"]}, "scopes[0]", id="scope"),
        pytest.param("partner", {"clients": ["x"]}, "clients[0]", id="client"),
        pytest.param("tenant", {"targets": {"bakc": ["x"]}}, "targets.bakc", id="tenant-of"),
        pytest.param("tenant", {"shared": ["bakc"]}, "shared[0]", id="shared-target"),
        pytest.param("tenant", {"clients": {"x": ["x"]}}, "clients.x", id="client-of-tenants"),
        pytest.param("actors", {"issuers": ["https://x.test"]}, "issuers[0]", id="actor-issuer"),
        pytest.param("tenant", {"claim": "org"}, "claim", id="claim-of-the-tenant"),
        pytest.param("ticket", {"claim": "change"}, "claim", id="claim-of-the-ticket"),
        pytest.param("break_glass", {"claim": "roles"}, "claim", id="claim-of-who-is-on-duty"),
        pytest.param("step_up", {"amr": ["hwk"]}, "amr", id="method"),
        pytest.param("step_up", {"max_age": "5m"}, "max_age", id="time-of-sign-in"),
        pytest.param("break_glass", {"ticket": "b"}, "ticket", id="ticket-that-is-none"),
        pytest.param("break_glass", {"step_up": "b"}, "step_up", id="step-up-that-is-none"),
    ],
)
def test_what_is_never_met_is_named(rule, row, name):
    """A name that nobody has, or a claim that no issuer's policy_claims let through."""
    assert [(f"{rule}.a.{name}", True)] == found({rule: {"a": row}})


@pytest.mark.parametrize("parameters", [None, [], {"tenant": []}, {"tenant": {"a": 1}}, {"x": {}}])
def test_what_is_of_another_form_is_the_schema_s_to_say(parameters):
    """It is not looked into, and nothing fails."""
    assert [] == found(parameters)


RULE = """package broker.rules.mine

import data.broker.library.asks
import data.broker.library.hours as open

# open.within("commented")
deny contains "policy.denied" if {
	asks.target("front")
	asks.scope("front.red")
	not open.within("office")
	not open.within("offices")
	not hours.within("not imported by that name")
}
"""


def test_calls_that_never_hold_are_named_with_their_line():
    """By whatever name the rule is imported; of what is asked for, only with a configuration."""
    rules = {"broker/rules/mine/mine.rego": RULE.encode()}
    parameters = {"hours": {"office": []}}

    def lines(configured):
        flaws = review_calls(rules, parameters, configured, Path("p"))
        return [(flaw.place, flaw.subject) for flaw in flaws]

    file = "p/broker/rules/mine/mine.rego"
    assert [(f"{file}:11", "hours.within")] == lines(None)
    assert [(f"{file}:9", "asks.scope"), (f"{file}:11", "hours.within")] == lines(SEEN)
