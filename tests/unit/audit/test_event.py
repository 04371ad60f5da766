"""What a record says, what it never says, and that there is one way to write it."""

import json
import re
import string
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.event import (
    COLUMNS,
    bounded_document,
    build_event,
    canonical_json,
    columns_of,
    render_text,
    render_time,
)
from broker.audit.merkle import leaf_hash
from broker.audit.outcome import build_administration, build_counted, build_issued, build_refused
from broker.domain import Attempt, Deny, Derived, Principal
from broker.errors import Reason
from tests import builders
from tests.audit import attempt, evaluation, new_id, new_vault, signed_token

ISSUER = "https://broker.test"
HOSTILE = "\r\n\x1b[2J\x00\x7f\x9b31m\u2028\u2029\u202e\ufeff\"\\}],{'"

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def record_of(event):
    return json.loads(event.record)


def issued(made=None, **overrides):
    made = made or attempt()
    return record_of(build_issued(made, signed_token(made, **overrides), issuer=ISSUER))


def refused(made, reason=Reason.POLICY_DENIED):
    return record_of(build_refused(made, reason, id=new_id(), issuer=ISSUER))


@given(json_values)
def test_a_value_has_one_spelling(value):
    """Ours: what is read from a record and written again is the same bytes."""
    raw = canonical_json({"a": value})

    assert raw == canonical_json(orjson.loads(raw))
    assert {"a": value} == json.loads(raw)


@pytest.mark.row("ATK-LOG-01")
@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_a_record_is_one_line_that_no_terminal_obeys(text):
    """ATK-LOG-01: CR, LF, ANSI and what turns text around stand as escapes, and read back."""
    raw = canonical_json({"text": text + HOSTILE}).decode()

    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]", raw)
    assert text + HOSTILE == json.loads(raw)["text"]


@pytest.mark.row("ATK-LOG-01")
def test_hostile_parameters_stay_inside_their_member():
    """ATK-LOG-01: JSON breakers in every parameter, and the record is the same but for them."""
    request = builders.token_exchange_request(
        audiences=(HOSTILE,), resources=(HOSTILE,), scope=HOSTILE, purpose=HOSTILE
    )
    record = refused(Attempt("r", HOSTILE, builders.NOW, request=request))

    assert [HOSTILE] == record["asked"]["audiences"]
    assert HOSTILE == record["asked"]["scope"]
    assert HOSTILE == record["personal"]["source"]
    assert "refused" == record["outcome"]


@pytest.mark.row("OP-01")
def test_a_row_of_an_issued_token_says_all_that_an_auditor_asks():
    """OP-01, promises 2.4: who, for whom, by way of whom, what, why, until when, under what."""
    chain = (Principal(ISSUER, "svc-a"), Principal(builders.IDP, "batch"))
    made = attempt()
    token = signed_token(made)
    record = record_of(build_issued(made, token, issuer=ISSUER))
    signed_with_chain = issued(
        attempt(exchange=builders.exchange(delegation=builders.delegation(chain=chain)))
    )

    assert 1 == record["version"]
    assert "exchange" == record["kind"]
    assert "issued" == record["outcome"]
    assert token.id == record["id"] == record["jti"]
    assert {"id": "svc-a", "auth_method": "client_secret_basic"} == record["client"]
    assert {"issuer": builders.IDP, "subject": "alice"} == record["personal"]["subject"]
    assert ["svc-b"] == record["targets"]
    assert ["orders.read"] == record["scopes"]
    assert [] == record["derived"]
    assert ("s-1", "txn-1", "kid-1", 300) == tuple(
        record[name] for name in ("parent", "txn", "kid", "lifetime")
    )
    assert "sha256:0011" == record["policy"]["revision"]
    assert "request-1" == record["request_id"]
    assert [{"issuer": one.issuer, "subject": one.subject} for one in chain] == signed_with_chain[
        "personal"
    ]["actors"]


@pytest.mark.row("TX-6-05")
def test_a_derived_scope_names_what_it_follows_from():
    """Invariant 1: the record has the pair."""
    made = attempt()
    token = signed_token(made)
    object.__setattr__(token.permit, "derived", (Derived("stock.read", "orders.write"),))

    assert [{"from": "orders.write", "scope": "stock.read"}] == record_of(
        build_issued(made, token, issuer=ISSUER)
    )["derived"]


@pytest.mark.row("TX-3-03")
def test_a_row_has_the_declared_and_the_real_kind_of_the_token():
    """TX-3-03: our own access token labelled ``jwt`` is common, and on record."""
    presented = issued()["subject_token"]

    assert "urn:ietf:params:oauth:token-type:jwt" == presented["declared_type"]
    assert "at+jwt" == presented["typ"]


@pytest.mark.row("OP-11")
def test_the_policy_input_replays_to_the_same_decision():
    """OP-11: what is read back equals what was decided on, member by member."""
    raw = orjson.dumps({"b": [1, 2.5, None, "ü"], "a": {"n": 2**64 - 1}})
    made = attempt(evaluation=evaluation(input=raw))

    assert orjson.loads(raw) == refused(made)["personal"]["policy_input"]


@pytest.mark.row("OP-01")
def test_a_refusal_has_every_reason_and_the_answered_one_first():
    """OP-01: the caller hears one reason, the auditor reads all."""
    deny = Deny(
        (Reason.POLICY_SCOPE_NOT_HELD, Reason.POLICY_DENIED),
        evaluation(),
        ("scope: orders.write is not held",),
    )
    record = refused(attempt(deny=deny), Reason.POLICY_SCOPE_NOT_HELD)

    assert ["policy.scope_not_held", "policy.denied"] == record["reasons"]
    assert ["scope: orders.write is not held"] == record["violations"]
    assert {"allow": True, "reasons": []} == record["personal"]["decision"]


@pytest.mark.parametrize(
    "made",
    [
        pytest.param(Attempt("r", "192.0.2.1", builders.NOW), id="nothing-parsed"),
        pytest.param(
            Attempt("r", "192.0.2.1", builders.NOW, request=builders.token_exchange_request()),
            id="not-authenticated",
        ),
        pytest.param(attempt(subject=None, delegation=None, exchange=None), id="not-verified"),
        pytest.param(attempt(delegation=None), id="not-delegated"),
        pytest.param(attempt(), id="not-permitted"),
    ],
)
@pytest.mark.row("OP-01")
def test_whatever_is_known_by_then_can_be_recorded(made):
    """OP-01: a refusal at any step has its row."""
    record = refused(made)

    assert "refused" == record["outcome"]
    assert record["request_id"] == made.id
    assert len(COLUMNS) == len(columns_of(record))


personal_values = ("alice", "https://idp.test", "192.0.2.77", "ops", "batch-person")


@pytest.mark.row("OP-12")
def test_what_identifies_a_person_stands_in_one_member_only():
    """Design 7: without ``personal`` nothing of a record points to a natural person."""
    exchange = builders.exchange(
        request=builders.token_exchange_request(source="192.0.2.77"),
        subject=builders.verified_token(asserted_by="https://other.test"),
        delegation=builders.delegation(chain=(Principal(builders.IDP, "batch-person"),)),
    )
    made = attempt(exchange=exchange)
    for record in (issued(made), refused(attempt(exchange=exchange, evaluation=evaluation()))):
        personal = json.dumps(record.pop("personal"))
        rest = json.dumps(record)

        assert [] == [value for value in personal_values if value not in personal]
        assert [] == [value for value in personal_values if value in rest]


segments = st.text(string.ascii_letters + string.digits + "-_", min_size=12, max_size=40)


@given(segments, segments, segments)
def test_a_token_appears_only_as_its_digest(header, payload, signature):
    """Design 7: wherever somebody put it, also into a parameter that is not for tokens."""
    token = f"eyJ{header}.eyJ{payload}.{signature}"
    request = builders.token_exchange_request(
        unverified_subject_token=token,
        unverified_actor_token=token,
        actor_token_type="jwt",
        audiences=(token,),
        resources=(f"https://a.test/?t={token}",),
        scope=token,
        purpose=token,
    )
    digest = sha256(token.encode()).hexdigest()
    made = Attempt("r", "192.0.2.1", builders.NOW, request=request)
    raw = build_refused(made, Reason.SUBJECT_TOKEN_MALFORMED, id=new_id(), issuer=ISSUER).record
    record = json.loads(raw)

    assert b"eyJ" not in raw
    assert token.encode() not in raw
    assert digest == record["subject_token"]["sha256"] == record["actor_token"]["sha256"]
    assert [f"sha256:{digest}"] == record["asked"]["audiences"]


@given(segments)
def test_the_issued_token_is_not_on_record(segment):
    """Design 7: its digest is, so that a token at hand can be found."""
    made = attempt()
    raw = build_issued(made, signed_token(made, token=f"eyJ{segment}.x.y"), issuer=ISSUER).record

    assert f"eyJ{segment}".encode() not in raw
    assert sha256(f"eyJ{segment}.x.y".encode()).hexdigest() == json.loads(raw)["token_sha256"]


def test_a_caller_cannot_make_a_row_as_large_as_it_likes():
    """Ours: no row can be deleted, so what a stranger may write into one is bounded."""
    request = builders.token_exchange_request(
        audiences=("a" * 5000,) * 500, resources=("b" * 5000,) * 500, scope="c" * 60_000
    )
    event = build_refused(
        Attempt("r", "x" * 5000, builders.NOW, request=request),
        Reason.CLIENT_UNKNOWN,
        id=new_id(),
        issuer=ISSUER,
    )

    assert len(event.record) < 80_000
    assert "… and 468 more" == json.loads(event.record)["asked"]["audiences"][-1]


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(object(), id="not-json"),
        pytest.param({"a": float("nan")}, id="nan"),
        pytest.param({"a": 2**70}, id="integer-beyond-64-bits"),
        pytest.param("\ud800", id="lone-surrogate"),
        pytest.param("x" * 200_000, id="too-large"),
        pytest.param(None, id="undefined"),
    ],
)
def test_whatever_a_policy_answers_is_recorded_somehow(output):
    """Ours: a broken policy refuses exchanges; it must not keep them off the record as well."""
    made = attempt(deny=Deny((Reason.POLICY_MALFORMED,), evaluation(output=output)))
    event = build_refused(
        made, Reason.POLICY_MALFORMED, id=new_id(), issuer=ISSUER, vault=new_vault()
    )

    assert event.record == canonical_json(json.loads(event.record))
    assert len(event.record) < 4000


def test_a_small_answer_is_recorded_as_it_is():
    """Ours: the twin of the above."""
    assert b'{"allow":false}' == orjson.dumps(bounded_document({"allow": False}))


def test_columns_are_extracts_of_the_record():
    """Design 7: verification compares what the same function makes of the text."""
    made = attempt()
    event = build_issued(made, signed_token(made), issuer=ISSUER)

    assert event.columns == columns_of(json.loads(event.record))
    assert leaf_hash(event.record) == event.leaf
    row = dict(zip(COLUMNS, event.columns, strict=True))
    assert "alice" == row["subject"]
    assert ["svc-a"] == row["actors"]
    assert [ISSUER] == row["actor_issuers"]
    assert made.at == row["at"]


def test_times_are_in_utc_and_of_one_length():
    """Ours: one instant, one text, whatever zone it was given in."""
    at = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

    assert "2026-11-24T12:00:00.000000Z" == render_time(at)
    assert render_time(at) == render_time(at.astimezone(timezone(timedelta(hours=2))))


def test_counted_refusals_name_sources_only_as_personal():
    """Promises 2.4: counts by reason, one row."""
    event = build_counted(
        {"client.unknown": 3, "request.media_type": 2},
        {"192.0.2.9": 4},
        id=new_id(),
        since=builders.NOW,
        until=builders.NOW + timedelta(minutes=1),
    )
    record = json.loads(event.record)

    assert 5 == record["total"]
    assert {"client.unknown": 3, "request.media_type": 2} == record["counts"]
    assert {"sources": {"192.0.2.9": 4}} == record["personal"]


def test_what_was_administered_and_by_whom_is_on_record():
    """Promises 2.4: and a person's name is personal here too."""
    event = build_administration(
        "keys.rotate", {"algorithm": "ES256"}, id=new_id(), at=builders.NOW, by="carol"
    )
    record = json.loads(event.record)

    assert ("keys.rotate", "done") == (record["action"], record["outcome"])
    assert {"by": "carol"} == record["personal"]


def test_an_event_does_not_show_its_record():
    """Design 7: a log that prints an event prints nothing personal."""
    event = build_event(
        {
            "id": new_id(),
            "at": render_time(builders.NOW),
            "kind": "x",
            "outcome": "done",
            "personal": {"by": "carol"},
        }
    )

    assert "carol" not in repr(event)


def test_an_ordinary_text_is_kept_as_it_is():
    """Ours: ``eyJ`` alone is no token."""
    assert "eyJ is how they begin" == render_text("eyJ is how they begin")
