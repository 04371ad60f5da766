"""A supposed token is refused as the same token, signed, would be by the verifier."""

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from broker.clients.registry import build_client
from broker.domain import Client, Principal
from broker.errors import VerificationRejected
from broker.oauth import TokenType
from broker.settings import Settings
from broker.workbench.presented import find_refusal
from broker.workbench.question import Question, SupposedToken
from tests.builders import NOW
from tests.configuration import BROKER_ISSUER, document
from tests.jwts import ABSENT, ACTS, IDP, KEEP, SCOPELESS, STRICT, actor_jwt, subject_jwt
from tests.verification import actor, own_jwt, subject

ALICE = SupposedToken("idp", "alice", frozenset({"orders.read"}))
OURS = replace(ALICE, exchanged=True, client_id="svc-a", audiences=("svc-b",), depth=1)
BATCH = SupposedToken("idp", "batch", audiences=(BROKER_ISSUER,), client_id="svc-a")
B = Principal(BROKER_ISSUER, "svc-b")
ACT = {"iss": BROKER_ISSUER, "sub": "svc-b"}
HOURS = 3600


@pytest.fixture(scope="module")
def settings() -> Settings:
    """The configuration of the acceptance tests."""
    return Settings.model_validate(document())


def _client(settings: Settings, name: str) -> Client:
    found = next(each for each in settings.clients if each.id == name)
    return build_client(found, settings.issuer)


async def _said(verification: Any) -> str | None:
    try:
        await verification
    except VerificationRejected as rejected:
        return rejected.reason.value
    return None


def _ago(seconds: float) -> int:
    return int(time.time() - seconds)


# What is supposed, and the claims of the token that says the same.
SUBJECTS = {
    "as usual": ("svc-a", ALICE, {}),
    "meant for another": ("svc-a", replace(ALICE, audiences=("svc-b",)), {"aud": "svc-b"}),
    "meant for the broker": (
        "svc-a",
        replace(ALICE, audiences=(BROKER_ISSUER,)),
        {"aud": BROKER_ISSUER},
    ),
    "meant for it by another name": (
        "svc-known",
        replace(ALICE, audiences=("known-app",)),
        {"aud": "known-app"},
    ),
    "of an issuer that is not for it": (
        "svc-b",
        replace(ALICE, issuer="strict", claims={"tenant": "t"}),
        {"iss": STRICT, "aud": "svc-b", "tenant": "t"},
    ),
    "without a claim that is required": (
        "svc-a",
        replace(ALICE, issuer="strict"),
        {"iss": STRICT},
    ),
    "older than its issuer allows": (
        "svc-a",
        replace(ALICE, issuer="strict", claims={"tenant": "t"}, age=timedelta(hours=2)),
        {"iss": STRICT, "tenant": "t", "iat": _ago(2 * HOURS)},
    ),
    "with actors that are not believed": (
        "svc-a",
        replace(ALICE, chain=(B,), depth=1),
        {"act": ACT},
    ),
    "with actors that are": (
        "svc-a",
        replace(ALICE, issuer="acts", chain=(B,), depth=1),
        {"iss": ACTS, "act": ACT},
    ),
    "that names who may act and is not believed": (
        "svc-a",
        replace(ALICE, may_act=B),
        {"may_act": ACT},
    ),
    "for whom may act": (
        "svc-b",
        replace(ALICE, issuer="acts", may_act=B, audiences=("svc-a",)),
        {"iss": ACTS, "may_act": ACT, "aud": "svc-a"},
    ),
    "with a limit that is not believed": (
        "svc-a",
        replace(ALICE, max_depth=2),
        {"max_delegation_depth": 2},
    ),
    "of nobody's type": (
        "svc-a",
        replace(ALICE, exchanged=True, token_type=TokenType.ID_TOKEN),
        None,
    ),
    "whose subject is a client": (
        "svc-a",
        replace(ALICE, issuer="keep", subject="svc-b"),
        {"iss": KEEP, "sub": "svc-b"},
    ),
    "whose kept name looks prefixed": (
        "svc-a",
        replace(ALICE, issuer="keep", subject="idp:alice"),
        {"iss": KEEP, "sub": "idp:alice"},
    ),
    "of an identity": ("svc-a", replace(ALICE, issuer="scopeless"), {"iss": SCOPELESS}),
}


@pytest.mark.parametrize(("name", "supposed", "claims"), SUBJECTS.values(), ids=SUBJECTS)
def test_a_subject_token_is_judged_as_the_verifier_judges_it(
    settings: Settings, name: str, supposed: SupposedToken, claims: dict[str, Any] | None
) -> None:
    """The same reason for both, or none."""
    client = _client(settings, name)
    if claims is None:
        said = asyncio.run(_said(subject(own_jwt(aud=name), client, declared=supposed.token_type)))
    else:
        token = subject_jwt(**{"aud": name} | claims)
        said = asyncio.run(_said(subject(token, client, declared=supposed.token_type)))

    refused = find_refusal(Question(name, supposed, NOW), settings)

    assert said == (None if refused is None else refused.reason.value)


@pytest.mark.parametrize("name", ["svc-a", "svc-b", "svc-c"])
def test_a_token_of_ours_is_for_the_target_that_its_presenter_is(
    settings: Settings, name: str
) -> None:
    """Whoever else got hold of it has no use of it."""
    said = asyncio.run(_said(subject(own_jwt(), _client(settings, name))))

    refused = find_refusal(Question(name, OURS, NOW), settings)

    assert said == (None if refused is None else refused.reason.value)
    assert (said is None) == (name == "svc-b")


ACTORS = {
    "as usual": (BATCH, {}),
    "not for this broker": (replace(BATCH, audiences=("svc-a",)), {"aud": "svc-a"}),
    "of another client": (replace(BATCH, client_id="svc-b"), {"azp": "svc-b"}),
    "of nobody": (replace(BATCH, client_id=None), {"azp": ABSENT}),
    "with a chain": (replace(BATCH, issuer="acts", chain=(B,), depth=1), {"iss": ACTS, "act": ACT}),
}


@pytest.mark.parametrize(("supposed", "claims"), ACTORS.values(), ids=ACTORS)
def test_an_actor_token_is_judged_as_the_verifier_judges_it(
    settings: Settings, supposed: SupposedToken, claims: dict[str, Any]
) -> None:
    """The same reason for both, or none."""
    said = asyncio.run(_said(actor(actor_jwt(**claims), _client(settings, "svc-a"))))

    refused = find_refusal(Question("svc-a", ALICE, NOW, actor=supposed), settings)

    assert said == (None if refused is None else refused.reason.value)


@pytest.mark.parametrize("life", [0, -5])
def test_an_end_is_an_end(settings: Settings, life: int) -> None:
    """No leeway lengthens a life."""
    supposed = replace(ALICE, life=timedelta(seconds=life))
    token = subject_jwt(iat=_ago(60), exp=_ago(-life))
    said = asyncio.run(_said(subject(token, _client(settings, "svc-a"))))

    refused = find_refusal(Question("svc-a", supposed, NOW), settings)

    assert refused is not None
    assert said == refused.reason.value == "subject_token.expired"


def test_every_issuer_of_the_cases_is_configured() -> None:
    """A case about an issuer that is not there would prove nothing."""
    assert {IDP, ACTS, KEEP, STRICT, SCOPELESS} <= {
        each["issuer"] for each in document()["issuers"]
    }
