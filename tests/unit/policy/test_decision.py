"""The decision document: read to the letter of its schema, or not at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain import Derived
from broker.errors import Reason
from broker.oauth import Mode
from broker.policy.decision import (
    MAX_NAMES,
    MAX_REASONS,
    POLICY_REASONS,
    Allowance,
    DecisionMalformed,
    Refusal,
    read_decision,
)
from tests.decisions import allowance, refusal

MEMBERS = tuple(allowance())
# One of each type of JSON, with the values that Python takes for one another.
JSON = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "one": 1,
    "negative": -1,
    "fraction": 1.5,
    "float": 2.0,
    "string": "x",
    "empty-string": "",
    "list": ["x"],
    "empty-list": [],
    "object": {"x": "x"},
    "empty-object": {},
    "list-of-null": [None],
    "list-of-numbers": [1],
    "list-of-lists": [["x"]],
}
# Which of these each member may be.
FITTING = {
    "allow": {"true"},
    "reasons": {"empty-list"},
    "targets": {"list", "empty-list"},
    "scopes": {"list", "empty-list"},
    "derived": {"empty-list"},
    "lifetime": {"one"},
    "mode": set(),
    "max_depth": {"one"},
    "reentry": {"true", "false"},
    "purpose": {"null", "string", "empty-string"},
    "claims": {"list", "empty-list"},
    "obligations": {"list", "empty-list"},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def test_a_yes_is_read_whole():
    """Every member arrives, in the order of the document."""
    document = allowance(
        targets=["svc-b", "svc-a"],
        scopes=["b", "a"],
        derived=[{"scope": "b", "from": "identity"}],
        mode="impersonation",
        reentry=True,
        purpose="billing",
        claims=["email"],
        obligations=["log"],
    )

    assert Allowance(
        targets=("svc-b", "svc-a"),
        scopes=("b", "a"),
        derived=(Derived("b", "identity"),),
        lifetime=120,
        mode=Mode.IMPERSONATION,
        max_depth=3,
        reentry=True,
        purpose="billing",
        claims=("email",),
        obligations=("log",),
    ) == read_decision(document)


@pytest.mark.parametrize("seconds", [1, 30, 10**12])
def test_for_how_long_a_token_is_used_again_is_read(seconds):
    """The one member that may be left out; its bound is judged by the floor."""
    decision = read_decision(allowance(reuse=seconds))

    assert isinstance(decision, Allowance)
    assert seconds == decision.reuse


def test_a_yes_that_says_nothing_of_reuse_means_none():
    """So a policy of before goes on as it was."""
    decision = read_decision(allowance())

    assert isinstance(decision, Allowance)
    assert 0 == decision.reuse


@pytest.mark.row("ATK-POL-01")
@pytest.mark.parametrize(
    "value", [pytest.param(value, id=name) for name, value in JSON.items() if name != "one"]
)
def test_a_reuse_of_another_type_is_malformed(value):
    """Null and 0 too: there is one way to say nothing of it."""
    with pytest.raises(DecisionMalformed):
        read_decision(allowance(reuse=value))


def test_a_no_keeps_its_reasons_in_order():
    """The first one is answered."""
    document = refusal("policy.scope_unknown", "delegation.loop")

    assert Refusal((Reason.POLICY_SCOPE_UNKNOWN, Reason.DELEGATION_LOOP)) == read_decision(document)


@pytest.mark.row("ATK-POL-01")
@pytest.mark.parametrize(
    "output",
    [
        *[pytest.param(value, id=name) for name, value in JSON.items()],
        pytest.param([allowance()], id="a-decision-in-a-list"),
        pytest.param({"result": allowance()}, id="a-decision-in-an-envelope"),
        pytest.param(str(allowance()), id="a-decision-as-text"),
    ],
)
def test_what_is_no_object_with_allow_is_malformed(output):
    """Neither ``true`` nor an empty object is a yes."""
    with pytest.raises(DecisionMalformed):
        read_decision(output)


@pytest.mark.row("ATK-POL-01")
@pytest.mark.parametrize("member", MEMBERS)
def test_a_yes_lacks_nothing(member):
    """No member has a default: what a policy did not say, it did not decide."""
    document = allowance()
    del document[member]

    with pytest.raises(DecisionMalformed):
        read_decision(document)


@pytest.mark.row("ATK-POL-01")
@pytest.mark.parametrize(
    ("member", "value"),
    [
        pytest.param(member, value, id=f"{member}-{name}")
        for member in MEMBERS
        for name, value in JSON.items()
        if name not in FITTING[member]
    ],
)
def test_a_member_of_another_type_is_malformed(member, value):
    """A boolean is no number, a number no list, and nothing is converted."""
    with pytest.raises(DecisionMalformed):
        read_decision(allowance(**{member: value}))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        pytest.param(member, JSON[name], id=f"{member}-{name}")
        for member in MEMBERS
        for name in sorted(FITTING[member])
    ],
)
def test_a_member_of_its_type_is_read(member, value):
    """The twin of the test above: nothing else about these documents is wrong."""
    assert isinstance(read_decision(allowance(**{member: value})), Allowance)


@pytest.mark.row("ATK-POL-01")
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(allowance(admin=True), id="unknown-member"),
        pytest.param(refusal() | {"scopes": []}, id="unknown-member-of-a-no"),
        pytest.param({"allow": False}, id="a-no-without-reasons"),
        pytest.param({"allow": False, "reasons": []}, id="a-no-with-no-reason"),
        pytest.param({"allow": False, "reasons": None}, id="reasons-null"),
        pytest.param({"allow": False, "reasons": "policy.denied"}, id="reasons-text"),
        pytest.param({"allow": False, "reasons": [None]}, id="reason-null"),
        pytest.param({"allow": False, "reasons": [["policy.denied"]]}, id="reason-list"),
        pytest.param(refusal("my.own.reason"), id="unknown-reason"),
        pytest.param(refusal("policy.denied", "x"), id="one-known-one-unknown"),
        pytest.param(refusal("policy.unavailable"), id="a-reason-that-is-not-policy-s"),
        pytest.param(refusal("server.error"), id="a-reason-that-is-a-500"),
        pytest.param(refusal("policy.denied", "policy.denied"), id="reason-repeated"),
        pytest.param(refusal(*["policy.denied"] * (MAX_REASONS + 1)), id="too-many-reasons"),
        pytest.param(allowance(reasons=["policy.denied"]), id="a-yes-with-reasons"),
        pytest.param(allowance(allow="true"), id="allow-text"),
        pytest.param(allowance(mode="Delegation"), id="mode-case"),
        pytest.param(allowance(scopes=["a", "a"]), id="scope-repeated"),
        pytest.param(allowance(targets=["a", "a"]), id="target-repeated"),
        pytest.param(allowance(claims=["a", "a"]), id="claim-repeated"),
        pytest.param(allowance(claims=["a" * 1025]), id="name-too-long"),
        pytest.param(allowance(purpose="a" * 1025), id="purpose-too-long"),
        pytest.param(allowance(scopes=[str(n) for n in range(MAX_NAMES + 1)]), id="too-many"),
        pytest.param(allowance(derived=[{"scope": "a"}]), id="derived-without-from"),
        pytest.param(allowance(derived=[{"from": "a"}]), id="derived-without-scope"),
        pytest.param(
            allowance(derived=[{"scope": "a", "from": "b", "x": "c"}]), id="derived-with-more"
        ),
        pytest.param(allowance(derived=[{"scope": 1, "from": "b"}]), id="derived-scope-number"),
        pytest.param(allowance(derived=[{"scope": "a", "from": None}]), id="derived-from-null"),
        pytest.param(allowance(derived=[["a", "b"]]), id="derived-pair"),
        pytest.param(allowance(derived=[{"scope": "a", "from": "b"}] * 2), id="derived-repeated"),
        pytest.param(
            allowance(derived=[{"scope": str(n), "from": "b"} for n in range(MAX_NAMES + 1)]),
            id="too-many-derived",
        ),
    ],
)
def test_anything_beyond_the_schema_is_malformed(document):
    """Unknown, repeated and oversized are refused like missing."""
    with pytest.raises(DecisionMalformed):
        read_decision(document)


def test_the_text_of_the_error_holds_no_value():
    """It may be logged, and the document may hold anything."""
    with pytest.raises(DecisionMalformed) as malformed:
        read_decision(allowance(scopes=["secret-value", "secret-value"]))

    assert "scopes" == str(malformed.value)


@pytest.mark.parametrize("code", sorted(POLICY_REASONS))
def test_each_reason_of_a_policy_is_read(code):
    """A code and its reason are one word."""
    assert Refusal((Reason(code),)) == read_decision(refusal(code))


@pytest.mark.row("ATK-POL-01")
@given(json_values)
def test_any_json_is_a_decision_or_malformed(output):
    """Nothing else comes out, whatever goes in."""
    with pytest.raises(DecisionMalformed):
        read_decision(output)


@pytest.mark.row("ATK-POL-01")
@given(st.sampled_from(MEMBERS), json_values)
def test_any_value_of_a_member_is_read_as_it_is_or_malformed(member, value):
    """What is read is what was said: no value becomes another one."""
    document = allowance(**{member: value})
    try:
        decision = read_decision(document)
    except DecisionMalformed:
        return

    assert isinstance(decision, Allowance)
    if member not in {"allow", "reasons", "derived", "mode"}:
        said = getattr(decision, member)
        assert value == (list(said) if isinstance(said, tuple) else said)
