"""Attack: present a token that was sent to somebody else. RFC 8725 §3.9, invariant 6."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain import Principal
from broker.errors import VerificationRejected
from tests.builders import client
from tests.configuration import document
from tests.jwts import ACTS, BROKER_ISSUER, IDP, actor_jwt, subject_jwt
from tests.verification import actor, known_client, refusal, refused, subject, verifier

MISMATCH = "subject_token.audience_mismatch"


async def accepted(token: str, presenter=None, **options) -> bool:
    """Whether a subject token is accepted; if not, then for its audience alone."""
    try:
        await subject(token, presenter, **options)
    except VerificationRejected as rejected:
        assert MISMATCH == rejected.reason
        return False
    return True


@pytest.mark.row("TX-2.1-24", "ATK-AUD-01", "GHSA-xqxv-4jc2-x56x", "INV-6")
@pytest.mark.parametrize(
    ("aud", "good"),
    [
        pytest.param("svc-a", True, id="the-clients-id"),
        pytest.param(["svc-a"], True, id="in-an-array"),
        pytest.param(["svc-c", "svc-a"], True, id="among-others"),
        pytest.param(BROKER_ISSUER, True, id="this-broker"),
        pytest.param(["x", BROKER_ISSUER], True, id="this-broker-among-others"),
        pytest.param([f"x{number}" for number in range(900)] + ["svc-a"], True, id="among-900"),
        pytest.param("svc-b", False, id="another-client"),
        pytest.param("svc-c", False, id="another-target"),
        pytest.param("SVC-A", False, id="upper-case"),
        pytest.param("svc-", False, id="prefix"),
        pytest.param("svc-a2", False, id="suffix"),
        pytest.param("xsvc-a", False, id="with-something-before"),
        pytest.param(" svc-a", False, id="space-before"),
        pytest.param("svc-a ", False, id="space-behind"),
        pytest.param("svc-a\n", False, id="newline"),
        pytest.param("svc-a svc-b", False, id="two-in-one-string"),
        pytest.param("svc-a,svc-b", False, id="two-with-a-comma"),
        pytest.param("svc\u2010a", False, id="homograph"),
        pytest.param("s\u200bvc-a", False, id="zero-width"),
        pytest.param("*", False, id="wildcard"),
        pytest.param(["*", "svc-*"], False, id="wildcards"),
        pytest.param(f"{BROKER_ISSUER}/", False, id="this-broker-with-a-slash"),
        pytest.param(BROKER_ISSUER.upper(), False, id="this-broker-in-upper-case"),
        pytest.param(f"{BROKER_ISSUER}:443", False, id="this-broker-with-its-port"),
        pytest.param(f"{BROKER_ISSUER}/token", False, id="our-token-endpoint"),
        pytest.param(BROKER_ISSUER.removeprefix("https://"), False, id="our-host"),
        pytest.param(IDP, False, id="its-own-issuer"),
    ],
)
async def test_the_audience_is_compared_exactly(aud, good):
    """TX-2.1-24: the client's id, or this broker; nothing is trimmed, folded or split."""
    assert good == await accepted(subject_jwt(aud=aud))


@pytest.mark.row("TX-2.1-24", "INV-6")
async def test_a_client_is_each_name_of_the_targets_that_it_is():
    """TX-2.1-24: name, ``audience`` and ``resources`` of its ``targets``, and of no others."""
    clients = [
        {"id": "front", "secrets": [f"sha256:{'a' * 64}"], "targets": ["svc-uri"]},
        {"id": "svc-a", "secrets": [f"sha256:{'b' * 64}"], "targets": ["svc-a"]},
    ]
    targets = [
        {"name": "svc-uri", "audience": "https://uri.test/", "resources": ["https://uri.test/r"]},
        {"name": "svc-a"},
    ]
    issuers = [{**_idp(), "clients": ["*"]}]
    using = verifier(clients=clients, targets=targets, issuers=issuers)
    names = ("front", "svc-uri", "https://uri.test/", "https://uri.test/r")

    for aud in names:
        token = subject_jwt(aud=aud)
        assert await accepted(token, client("front"), verifier=using)
        assert not await accepted(token, client("svc-a"), verifier=using)


def _idp() -> dict:
    return next(issuer for issuer in document()["issuers"] if issuer["issuer"] == IDP)


@pytest.mark.row("TX-2.1-24", "INV-6", "INV-9")
async def test_what_one_issuer_calls_a_client_is_its_name_there_only():
    """Invariant 9: ``known-app`` of the identity provider, and nobody at another issuer."""
    here = subject_jwt(aud="known-app")
    elsewhere = subject_jwt(iss=ACTS, aud="known-app")

    assert await accepted(here, known_client())
    assert not await accepted(elsewhere, known_client())
    assert not await accepted(here)


@pytest.mark.row("TX-2.1-24", "INV-6")
@pytest.mark.parametrize(
    ("audiences", "aud", "good"),
    [
        (["api://broker"], "api://broker", True),
        (["api://broker"], "api://broker/", False),
        (["api://broker"], BROKER_ISSUER, True),
        ([], "api://broker", False),
    ],
)
async def test_an_issuer_may_have_another_name_for_this_broker(audiences, aud, good):
    """Design §5: ``audiences``, beside our own issuer, for its tokens alone."""
    using = verifier(rules={IDP: {"audiences": audiences}})

    assert good == await accepted(subject_jwt(aud=aud), verifier=using)
    assert (aud == BROKER_ISSUER) == await accepted(subject_jwt(iss=ACTS, aud=aud), verifier=using)


@pytest.mark.row("TX-2.1-10", "ATK-AUD-01")
@pytest.mark.parametrize(
    ("aud", "good"),
    [
        (BROKER_ISSUER, True),
        ([BROKER_ISSUER, "svc-b"], True),
        ("svc-a", False),
        ("svc-b", False),
        (f"{BROKER_ISSUER}/", False),
        (f"{BROKER_ISSUER}/token", False),
    ],
)
async def test_an_actor_token_is_made_for_this_broker(aud, good):
    """TX-2.1-10: a token that the client received is no proof that it is the actor."""
    token = actor_jwt(aud=aud)

    if good:
        assert "batch" == (await actor(token)).principal.subject
    else:
        assert "actor_token.audience_mismatch" == await refused(actor(token))


@pytest.mark.row("TX-2.1-10", "CVE-2026-82462", "GHSA-xqxv-4jc2-x56x")
@pytest.mark.parametrize(
    ("claims", "good"),
    [
        pytest.param({"azp": "svc-a"}, True, id="azp"),
        pytest.param({"azp": None, "client_id": "svc-a"}, True, id="client_id"),
        pytest.param({"sub": "svc-a", "azp": "svc-b"}, False, id="sub-alone"),
        pytest.param({"azp": "svc-b"}, False, id="another-clients"),
        pytest.param({"azp": "SVC-A"}, False, id="upper-case"),
        pytest.param({"azp": "svc-a "}, False, id="space"),
        pytest.param({"azp": ""}, False, id="empty"),
    ],
)
async def test_an_actor_token_belongs_to_its_presenter(claims, good):
    """TX-2.1-10: by ``client_id`` or ``azp``; a foreign ``sub`` of the same name is not it."""
    token = actor_jwt(**{name: value for name, value in claims.items() if value is not None})
    outcome = None if good else await refused(actor(token))

    expected = {None} if good else {"actor_token.not_of_client", "actor_token.claim_invalid"}
    assert outcome in expected


@pytest.mark.row("TX-2.1-10", "TX-2.1-24", "INV-9")
async def test_a_workload_s_own_token_is_its_actor_token():
    """``known_as``: the pair of issuer and subject is the client, and no other pair is."""
    known = client("svc-known", known_as=frozenset({Principal(IDP, "known-app")}))
    own = actor_jwt(sub="known-app", azp="x")
    elsewhere = actor_jwt(iss=ACTS, sub="known-app", azp="x")

    assert Principal(IDP, "known-app") == (await actor(own, known)).principal
    assert "actor_token.not_of_client" == await refused(actor(elsewhere, known))
    assert "actor_token.not_of_client" == await refused(actor(own))


audiences = st.lists(
    st.sampled_from(["svc-a", "svc-b", "SVC-A", "svc-a ", "known-app", BROKER_ISSUER, IDP, "*"])
    | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8),
    min_size=1,
    max_size=5,
)
may_acts = st.none() | st.builds(
    lambda iss, sub: {"iss": iss, "sub": sub},
    st.sampled_from([BROKER_ISSUER, ACTS, IDP]),
    st.sampled_from(["svc-a", "svc-b", "known-app"]),
)


@pytest.mark.row("INV-6", "TX-2.1-24", "TX-4.4-06")
@settings(max_examples=150, deadline=None)
@given(aud=audiences, may_act=may_acts, known=st.booleans())
def test_no_token_is_accepted_that_was_not_meant_for_the_caller(aud, may_act, known):
    """Invariant 6: against the rule itself, for tokens of an issuer that may assert ``may_act``."""
    presenter = client("svc-known", known_as=frozenset({Principal(ACTS, "known-app")}))
    presenter = presenter if known else client()
    names = {"svc-known", "known-app"} if known else {"svc-a"}
    named = may_act is not None and (may_act["iss"], may_act["sub"]) in (
        {(BROKER_ISSUER, presenter.id)} | ({(ACTS, "known-app")} if known else set())
    )
    claims = {} if may_act is None else {"may_act": may_act}
    verification = subject(subject_jwt(iss=ACTS, aud=aud, **claims), presenter)

    if named or not set(aud).isdisjoint(names | {BROKER_ISSUER}):
        assert set(aud) == set(asyncio.run(verification).audiences)
    else:
        assert MISMATCH == refusal(verification)
