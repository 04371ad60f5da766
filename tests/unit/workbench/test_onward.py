"""What a permit would become is what it becomes: minted, signed, verified, and presented again."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from broker.domain import Permit, Principal
from broker.minting.claims import build_claims
from broker.policy.floor import judge
from broker.policy.input import build_input
from broker.settings import Settings
from broker.workbench.onward import token_of
from broker.workbench.question import Question, SupposedToken
from broker.workbench.suppose import find_client, suppose
from tests.builders import NOW
from tests.configuration import BROKER_ISSUER, document
from tests.decisions import allowance, evaluation
from tests.jwts import ACTS, jwt
from tests.verification import ANCESTOR, ANCESTORS_KEY, OWN_KEY, subject

B, ROBOT = Principal(BROKER_ISSUER, "svc-c"), Principal(ACTS, "robot")


SETTINGS = Settings.model_validate(document())


def permit_of(token: SupposedToken, **decided: Any) -> Permit:
    """What is permitted to ``svc-a`` with this token, at ``svc-mail``."""
    asked = Question("svc-a", token, NOW, audiences=("svc-mail",), scopes=("orders.read",))
    answer = allowance(targets=["svc-mail"], **decided)
    found = judge(suppose(asked, SETTINGS), evaluation(answer), ceiling=8)
    assert isinstance(found, Permit), found
    return found


@given(
    issuer=st.sampled_from(["idp", "other", "acts"]),
    chain=st.sampled_from([(), (B,), (ROBOT, B)]),
    max_depth=st.sampled_from([4, 8]),
    mode=st.sampled_from(["delegation", "impersonation"]),
    claims=st.sampled_from([{}, {"email": "a@b"}, {"groups": ["staff"], "acr": "mfa"}]),
    life=st.integers(60, 4000),
    age=st.integers(0, 30),
)
def test_the_token_that_comes_out_is_the_one_that_is_presented_next(
    issuer: str,
    chain: tuple[Principal, ...],
    max_depth: int,
    mode: str,
    claims: dict[str, Any],
    life: int,
    age: int,
) -> None:
    """The next policy input is the same to the last member, whichever way it was made."""
    first = SupposedToken(
        issuer,
        "alice",
        frozenset({"orders.read"}),
        chain=chain,
        depth=len(chain),
        life=timedelta(seconds=life),
        claims=claims,
    )
    carried = ["email", "groups", "acr"]
    permit = permit_of(first, mode=mode, max_depth=max_depth, claims=carried)
    later = NOW + timedelta(seconds=age)
    supposed = suppose(
        Question("svc-mail", token_of(permit, timedelta(seconds=age)), later, audiences=("svc-b",)),
        SETTINGS,
    )

    body = build_claims(permit, issuer=BROKER_ISSUER, id="token-1", now=NOW)
    # What it descends from was never signed, so it has no names.
    body |= {"lineage": [ANCESTOR], "lineage_keys": [ANCESTORS_KEY]}
    token = jwt(body, key=OWN_KEY, header={"typ": "at+jwt"})
    declared = supposed.subject.token_type
    presenter = find_client("svc-mail", SETTINGS)
    verified = asyncio.run(subject(token, presenter, declared=declared, now=later))

    assert build_input(replace(supposed, subject=verified)) == build_input(supposed)
    for member in ("principal", "asserted_by", "chain", "may_act", "delegation_depth",
                   "max_delegation_depth", "scopeless", "audiences", "expires_at"):  # fmt: skip
        assert getattr(verified, member) == getattr(supposed.subject, member), member
