"""Both tokens side by side: what became of each claim and scope, and what cannot be seen."""

import dataclasses
import json
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.outcome import build_issued, build_refused
from broker.errors import Reason
from broker.explorer.compare import NOT_SEEN, Change, Claim, Fate, Lifetime, Scope, compare
from broker.policy.input import build_input
from tests import builders
from tests.audit import attempt, evaluation, new_id, new_vault, signed_token


def issued(vault=None, *, subject=None, decision=None, **permit):
    """The record of an exchange, as the broker writes it."""
    made = attempt(exchange=builders.exchange(subject=subject or builders.verified_token()))
    told = evaluation(input=orjson.dumps(build_input(made.exchange)), output=decision or {})
    signed = signed_token(made)
    signed = dataclasses.replace(
        signed, permit=dataclasses.replace(signed.permit, evaluation=told, **permit)
    )
    return json.loads(build_issued(made, signed, issuer=builders.BROKER, vault=vault).record)


def claims(record):
    return {claim.name: claim for claim in compare(record).claims}


def test_each_claim_says_what_became_of_it():
    """Kept, changed, added or dropped; and the values of both sides."""
    subject = builders.verified_token(
        client_id="portal", policy_claims={"groups": ["ops"], "email": "a@b.test"}
    )
    record = issued(subject=subject, decision={"claims": ["email"]})
    found = claims(record)

    assert Claim("iss", builders.IDP, builders.BROKER, Change.CHANGED) == found["iss"]
    whose = f"alice of {builders.IDP}"
    assert Claim("sub", whose, whose, Change.KEPT) == found["sub"]
    assert Claim("aud", "svc-a", "svc-b", Change.CHANGED) == found["aud"]
    assert Claim("client_id", "portal", "svc-a", Change.CHANGED) == found["client_id"]
    assert Claim("act", None, f"svc-a of {builders.BROKER}", Change.ADDED) == found["act"]
    assert Claim("jti", "s-1", record["jti"], Change.CHANGED) == found["jti"]
    assert Claim("email", "a@b.test", "a@b.test", Change.KEPT) == found["email"]
    assert Claim("groups", '["ops"]', None, Change.DROPPED) == found["groups"]


def test_a_claim_that_policy_was_not_shown_is_not_said_to_be_added():
    """It is carried on from the presented token, and no record has its value."""
    found = claims(issued(decision={"claims": ["phone"]}))

    assert Claim("phone", None, NOT_SEEN, Change.UNKNOWN) == found["phone"]


def test_each_scope_says_what_became_of_it():
    """Kept, derived from another, or cut."""
    subject = builders.verified_token(scopes=frozenset({"orders.read", "orders.write"}))
    record = issued(subject=subject)
    record["scopes"] = ["orders.read", "stock.read"]
    record["derived"] = [{"scope": "stock.read", "from": "orders.write"}]

    assert (
        Scope("orders.read", Fate.KEPT),
        Scope("stock.read", Fate.DERIVED, "orders.write"),
        Scope("orders.write", Fate.CUT),
    ) == compare(record).scopes
    assert ("orders.read",) == compare(record).asked


def test_a_scope_from_nothing_is_pointed_out():
    """The broker grants none; a record that says so was not written by one that works."""
    record = issued()
    record["scopes"] = ["admin"]

    assert Scope("admin", Fate.GAINED) in compare(record).scopes


def test_lifetimes_are_those_of_both_tokens():
    """Of the presented one as it was told to policy, in whole seconds."""
    record = issued()
    found = compare(record)

    assert 3660 == found.before.seconds
    assert 300 == found.after.seconds
    assert found.after.expires_at == datetime.fromisoformat(record["expires_at"])


def chain(*names):
    return tuple(builders.Principal(builders.BROKER, name) for name in names)


def act(record):
    found = claims(record).get("act")
    return found and (found.before, found.after, found.change)


def test_a_chain_that_grew_shows_who_was_added():
    """As many actors as exchanges: each of them added one."""
    record = issued(chain=chain("svc-b", "svc-a")) | {"depth": 2, "mode": "delegation"}

    one, two = (f"{name} of {builders.BROKER}" for name in ("svc-a", "svc-b"))
    assert (one, f"{two} for {one}", Change.CHANGED) == act(record)


def test_of_impersonation_the_chain_stays():
    """Nobody is added; what was there is kept."""
    record = issued(chain=chain("svc-a")) | {"depth": 2, "mode": "impersonation"}

    one = f"svc-a of {builders.BROKER}"
    assert (one, one, Change.KEPT) == act(record)


def test_whether_a_chain_grew_is_not_guessed():
    """Fewer actors than exchanges: this one or an earlier one added nobody."""
    record = issued(chain=chain("svc-a")) | {"depth": 2, "mode": "delegation"}

    assert (None, f"svc-a of {builders.BROKER}", Change.UNKNOWN) == act(record)


def test_of_a_refusal_there_is_a_left_side_only():
    """No token, so nothing became of anything."""
    made = attempt()
    event = build_refused(made, Reason.POLICY_SCOPE_NOT_HELD, id=new_id(), issuer=builders.BROKER)
    found = compare(json.loads(event.record))

    assert not found.issued
    assert found.after is None
    assert {(None, Change.UNKNOWN)} == {(claim.after, claim.change) for claim in found.claims}


@pytest.mark.parametrize("state", ["sealed", "erased", "unreadable"])
def test_what_cannot_be_seen_is_said(state):
    """And what stands outside of it is shown: pseudonyms, issuers, granted scopes."""
    record = issued(new_vault()) | {"personal": {state: True}}
    found = compare(record)
    subject = next(claim for claim in found.claims if claim.name == "sub")
    audience = next(claim for claim in found.claims if claim.name == "aud")

    assert {"sealed": "audit key", "erased": "erased", "unreadable": "does not open"}[
        state
    ] in found.hidden
    assert subject.before.startswith("hmac:")
    assert Claim("aud", None, "target svc-b", Change.UNKNOWN) == audience
    assert (Scope("orders.read", Fate.GRANTED),) == found.scopes
    assert Lifetime(None, builders.NOW.replace(hour=13)) == found.before


def test_nothing_is_hidden_where_everything_is_in_plain():
    """As in records of the first version."""
    assert compare(issued()).hidden is None


def test_a_row_about_no_tokens_has_no_two_sides():
    """Administration, writers, counted refusals."""
    assert compare({"kind": "writer", "action": "start"}) is None
    assert compare({"kind": "exchange", "subject_token": None}) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
PLACES = st.sampled_from(
    [
        *(("personal",), ("subject",), ("scopes",), ("derived",), ("asked",), ("depth",)),
        *(("issued_at",), ("expires_at",), ("outcome",), ("actors",), ("subject_token",)),
        *(("personal", name) for name in ("policy_input", "decision", "subject", "actors")),
        *(
            ("personal", "policy_input", "subject", name)
            for name in ("scopes", "claims", "audiences", "issued_at", "expires_at")
        ),
        ("personal", "policy_input", "request", "targets"),
        ("personal", "decision", "claims"),
    ]
)
RECORD = issued()


@given(PLACES, JSON)
def test_a_record_that_is_none_of_ours_is_compared_as_far_as_it_goes(place, value):
    """Whatever stands where something else should be."""
    record = inner = json.loads(json.dumps(RECORD))
    for name in place[:-1]:
        inner = inner.setdefault(name, {})
    inner[place[-1]] = value
    found = compare(record)

    assert found is None or all(isinstance(claim.name, str) for claim in found.claims)


def test_a_time_beyond_the_calendar_is_no_time():
    """Nobody of ours writes one."""
    record = issued()
    record["personal"]["policy_input"]["subject"]["issued_at"] = 10**30
    record["issued_at"] = "2026-13-40"

    assert (None, None) == (compare(record).before.issued_at, compare(record).after.seconds)
    assert datetime.fromisoformat(record["expires_at"]).tzinfo == UTC
