"""A recorded input holds all that a decision depends on, so it can be judged again."""

from typing import Any

import orjson
import pytest
from hypothesis import given

from broker.domain import Deny, Exchange, Permit
from broker.policy.floor import assess
from broker.policy.input import build_input
from broker.workbench.recorded import NotReplayable, read_exchange
from tests.builders import exchange
from tests.decisions import evaluation
from tests.invariants.cases import Case, cases, exchanges


@given(exchanges())
def test_the_exchange_of_an_input_has_that_input(asked: tuple[Exchange, int]) -> None:
    """Nothing is lost on the way: a policy that is asked again is asked the same."""
    document = orjson.loads(orjson.dumps(build_input(asked[0])))

    assert build_input(read_exchange(document)) == document


@given(cases())
def test_the_floor_says_the_same_to_a_recorded_exchange(case: Case) -> None:
    """What was refused for an invariant is refused in a replay, and for the same."""
    ceiling = case.exchange.delegation.max_depth
    answer = evaluation(case.document)
    document = orjson.loads(orjson.dumps(build_input(case.exchange)))

    first = assess(case.exchange, answer, ceiling=ceiling)
    again = assess(read_exchange(document), answer, ceiling=ceiling)

    if isinstance(first, Deny):
        assert isinstance(again, Deny)
        assert (again.reasons, again.violations) == (first.reasons, first.violations)
    else:
        assert isinstance(again, Permit)
        # The input has whole seconds, rounded down.
        assert abs((again.expires_at - first.expires_at).total_seconds()) <= 1
        assert again.scopes == first.scopes


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        pytest.param(("request",), None, "no request", id="a member is missing"),
        pytest.param(("subject", "scopes"), None, "no scopes", id="one further down is missing"),
        pytest.param(("request", "time"), "now", "another type", id="a time in words"),
        pytest.param(("request", "time"), 10**30, "another type", id="a time beyond the calendar"),
        pytest.param(("client", "auth_method"), "magic", "another type", id="an unknown method"),
        pytest.param(("delegation",), 7, "another type", id="a number for an object"),
    ],
)
def test_an_input_of_another_shape_is_not_replayable(
    path: tuple[str, ...], value: object, said: str
) -> None:
    """It is listed as such, with what is wrong, and is no decision."""
    document: dict[str, Any] = build_input(exchange())
    parent = document
    for name in path[:-1]:
        parent = parent[name]
    if value is None:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value

    with pytest.raises(NotReplayable, match=said):
        read_exchange(document)
