"""Invariants 6 and 9 at the door: whose token may be presented by whom, and who it speaks of."""

import asyncio
from datetime import UTC, datetime
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain import Client, Principal, VerifiedToken
from broker.errors import Reason, VerificationRejected
from broker.tokens.delegation import delegate
from broker.tokens.verify import TokenVerifier
from tests.builders import client, token_exchange_request, verified_token
from tests.jwts import ABSENT, ACTS, BROKER_ISSUER, IDP, KEEP, OTHER, subject_jwt
from tests.verification import verifier

FEW = settings(max_examples=60, deadline=None)

AUDIENCES = (
    "svc-a",
    "svc-b",
    "svc-uri",
    "https://uri.test/",
    "https://svc-b.test/",
    "known-app",
    BROKER_ISSUER,
    f"{BROKER_ISSUER}/",
    "svc-A",
    "svc-a ",
    "https://elsewhere.test/",
)
# What names each of them, by the configuration of the tests.
NAMES = {
    "svc-a": {"svc-a", BROKER_ISSUER},
    "svc-b": {"svc-b", "https://svc-b.test/", BROKER_ISSUER},
    "svc-default": {"svc-default", BROKER_ISSUER},
}


@cache
def the_verifier() -> TokenVerifier:
    return verifier()


def verify(token: str, using: Client) -> VerifiedToken | Reason:
    request = token_exchange_request(unverified_subject_token=token)
    try:
        return asyncio.run(the_verifier().verify_subject(request, using, now=datetime.now(UTC)))
    except VerificationRejected as rejected:
        return rejected.reason


@pytest.mark.row("INV-6", "TX-2.1-24", "ATK-AUD-01")
@FEW
@given(
    st.sampled_from(sorted(NAMES)),
    st.lists(st.sampled_from(AUDIENCES), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_token_is_taken_from_whom_it_was_meant_for(name: str, audiences: list[str], single: bool):
    """Invariant 6: by exact names of the client, its targets or this broker; nobody else's."""
    aud = audiences[0] if single else audiences
    meant = not NAMES[name].isdisjoint([aud] if isinstance(aud, str) else aud)

    answer = verify(subject_jwt(aud=aud), client(name))

    assert meant == isinstance(answer, VerifiedToken)
    assert meant or answer is Reason.SUBJECT_TOKEN_AUDIENCE_MISMATCH


@pytest.mark.row("INV-6", "TX-4.4-01", "TX-4.4-02", "TX-4.4-06")
@FEW
@given(
    st.sampled_from(["svc-a", "svc-b", "https://elsewhere.test/"]),
    st.none()
    | st.builds(
        Principal, st.sampled_from([BROKER_ISSUER, ACTS, IDP]), st.sampled_from(["svc-a", "svc-b"])
    ),
)
def test_may_act_admits_and_restricts(aud: str, may_act: Principal | None):
    """Invariant 6: naming the client it stands in for ``aud``; naming another it shuts out."""
    using = client("svc-a")
    token = subject_jwt(
        iss=ACTS,
        aud=aud,
        may_act=ABSENT if may_act is None else {"iss": may_act.issuer, "sub": may_act.subject},
    )

    answer = verify(token, using)

    if may_act == using.principal:
        assert isinstance(answer, VerifiedToken)
        assert delegate(answer, None, using, ceiling=8).acting == using.principal
    elif aud != "svc-a":
        assert answer is Reason.SUBJECT_TOKEN_AUDIENCE_MISMATCH
    else:
        assert isinstance(answer, VerifiedToken)
        assert may_act == answer.may_act  # and ``delegate`` refuses everybody but that one


@pytest.mark.row("INV-9", "ATK-ISS-03", "AT-2.2-02")
@FEW
@given(
    st.tuples(
        st.sampled_from([IDP, OTHER, KEEP]), st.sampled_from(["alice", "idp:alice", ":", "é"])
    ),
    st.tuples(
        st.sampled_from([IDP, OTHER, KEEP]), st.sampled_from(["alice", "idp:alice", ":", "é"])
    ),
)
def test_two_subjects_are_never_one(one: tuple[str, str], other: tuple[str, str]):
    """Invariant 9: another pair has another ``sub`` under our issuer, or is refused."""
    answers = [verify(subject_jwt(iss=iss, sub=sub), client()) for iss, sub in (one, other)]
    first, second = answers
    if not isinstance(first, VerifiedToken) or not isinstance(second, VerifiedToken):
        assert Reason.SUBJECT_TOKEN_CLAIM_INVALID in answers
        assert KEEP in {one[0], other[0]}
        return

    assert [Principal(*one), Principal(*other)] == [first.principal, second.principal]
    assert (one == other) == (first.local_subject == second.local_subject)


@pytest.mark.row("INV-9", "INV-5", "TX-4.1-11", "ATK-ISS-03")
@FEW
@given(
    st.sampled_from([IDP, OTHER, BROKER_ISSUER]),
    st.lists(st.sampled_from([IDP, OTHER, BROKER_ISSUER]), max_size=2),
)
def test_a_namesake_is_somebody_else(issuer: str, issuers: list[str]):
    """Invariants 5 and 9: loop and self are judged by the pair, never by ``sub`` alone."""
    chain = tuple(Principal(each, "svc-a") for each in issuers)
    subject = verified_token(principal=Principal(issuer, "svc-a"), chain=chain)
    using = client("svc-a")

    delegation = delegate(subject, None, using, ceiling=8)

    current = chain[0] if chain else subject.principal
    itself = current == using.principal
    assert itself == (delegation.chain == chain)
    assert delegation.reenters == (not itself and using.principal in {subject.principal, *chain})
