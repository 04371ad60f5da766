"""A row of the trail as a decision that can be made again, or the cause why not."""

from typing import Any

import orjson
import pytest

from broker.errors import Reason
from broker.policy.input import build_input
from broker.workbench.replay.past import Cause, Lost, Past, read_past
from tests.builders import exchange
from tests.replaying import record


def personal(**members: Any) -> dict[str, Any]:
    return {"personal": record()["personal"] | members}


def policy(**members: Any) -> dict[str, Any]:
    return {"policy": record()["policy"] | members}


def test_a_decision_has_its_input_and_what_was_said() -> None:
    """To the byte, so that what is asked again is what was asked."""
    found = read_past(record(output={"allow": False, "reasons": ["policy.denied"]}))

    assert isinstance(found, Past)
    assert orjson.loads(found.input) == build_input(exchange())
    assert found.output == {"allow": False, "reasons": ["policy.denied"]}
    assert (found.client, found.targets, found.day) == ("svc-a", "svc-b", "2026-11-24")


def test_what_was_undefined_then_is_a_decision_as_well() -> None:
    """A policy that had no answer has refused."""
    found = read_past(record(**personal(decision=None)))

    assert isinstance(found, Past)
    assert found.output is None


@pytest.mark.parametrize(
    ("members", "lost"),
    [
        pytest.param(
            {"policy": None, "reasons": ["subject_token.expired"]},
            Lost(Cause.BEFORE_POLICY),
            id="refused before the policy was asked",
        ),
        pytest.param(
            {"policy": None, "reasons": [Reason.POLICY_UNAVAILABLE.value]},
            Lost(Cause.UNANSWERED),
            id="the policy did not answer",
        ),
        pytest.param(
            {"kind": "refusals", "total": 712}, Lost(Cause.COUNTED, 712), id="refusals of a minute"
        ),
        pytest.param(
            {"kind": "refusals", "total": "many"}, Lost(Cause.COUNTED), id="no number of refusals"
        ),
        pytest.param({"kind": "proxy"}, Lost(Cause.PROXY), id="of the token proxy"),
        pytest.param({"personal": {"sealed": True}}, Lost(Cause.SEALED), id="sealed"),
        pytest.param({"personal": {"erased": True}}, Lost(Cause.ERASED), id="erased"),
        pytest.param({"personal": {"unreadable": True}}, Lost(Cause.UNREADABLE), id="unreadable"),
        pytest.param(
            personal(policy_input={"omitted": "sha256:00"}), Lost(Cause.OMITTED), id="too large"
        ),
        pytest.param(
            personal(decision={"omitted": "not JSON"}), Lost(Cause.OMITTED), id="no decision kept"
        ),
        pytest.param(policy(input_version=99), Lost(Cause.VERSION), id="of a newer version"),
        pytest.param(personal(policy_input={"n": 1}), Lost(Cause.MALFORMED), id="other members"),
        pytest.param(personal(policy_input=[]), Lost(Cause.MALFORMED), id="no object"),
        pytest.param({"personal": "c2VhbGVk"}, Lost(Cause.MALFORMED), id="still sealed"),
        pytest.param({"kind": 7, "policy": 7}, Lost(Cause.MALFORMED), id="nothing that we wrote"),
    ],
)
def test_what_cannot_be_replayed_says_why(members: dict[str, Any], lost: Lost) -> None:
    """Nothing is passed over in silence."""
    assert read_past(record(**members)) == lost


def test_a_record_that_is_none_is_counted_too() -> None:
    """Whoever can write into the table keeps nobody from seeing the rest."""
    assert read_past({}) == Lost(Cause.MALFORMED)


def test_records_say_of_which_version_their_input_is() -> None:
    """So that a later version knows."""
    assert record()["policy"]["input_version"] == 1


def test_a_record_of_before_that_is_of_the_first_version() -> None:
    """They did not say; there was one."""
    made = record()
    del made["policy"]["input_version"]

    assert isinstance(read_past(made), Past)
