"""How two decisions differ: each way by its name, and nothing that is the same on both sides."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.domain import Deny
from broker.oauth import Mode
from broker.policy.difference import (
    Kind,
    Terms,
    compare_outputs,
    find_differences,
    read_terms,
    terms_of,
)
from broker.policy.floor import judge
from tests.builders import exchange, target, verified_token
from tests.decisions import allowance, evaluation, permit, refusal

NAMES = st.frozensets(st.sampled_from(["a", "b", "c"]))
PERMITS = st.builds(
    Terms,
    targets=NAMES,
    scopes=NAMES,
    lifetime=st.integers(1, 3),
    reuse=st.integers(0, 2),
    max_depth=st.integers(1, 3),
    mode=st.sampled_from(Mode),
    reentry=st.booleans(),
    purpose=st.sampled_from([None, "audit"]),
    claims=NAMES,
    obligations=NAMES,
)
DOCUMENTS = st.one_of(
    st.none(),
    st.just("unreadable"),
    st.builds(refusal, st.sampled_from(["policy.denied", "delegation.loop"])),
    st.builds(
        lambda scopes, lifetime: allowance(scopes=sorted(scopes), lifetime=lifetime),
        NAMES,
        st.integers(0, 3),  # 0 is malformed
    ),
)
# What is more of something, by what is less of it.
OPPOSITES = {
    Kind.WIDER_SCOPES: Kind.NARROWER_SCOPES,
    Kind.MORE_TARGETS: Kind.FEWER_TARGETS,
    Kind.LONGER_LIFE: Kind.SHORTER_LIFE,
    Kind.LONGER_REUSE: Kind.SHORTER_REUSE,
    Kind.DEEPER: Kind.SHALLOWER,
    Kind.REENTRY: Kind.NO_REENTRY,
    Kind.MORE_CLAIMS: Kind.FEWER_CLAIMS,
    Kind.MORE_OBLIGATIONS: Kind.FEWER_OBLIGATIONS,
    Kind.IMPERSONATION: Kind.DELEGATION,
}


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        pytest.param(refusal(), allowance(), {Kind.PERMITTED}, id="permitted"),
        pytest.param(allowance(), refusal(), {Kind.REFUSED}, id="refused"),
        pytest.param(allowance(), None, {Kind.FAILED}, id="undefined"),
        pytest.param(allowance(), {"allow": "yes"}, {Kind.FAILED}, id="malformed"),
        pytest.param(refusal(), refusal("delegation.loop"), {Kind.REASON}, id="another-reason"),
        pytest.param(refusal(), None, {Kind.REASON}, id="refused-by-fault"),
        pytest.param(
            allowance(),
            allowance(scopes=["orders.read", "orders.write"]),
            {Kind.WIDER_SCOPES},
            id="wider",
        ),
        pytest.param(
            allowance(scopes=["a", "b"]),
            allowance(scopes=["a"]),
            {Kind.NARROWER_SCOPES},
            id="narrower",
        ),
        pytest.param(
            allowance(scopes=["a"]),
            allowance(scopes=["b"]),
            {Kind.WIDER_SCOPES, Kind.NARROWER_SCOPES},
            id="another-scope-is-both",
        ),
        pytest.param(allowance(), allowance(lifetime=121), {Kind.LONGER_LIFE}, id="longer"),
        pytest.param(allowance(), allowance(lifetime=119), {Kind.SHORTER_LIFE}, id="shorter"),
        pytest.param(allowance(), allowance(reuse=5), {Kind.LONGER_REUSE}, id="reused"),
        pytest.param(allowance(), allowance(max_depth=4), {Kind.DEEPER}, id="deeper"),
        pytest.param(allowance(), allowance(reentry=True), {Kind.REENTRY}, id="reentry"),
        pytest.param(allowance(), allowance(claims=["email"]), {Kind.MORE_CLAIMS}, id="claims"),
        pytest.param(
            allowance(obligations=["alert"]), allowance(), {Kind.FEWER_OBLIGATIONS}, id="unwatched"
        ),
        pytest.param(allowance(), allowance(mode="impersonation"), {Kind.IMPERSONATION}, id="mode"),
        pytest.param(allowance(), allowance(purpose="audit"), {Kind.PURPOSE}, id="purpose"),
        pytest.param(
            allowance(),
            allowance(derived=[{"scope": "orders.read", "from": "identity"}]),
            {Kind.DERIVATION},
            id="derivation",
        ),
        pytest.param(
            allowance(scopes=["a"]),
            allowance(scopes=["a", "b"], derived=[{"scope": "b", "from": "a"}]),
            {Kind.WIDER_SCOPES},
            id="what-is-new-is-not-derived-otherwise",
        ),
    ],
)
def test_each_difference_has_its_kind(before, after, kinds):
    """Two documents that differ in one thing differ by exactly the kind of it."""
    assert kinds == compare_outputs(before, after)


@given(DOCUMENTS)
def test_a_decision_does_not_differ_from_itself(document):
    """Nothing is counted that is the same on both sides, whatever it is."""
    assert frozenset() == compare_outputs(document, document)


@given(PERMITS, PERMITS)
def test_what_is_more_one_way_is_less_the_other_way(before, after):
    """Seen from the other side, a widening is a narrowing and the reverse."""
    there, back = find_differences(before, after), find_differences(after, before)

    for more, less in OPPOSITES.items():
        assert (more in there) == (less in back)
        assert (less in there) == (more in back)


@given(PERMITS, PERMITS)
def test_nothing_that_gives_more_is_without_a_widening(before, after):
    """The safe side: whoever gets anything more, by any member, is counted as widening."""
    grows = (
        not after.targets <= before.targets
        or not after.scopes <= before.scopes
        or not after.claims <= before.claims
        or not before.obligations <= after.obligations
        or after.lifetime > before.lifetime
        or after.reuse > before.reuse
        or after.max_depth > before.max_depth
        or after.reentry > before.reentry
        or (after.mode is Mode.IMPERSONATION) > (before.mode is Mode.IMPERSONATION)
    )

    assert grows == any(kind.widens for kind in find_differences(before, after))


def test_a_judged_decision_lives_no_longer_than_its_tokens():
    """The terms of a permit are those of the token: a longer grant on a short token is the same."""
    asked = exchange(
        targets=(target(max_lifetime=timedelta(hours=1)),),
        subject=verified_token(expires_at=exchange().at + timedelta(seconds=60)),
    )

    assert 60 == terms_of(permit(asked, lifetime=120)).lifetime
    assert frozenset() == find_differences(
        terms_of(permit(asked, lifetime=120)), terms_of(permit(asked, lifetime=600))
    )


def test_a_permit_and_its_document_have_the_same_terms():
    """Where no token ends earlier, judged or not is the same to a comparison."""
    assert read_terms(allowance()) == terms_of(permit())


def test_a_decision_that_breaks_an_invariant_is_a_fault_and_no_refusal():
    """What the floor refuses is the policy's error, whatever it meant to give."""
    denied = judge(exchange(), evaluation(allowance(scopes=["root"])), ceiling=8)
    assert isinstance(denied, Deny)

    assert {Kind.FAILED} == find_differences(terms_of(permit()), terms_of(denied))
    assert not any(kind.widens for kind in find_differences(terms_of(permit()), terms_of(denied)))


def test_every_kind_is_of_one_sort():
    """What breaks somebody does not widen anything; both are closed sets."""
    assert not [kind for kind in Kind if kind.widens and kind.breaks]
    assert {Kind.REFUSED, Kind.FAILED} == {kind for kind in Kind if kind.breaks}
