"""Inputs of one key are judged alike: by observation, and by trying."""

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain import Exchange
from broker.policy.difference import terms_of
from broker.policy.floor import assess
from broker.policy.input import build_input
from broker.workbench.recorded import read_exchange
from broker.workbench.replay.change import find_changes, say_decision
from broker.workbench.replay.memo import TOUCHED, floor_key
from tests import builders
from tests.builders import NOW
from tests.decisions import allowance, evaluation, refusal
from tests.invariants.cases import Case, cases

CEILING = 100


class Watched:
    """A part of an exchange, and what is read of it."""

    def __init__(self, part: Any, read: set[str]) -> None:
        self._part = part
        self._read = read

    def __getattr__(self, name: str) -> Any:
        self._read.add(name)
        return getattr(self._part, name)


def watched(exchange: Exchange, read: dict[str, set[str]]) -> Any:
    parts = {
        name: Watched(part, read[name])
        for name in TOUCHED
        if (part := getattr(exchange, name)) is not None
    }
    return replace(exchange, **parts)


@given(cases())
def test_the_floor_reads_nothing_else_of_an_exchange(case: Case) -> None:
    """If it begins to, this fails, and so the key is widened with it."""
    read: dict[str, set[str]] = defaultdict(set)
    terms_of(assess(watched(case.exchange, read), evaluation(case.document), ceiling=CEILING))

    assert {name: found - TOUCHED[name] for name, found in read.items() if found} == {
        name: set() for name, found in read.items() if found
    }


def changes(document: dict[str, Any], before: Any, after: Any) -> object:
    exchange = read_exchange(document)
    said = [
        say_decision(assess(exchange, evaluation(output), ceiling=CEILING), 0)
        for output in (before, after)
    ]
    return find_changes(*said)


@given(st.data())
def test_inputs_of_one_key_are_judged_alike(data: st.DataObject) -> None:
    """Whoever asked, whenever, from wherever: what the key leaves out changes nothing."""
    case = data.draw(cases())
    before, after = case.document, data.draw(cases()).document
    document = orjson.loads(orjson.dumps(build_input(case.exchange)))
    other = orjson.loads(orjson.dumps(document))
    other["request"] |= {"id": "another", "source": "198.51.100.7"}
    other["client"] |= {"id": data.draw(st.sampled_from(["svc-a", "x", "other"]))}
    later = data.draw(st.integers(-(10**6), 10**6))
    other["request"]["time"] += later
    for token in filter(None, (other["subject"], other["actor"])):
        token["expires_at"] += later + data.draw(st.sampled_from([0, 0, 1, 30, 10**5]))
        token["issued_at"] += data.draw(st.integers(-(10**6), 0))
        token["audiences"] = ["elsewhere"]
        token["claims"] = dict.fromkeys(token["claims"], "another value")
    other["subject"]["subject"] = data.draw(st.sampled_from(["x", "svc-a", "somebody", "else"]))

    if floor_key(document, before, after) == floor_key(other, before, after):
        assert changes(document, before, after) == changes(other, before, after)


@pytest.mark.parametrize(
    ("overrides", "same"),
    [
        pytest.param({}, True, id="the same"),
        pytest.param({"request": {"id": "r-2", "source": "x"}}, True, id="another request"),
        pytest.param({"subject": {"subject": "bob"}}, True, id="somebody else"),
        pytest.param({"subject": {"claims": {"email": "c@d.test"}}}, True, id="another address"),
        pytest.param(
            {"subject": {"subject": "svc-a", "issuer": builders.BROKER}}, False, id="self"
        ),
        pytest.param({"subject": {"scopes": []}}, False, id="fewer scopes"),
        pytest.param({"subject": {"claims": {}}}, False, id="no claim"),
        pytest.param({"request": {"purpose": "billing"}}, False, id="a purpose"),
        pytest.param({"delegation": {"depth": 2}}, False, id="deeper"),
    ],
)
def test_what_the_key_tells_apart(overrides: dict[str, dict[str, Any]], same: bool) -> None:
    """It leaves out what it should, or nothing would ever be judged once."""
    subject = builders.verified_token(policy_claims={"email": "a@b.test"})
    document = build_input(builders.exchange(subject=subject))
    other = {
        name: part | overrides.get(name, {}) if isinstance(part, dict) else part
        for name, part in document.items()
    }
    said = (allowance(), refusal())

    assert (floor_key(document, *said) == floor_key(other, *said)) is same


@pytest.mark.parametrize(
    ("left", "same"), [pytest.param(120, True, id="enough"), pytest.param(119, False, id="less")]
)
def test_what_is_left_of_a_token_counts_up_to_the_longest_life(left: int, same: bool) -> None:
    """Beyond it nothing is cut."""
    short = builders.verified_token(expires_at=NOW + timedelta(seconds=left))
    said = (allowance(lifetime=60), allowance(lifetime=120))
    keys = [
        floor_key(build_input(each), *said)
        for each in (builders.exchange(), builders.exchange(subject=short))
    ]

    assert (keys[0] == keys[1]) is same


@pytest.mark.parametrize("time", [1.5, "now", None, True])
def test_a_time_that_is_no_whole_number_is_none(time: object) -> None:
    """What is left of it could not be compared."""
    document = build_input(builders.exchange())
    document["request"]["time"] = time

    with pytest.raises(TypeError):
        floor_key(document, allowance(), refusal())
