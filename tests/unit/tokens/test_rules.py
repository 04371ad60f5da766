"""What each rule of an issuer does to its tokens. Design §5, ``issuers[]``."""

import base64
import hashlib
from datetime import UTC, datetime

import pytest

from broker.blocklist.lineage import key_entry
from broker.errors import VerificationRejected
from tests.builders import client
from tests.jwts import (
    ABSENT,
    ACTS,
    BROKER_ISSUER,
    IDP,
    KEEP,
    KEYS,
    ONCE,
    SCOPELESS,
    STRICT,
    actor_jwt,
    public_jwk,
    subject_jwt,
)
from tests.verification import actor, known_client, own_jwt, refused, subject, verifier

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
AT = int(NOW.timestamp())


def aged(seconds: float, **claims) -> str:
    """A token issued that long before ``NOW``."""
    return subject_jwt(iat=AT - seconds, exp=AT + 600, **claims)


async def outcome(token: str, presenter=None, **options) -> str:
    """``accepted``, or the second part of the reason."""
    try:
        await subject(token, presenter, **options)
    except VerificationRejected as rejected:
        return rejected.reason.partition(".")[2]
    return "accepted"


@pytest.mark.row("TX-2.1-31")
@pytest.mark.parametrize(
    ("rules", "age", "expected"),
    [
        ({"max_age": "1h"}, 3600, "accepted"),
        ({"max_age": "1h"}, 3630, "accepted"),
        ({"max_age": "1h"}, 3631, "too_old"),
        ({"max_age": "1h", "leeway": "0s"}, 3600, "accepted"),
        ({"max_age": "1h", "leeway": "0s"}, 3601, "too_old"),
        ({"max_age": "1s", "leeway": "0s"}, 2, "too_old"),
        ({}, 86_430, "accepted"),
        ({}, 86_431, "too_old"),
        ({"max_age": "30d"}, 29 * 86_400, "accepted"),
    ],
)
async def test_max_age_is_by_iat_however_late_it_expires(rules, age, expected):
    """TX-2.1-31: within the leeway, for clocks differ at that end too."""
    assert expected == await outcome(aged(age), verifier=verifier(rules={IDP: rules}), now=NOW)


@pytest.mark.row("TX-2.1-31", "JW-16")
@pytest.mark.parametrize(
    ("leeway", "claim", "ahead", "expected"),
    [
        ("0s", "iat", 0, "accepted"),
        ("0s", "iat", 1, "not_yet_valid"),
        ("0s", "nbf", 0, "accepted"),
        ("0s", "nbf", 1, "not_yet_valid"),
        ("10s", "iat", 10, "accepted"),
        ("10s", "iat", 11, "not_yet_valid"),
        ("60s", "nbf", 60, "accepted"),
        ("60s", "nbf", 61, "not_yet_valid"),
        ("60s", "exp", 1, "accepted"),
        ("60s", "exp", 0, "expired"),
        ("60s", "exp", -1, "expired"),
    ],
)
async def test_leeway_serves_iat_and_nbf_and_never_exp(leeway, claim, ahead, expected):
    """Invariant 2: what is issued lives no longer than the token it came from."""
    claims = {"iat": AT - 5, "exp": AT + 600} | {claim: AT + ahead}
    using = verifier(rules={IDP: {"leeway": leeway}})

    assert expected == await outcome(subject_jwt(**claims), verifier=using, now=NOW)


@pytest.mark.row("TX-2.1-31")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("t", "accepted", id="text"),
        pytest.param(0, "accepted", id="zero-is-a-value"),
        pytest.param(False, "accepted", id="false-is-a-value"),
        pytest.param([0], "accepted", id="array"),
        pytest.param(ABSENT, "claim_missing", id="absent"),
        pytest.param(None, "claim_missing", id="null"),
        pytest.param("", "claim_missing", id="empty"),
        pytest.param([], "claim_missing", id="empty-array"),
        pytest.param({}, "claim_missing", id="empty-object"),
    ],
)
async def test_require_wants_a_value(value, expected):
    """TX-2.1-31: missing, null and empty are one."""
    assert expected == await outcome(subject_jwt(iss=STRICT, tenant=value))


@pytest.mark.row("TX-2.1-31", "TX-2.1-18")
@pytest.mark.parametrize("jti", [ABSENT, None, ""])
async def test_what_is_used_once_has_a_jti(jti):
    """Design §5: whether ``require`` says so or not."""
    using = verifier(rules={ONCE: {"require": []}})

    assert "claim_missing" == await outcome(subject_jwt(iss=ONCE, jti=jti), verifier=using)
    assert (await subject(subject_jwt(iss=ONCE), verifier=using)).one_time
    assert not (await subject(subject_jwt())).one_time


SCOPES = [
    pytest.param("orders.read", {"orders.read"}, id="one"),
    pytest.param("orders.read orders.write", {"orders.read", "orders.write"}, id="two"),
    pytest.param("a a", {"a"}, id="repeated"),
    pytest.param(" a  b ", {"a", "b"}, id="more-spaces"),
    pytest.param("", set(), id="empty"),
    pytest.param([], set(), id="empty-array"),
    pytest.param(["a", "b"], {"a", "b"}, id="array"),
    pytest.param(["a b"], set(), id="a-member-with-a-space-is-no-scope"),
    pytest.param(["", "a"], {"a"}, id="an-empty-member-is-no-scope"),
    pytest.param("a\tb", set(), id="a-tab-is-no-separator"),
    pytest.param("a\u00a0b", set(), id="nor-is-a-no-break-space"),
    pytest.param('a" b\\', set(), id="not-of-the-charset"),
    pytest.param("\u043erders.read", set(), id="homograph"),
    pytest.param(ABSENT, set(), id="absent-is-none-and-not-all"),
]


@pytest.mark.row("TX-4.2-01", "TX-6-04", "ATK-SCP-02")
@pytest.mark.parametrize("claim", ["scope", "scp"])
@pytest.mark.parametrize(("value", "expected"), SCOPES)
async def test_scope_claim_is_where_scopes_are_read(claim, value, expected):
    """RFC 8693 §4.2: as the issuer's rule says, text or array, and nowhere else."""
    other = "scp" if claim == "scope" else "scope"
    token = subject_jwt(**{claim: value, other: "admin"})
    verified = await subject(token, verifier=verifier(rules={IDP: {"scope_claim": claim}}))

    assert expected == verified.scopes


@pytest.mark.row("TX-4.2-01", "ATK-SCP-02")
@pytest.mark.parametrize("value", [None, 1, True, {"a": 1}, [1], ["a", None], [["a"]]], ids=repr)
async def test_scopes_of_another_form_are_refused(value):
    """ATK-SCP-02: not read as none, for nobody can say what was meant."""
    assert "claim_invalid" == await outcome(subject_jwt(scope=value))


@pytest.mark.row("TX-6-05", "TX-6-04")
async def test_scopeless_is_what_the_configuration_says():
    """Design §3.1: scopes may follow from an identity only where its issuer is so configured."""
    marked = [(await subject(subject_jwt(iss=iss))).scopeless for iss in (SCOPELESS, IDP)]
    ours = await subject(
        own_jwt(sub_id={"format": "iss_sub", "iss": SCOPELESS, "sub": "w"}), client("svc-b")
    )

    assert ([True, False], False) == (marked, ours.scopeless)


@pytest.mark.row("TX-4.3-01", "TX-2.1-10", "CVE-2026-82462")
@pytest.mark.parametrize(
    ("claim", "claims", "expected"),
    [
        ("azp", {"azp": "front", "client_id": "x"}, "front"),
        ("client_id", {"azp": "x", "client_id": "front"}, "front"),
        ("appid", {"appid": "front"}, "front"),
        ("azp", {"client_id": "x"}, None),
    ],
)
async def test_client_claim_says_whom_a_token_was_issued_to(claim, claims, expected):
    """Design §5: what policy sees as the subject's client."""
    using = verifier(rules={IDP: {"client_claim": claim}})

    assert expected == (await subject(subject_jwt(**claims), verifier=using)).client_id


@pytest.mark.parametrize("value", [None, 1, "", ["front"], {}, "x" * 1025], ids=repr)
async def test_a_client_claim_of_another_form_is_refused(value):
    """JW-18: what names a client is a name."""
    assert "claim_invalid" == await outcome(subject_jwt(azp=value))


@pytest.mark.row("TX-2.1-10")
async def test_an_issuer_s_own_client_claim_shows_whose_an_actor_token_is():
    """TX-2.1-10: mapped to the client by its issuer's configuration."""
    using = verifier(rules={IDP: {"client_claim": "appid"}})
    token = actor_jwt(azp=ABSENT, appid="svc-a")

    assert "batch" == (await actor(token, verifier=using)).principal.subject
    assert "actor_token.not_of_client" == await refused(actor(token))


@pytest.mark.row("AT-2.2-02", "ATK-ISS-03", "INV-9")
async def test_subject_keeps_or_prefixes_the_name():
    """Design §4: kept for one issuer, prefixed by the alias for all others."""
    names = [(await subject(subject_jwt(iss=iss))).local_subject for iss in (KEEP, IDP, ACTS)]
    using = verifier(rules={IDP: {"alias": "corp"}})
    renamed = await subject(subject_jwt(), verifier=using)

    assert ["alice", "idp:alice", "acts:alice", "corp:alice"] == [*names, renamed.local_subject]


@pytest.mark.row("AT-2.2-02", "TX-4.1-11")
async def test_a_workload_that_acts_for_itself_is_its_client():
    """Design §4: the configuration says whose name at that issuer this is."""
    token = subject_jwt(sub="known-app", aud=BROKER_ISSUER)
    itself = await subject(token, known_client())
    by_another = await subject(token)

    assert ("svc-known", "idp:known-app") == (itself.local_subject, by_another.local_subject)


@pytest.mark.row("OP-12", "TX-6-02")
@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([], {}),
        (["groups"], {"groups": ["a"]}),
        (["groups", "tenant"], {"groups": ["a"], "tenant": None}),
        (["missing"], {}),
        (["sub"], {"sub": "alice"}),
    ],
)
async def test_policy_claims_are_all_that_policy_sees(listed, expected):
    """OP-12: as they are in the token; what is absent is absent."""
    using = verifier(rules={IDP: {"policy_claims": listed}})
    token = subject_jwt(groups=["a"], tenant=None, email="alice@corp.test")

    assert expected == (await subject(token, verifier=using)).policy_claims


@pytest.mark.row("OP-12")
async def test_policy_claims_of_a_later_hop_are_those_of_the_origin():
    """OP-12: what our token carries on shows no more of it than the first exchange did."""
    using = verifier(rules={IDP: {"policy_claims": ["groups"]}})
    token = own_jwt(groups=["a"], email="alice@corp.test")

    assert {"groups": ["a"]} == (
        await subject(token, client("svc-b"), verifier=using)
    ).policy_claims


@pytest.mark.row("TX-2.1-30")
@pytest.mark.parametrize(
    ("clients", "presenter", "expected"),
    [
        (["*"], "svc-a", "accepted"),
        (["svc-a"], "svc-a", "accepted"),
        (["svc-b", "svc-a"], "svc-a", "accepted"),
        (["svc-b"], "svc-a", "issuer_not_for_client"),
    ],
)
async def test_clients_says_who_may_present_them(clients, presenter, expected):
    """TX-2.1-30: also a token of ours that descends from that issuer."""
    using = verifier(rules={IDP: {"clients": clients}})
    ours = own_jwt(aud=presenter)

    assert [expected] * 2 == [
        await outcome(token, client(presenter), verifier=using)
        for token in (subject_jwt(aud=presenter), ours)
    ]


@pytest.mark.row("TX-2.1-30", "TX-2.1-10")
async def test_clients_says_it_of_actor_tokens_too():
    """TX-2.1-30: nobody brings in by the back door what may not come by the front."""
    using = verifier(rules={IDP: {"clients": ["svc-b"]}})

    assert "actor_token.issuer_not_for_client" == await refused(actor(actor_jwt(), verifier=using))


@pytest.mark.row("TX-2.1-26", "TX-3-03")
async def test_our_own_tokens_have_rules_that_nothing_can_change():
    """Design §4: a built-in issuer, with a day's age at most, like any other's."""
    old = own_jwt(iat=AT - 86_431, nbf=AT - 86_431, exp=AT + 60)
    by_b = client("svc-b")

    assert "too_old" == await outcome(old, by_b, now=NOW)
    assert "accepted" == await outcome(own_jwt(aud=["x", "svc-b"]), by_b)
    assert "audience_mismatch" == await outcome(own_jwt(aud="svc-c"), by_b)


@pytest.mark.row("TX-2.1-27")
async def test_one_token_may_be_both_if_it_is_fit_for_both():
    """TX-2.1-27: the same token as subject and as actor is judged like any pair."""
    both = actor_jwt(aud=[BROKER_ISSUER, "svc-a"])
    only_subject = subject_jwt()

    assert (await subject(both)).principal == (await actor(both)).principal
    assert "actor_token.audience_mismatch" == await refused(actor(only_subject))


async def test_the_lineage_entry_names_a_token_by_issuer_and_jti():
    """Design §4: 16 bytes of SHA-256; a token without ``jti`` is named by its own text."""

    def entry(data: bytes) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(data).digest()[:16]).rstrip(b"=").decode()

    named, unnamed = subject_jwt(jti="j-1"), subject_jwt(jti=ABSENT)

    assert entry(f"{IDP}\0j-1".encode()) == (await subject(named)).lineage_id
    assert entry(unnamed.encode()) == (await subject(unnamed)).lineage_id
    assert hashlib.sha256(named.encode()).hexdigest() == (await subject(named)).digest


@pytest.mark.row("INV-10")
async def test_a_key_is_named_by_itself_and_not_by_what_a_header_says_of_it():
    """Who has stolen a key cannot leave its ``kid`` out and pass as another one."""
    key = KEYS[IDP]
    kid = public_jwk(key)["kid"]
    named, unnamed = subject_jwt(), subject_jwt(header={"kid": ABSENT})
    renamed = {"jwks": {"keys": [public_jwk(key, alg="ES256", kid="k-1")]}}
    by_name = await subject(unnamed, verifier=verifier(rules={IDP: renamed}))
    bare = {"jwks": {"keys": [public_jwk(key, alg="ES256", kid=ABSENT)]}}
    nameless = verifier(rules={IDP: bare})
    by_thumbprint = await subject(unnamed, verifier=nameless)

    assert [(kid, key_entry(IDP, kid))] * 2 == [
        (verified.kid, verified.key_id)
        for verified in (await subject(named), await subject(unnamed))
    ]
    assert ("k-1", key_entry(IDP, "k-1")) == (by_name.kid, by_name.key_id)
    # Without a name of its own, by its thumbprint, which here is what it is called elsewhere.
    assert (None, key_entry(IDP, kid)) == (by_thumbprint.kid, by_thumbprint.key_id)


@pytest.mark.row("INV-10", "TX-2.1-26")
async def test_what_descends_from_us_is_as_old_as_its_root_and_anything_else_as_itself():
    """Nobody's token but ours says how old what it descends from is."""
    ours = await subject(own_jwt(root_iat=AT - 3600), client("svc-b"))
    theirs = await subject(
        subject_jwt(root_iat=1, lineage_keys=["K" * 22], lineage_clients=["svc-a"])
    )

    assert AT - 3600 == int(ours.root_issued_at.timestamp())
    assert (("K" * 22,), ("svc-a",)) == (ours.lineage_keys, ours.lineage_clients)
    assert theirs.issued_at == theirs.root_issued_at
    assert ((), ()) == (theirs.lineage_keys, theirs.lineage_clients)


async def test_a_verified_token_shows_none_of_its_claims():
    """Style §4: a value that holds personal data has a ``repr`` without it."""
    token = subject_jwt(email="alice@corp.test")

    assert "alice@corp.test" not in repr(await subject(token))
    assert token not in repr(await subject(token))
