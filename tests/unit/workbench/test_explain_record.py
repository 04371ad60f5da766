"""A row of the trail is explained, or it is told why it cannot be."""

import json
from typing import Any

import orjson
import pytest

from broker.audit.outcome import build_counted, build_refused, build_writer
from broker.errors import Reason
from broker.policy.floor import assess
from broker.policy.input import build_input
from broker.workbench.explain.case import case_of
from broker.workbench.explain.explanation import Agreement, Explanation
from broker.workbench.explain.record import NotExplainable, compare_with_record, read_recorded
from broker.workbench.explain.refusal import EarlyRefusal
from broker.workbench.explain.why_not import explain_early
from broker.workbench.verdict import verdict_of
from tests import builders
from tests.audit import attempt, new_id
from tests.decisions import allowance, evaluation, refusal
from tests.replaying import record


def explained(output: Any, revision: str) -> Explanation:
    """What one policy says to the exchange of the builders, of which nothing else is told."""
    exchange = builders.exchange()
    decided = assess(exchange, evaluation(output, revision=revision), ceiling=8)
    return Explanation(
        case=case_of(exchange),
        revision=revision,
        verdict=verdict_of(decided),
        agreement=Agreement.NOT_COMPARED,
        decision=output,
        observed=None,
        error="",
        concerns=(),
        scopes=(),
        lifetime=(),
        depth=(),
        own=(),
        floor=(),
        stopped=None,
        rules=(),
    )


def test_a_decision_is_read_with_what_was_asked() -> None:
    """As the client has sent it, and as the policy was asked."""
    row = record(output=refusal())
    found = read_recorded(row)

    assert (found.id, found.request_id, found.issued) == (row["id"], row["request_id"], False)
    assert (found.client, found.audiences, found.scope) == ("svc-a", ("svc-b",), "orders.read")
    assert found.reasons == ("policy.denied",)
    assert found.early is None
    assert found.past is not None
    asked = orjson.loads(orjson.dumps(build_input(builders.exchange())))
    assert found.past.document == asked


@pytest.mark.parametrize(
    ("output", "revision", "expected"),
    [
        pytest.param(refusal(), "then", (True, True, False), id="the-same"),
        pytest.param(refusal(), "now", (False, True, False), id="another-that-says-the-same"),
        pytest.param(allowance(), "now", (False, False, False), id="another-that-permits"),
        pytest.param(allowance(), "then", (True, False, True), id="the-same-that-contradicts"),
    ],
)
def test_what_was_decided_then_is_compared_with_now(
    output: Any, revision: str, expected: tuple[bool, bool, bool]
) -> None:
    """The very same policy cannot decide otherwise; if it does, somebody must be told."""
    row = record(output=refusal())
    row["policy"]["revision"] = "then"
    found = read_recorded(row)
    assert found.past is not None

    since = compare_with_record(explained(output, revision), found, found.past)

    assert (since.same_policy, since.same_decision, since.contradicts) == expected
    assert since.render()["reasons"] == ["policy.denied"]


def test_a_refusal_before_the_policy_is_told_with_its_step() -> None:
    """The reason is what is known of it."""
    made = attempt(exchange=None, evaluation=None)
    event = build_refused(made, Reason.SUBJECT_TOKEN_EXPIRED, id=new_id(), issuer=builders.BROKER)

    found = read_recorded(json.loads(event.record))

    assert found.past is None
    assert found.early is Reason.SUBJECT_TOKEN_EXPIRED
    assert EarlyRefusal(found.early).step == "verify"
    answer = explain_early(EarlyRefusal(found.early), "orders.read")
    assert "(subject_token.expired). Mend that first" in answer.paragraph


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_step_and_a_text(reason: Reason) -> None:
    """Whatever a row says was the reason."""
    told = EarlyRefusal(reason).render()

    assert told["description"]
    assert (told["step"] in STEPS) is not reason.value.startswith(OTHERS)
    assert EarlyRefusal(reason).by == {
        None: "a limit" if reason.value.startswith("limit.") else "the broker"
    }.get(told["step"], f"the step {told['step']}")


STEPS = ("parse", "authenticate", "verify", "delegate", "decide", "mint", "commit")
# What no step of an exchange refuses for.
OTHERS = (
    *("introspection.", "proxy.", "server.", "limit."),
    *("revocation.not_of", "revocation.token_type"),
)
NOW = builders.NOW
COUNTED = build_counted({"x": 1}, {"192.0.2.1": 1}, id=new_id(), since=NOW, until=NOW)
WRITER = build_writer("writer.begin", "w", id=new_id(), at=NOW)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        pytest.param(json.loads(WRITER.record), "no exchange", id="no-exchange"),
        pytest.param(json.loads(COUNTED.record), "counts refusals", id="counted"),
        pytest.param(record(kind="proxy"), "of the token proxy", id="proxy"),
        pytest.param(record(personal={"sealed": True}), "--key-file", id="sealed"),
        pytest.param(record(personal={"erased": True}), "was erased", id="erased"),
        pytest.param(record(personal={"unreadable": True}), "does not open", id="unreadable"),
        pytest.param(record(personal={}), "none that a broker writes", id="empty"),
        pytest.param(record(reasons=["no.such"]), "none that a broker writes", id="no-reason"),
        pytest.param(
            record(policy={"revision": "r", "input_version": 99}), "of a version", id="version"
        ),
    ],
)
def test_what_cannot_be_explained_says_why(row: dict[str, Any], said: str) -> None:
    """And holds nothing of what is in the row."""
    with pytest.raises(NotExplainable, match=said):
        read_recorded(row)
