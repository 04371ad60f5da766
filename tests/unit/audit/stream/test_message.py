"""What of a row is sent, and what never is."""

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.event import COLUMNS, build_event
from broker.audit.export.columns import OPENED
from broker.audit.merkle import leaf_hash
from broker.audit.outcome import build_issued, build_refused
from broker.audit.stream.message import Severity, build_message, portions
from broker.errors import Reason
from tests.audit import attempt, evaluation, event, new_id, new_vault, signed_token
from tests.streaming import message

ISSUER = "https://broker.example.com"


def row_of(made, **overrides):
    """The row that an event becomes."""
    columns = dict(zip(COLUMNS, made.columns, strict=True))
    place = {"writer": UUID(int=1), "seq": 7, "leaf": made.leaf, "record": made.record.decode()}
    return columns | place | overrides


def issued():
    made = attempt(evaluation=evaluation())
    return build_issued(made, signed_token(made), issuer=ISSUER, vault=new_vault())


def refused():
    reason = Reason.POLICY_SCOPE_NOT_GRANTED
    return build_refused(attempt(), reason, id=new_id(), issuer=ISSUER, vault=new_vault())


def alert(severity):
    record = {"id": new_id(), "at": "2026-11-24T12:00:00.000000Z", "kind": "alert"}
    return build_event({**record, "outcome": "done", "severity": severity, "rule": "replays"})


def sent(made, form="native", **overrides):
    return build_message(row_of(made, **overrides), form, product_version="1")


def test_the_native_body_is_the_record_as_it_was_hashed():
    """Ours: whoever keeps what was sent can prove it, without the broker."""
    made = issued()

    assert made.leaf == leaf_hash(sent(made).body)


def test_the_body_is_an_event_of_ocsf_where_that_is_asked_for():
    """Issue: OCSF class 3002 for whom that is easier, under the same id."""
    made = issued()
    found = sent(made, "ocsf")

    body = json.loads(found.body)
    assert 3002 == body["class_uid"]
    assert found.id == body["metadata"]["uid"] == json.loads(made.record)["id"]


@pytest.mark.parametrize("form", ["native", "ocsf"])
def test_nothing_says_who_a_person_is(form):
    """Issue: never a plain person, unless that was asked for with the audit key."""
    found = sent(issued(), form)

    assert b"alice" not in found.body
    assert "alice" not in str(found)


@pytest.mark.parametrize("form", ["native", "ocsf"])
def test_an_opened_record_is_sent_opened(form):
    """Issue: ``--open`` is for whoever holds the audit key."""
    made = issued()
    opened = json.loads(made.record) | {
        "personal": {"subject": {"issuer": "i", "subject": "alice"}}
    }

    assert b"alice" in sent(made, form, **{OPENED: opened}).body


@pytest.mark.parametrize(
    ("made", "severity"),
    [
        pytest.param(issued(), Severity.INFORMATIONAL, id="issued"),
        pytest.param(refused(), Severity.NOTICE, id="refused"),
        pytest.param(event("test"), Severity.INFORMATIONAL, id="done"),
        pytest.param(alert("low"), Severity.NOTICE, id="alert-low"),
        pytest.param(alert("high"), Severity.ERROR, id="alert-high"),
        pytest.param(alert("critical"), Severity.CRITICAL, id="alert-critical"),
        pytest.param(alert("strange"), Severity.WARNING, id="alert-of-another-version"),
    ],
)
def test_how_much_it_matters_is_said(made, severity):
    """Ours: a receiver pages for alerts and not for tokens."""
    assert severity == sent(made).severity


@pytest.mark.parametrize("form", ["native", "ocsf"])
@pytest.mark.parametrize(
    "record",
    [
        pytest.param("no JSON", id="text"),
        pytest.param("[]", id="no-object"),
        pytest.param("{}", id="nothing"),
        pytest.param('{"a":\n1}', id="several-lines"),
        pytest.param('{"a":1e400}', id="absurd-number"),
        pytest.param("", id="empty"),
    ],
)
def test_a_record_that_nobody_wrote_is_sent_on_one_line(record, form):
    """Ours: who writes into the database keeps nobody from seeing the other rows."""
    found = sent(event("test"), form, record=record)

    assert b"\n" not in found.body
    assert isinstance(json.loads(found.body), dict)


def test_long_texts_beside_the_record_are_cut():
    """Ours: of the record all is sent, of what it is filtered by what fits."""
    found = sent(event("test"), txn="t" * 1000)

    assert 255 == len(found.attributes["txn"])


@given(st.lists(st.integers(0, 50)), st.integers(1, 100))
def test_portions_are_all_messages_in_their_order(sizes, most):
    """Ours: what is sent at once is bounded, and nothing is left out for it."""
    messages = [message(number, body=b"x" * size) for number, size in enumerate(sizes)]
    cut = portions(messages, most)

    assert messages == [one for some in cut for one in some]
    assert all(some for some in cut)
    assert all(len(some) == 1 or sum(len(m.body) for m in some) <= most for some in cut)
