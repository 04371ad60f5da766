"""RFC 8725, best current practice for JWTs: algorithms, keys, issuers, audiences and kinds."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import ValidationError

from broker.errors import VerificationRejected
from broker.jose.algorithms import ALGORITHMS
from broker.jose.compact import parse_compact
from broker.jose.errors import AlgorithmNotAllowed, KeyUnknown
from broker.jose.jwk import load_keys
from broker.jose.verify import verify_signature
from broker.oauth import TokenType
from broker.settings import Settings
from broker.tokens.kinds import Kind, accepts, kind_of
from tests.builders import client
from tests.configuration import document
from tests.jwts import ABSENT, BROKER_ISSUER, IDP, KEYS, OTHER, public_jwk, subject_jwt
from tests.places import ACCEPTED, ACTOR, CLIENT, SUBJECT, ruled
from tests.verification import own_jwt, refused, subject, verifier

P256 = ec.generate_private_key(ec.SECP256R1())
AT, ID, JWT = (
    f"urn:ietf:params:oauth:token-type:{name}" for name in ("access_token", "id_token", "jwt")
)


@pytest.mark.row("JW-05", "JW-06", "JW-23")
def test_s3_1_there_is_no_algorithm_that_could_be_turned_on_by_mistake():
    """RFC 8725 §3.2: neither none, nor HMAC, nor RSA1_5, nor a curve that nobody asked for."""
    rsa_algorithms = {f"{family}{bits}" for family in ("RS", "PS") for bits in (256, 384, 512)}

    assert rsa_algorithms | {"ES256", "ES384", "ES512", "Ed25519", "EdDSA"} == set(ALGORITHMS)


@pytest.mark.row("JW-05", "JW-23", "ATK-CFG-01")
@pytest.mark.parametrize(
    "algorithms",
    [
        ["none"],
        ["HS256"],
        ["ES256", "HS512"],
        ["RSA1_5"],
        ["ES256K"],
        ["es256"],
        ["Ed448"],
        [],
        None,
    ],
)
def test_s3_1_a_list_of_anything_else_does_not_start(algorithms):
    """RFC 8725 §3.1: exact names, none by default."""
    body = document()
    body["issuers"][0]["algorithms"] = algorithms
    if algorithms is None:
        del body["issuers"][0]["algorithms"]
    with pytest.raises(ValidationError, match="algorithms"):
        Settings.model_validate(body)


@pytest.mark.row("JW-05", "ATK-ALG-03")
def test_s3_1_a_list_with_an_unknown_name_allows_nothing_by_it():
    """RFC 8725 §3.1: also if a name got past the configuration."""
    jws = parse_compact(subject_jwt(header={"alg": "none"}))
    keys = load_keys({"keys": [public_jwk(KEYS[IDP])]}, ["ES256"])
    with pytest.raises(AlgorithmNotAllowed):
        verify_signature(jws, keys, ["none", "HS256", "ES256"])


@pytest.mark.row("JW-05")
@pytest.mark.parametrize(
    ("alg", "allowed", "verifies"),
    [
        ("RS256", ["RS256"], ["RS256"]),
        ("PS256", ["RS256", "PS256"], ["PS256"]),
        ("PS256", ["RS256"], []),
        (None, ["RS256", "PS256"], ["RS256"]),
        (None, ["PS256", "PS512"], ["PS256"]),
        (None, ["ES256"], []),
    ],
)
def test_s3_1_each_key_is_used_with_exactly_one_algorithm(alg, allowed, verifies):
    """RFC 8725 §3.1: its own, or the first of those allowed that fits."""
    key = rsa.generate_private_key(65537, 2048)
    jwk = public_jwk(key, kid="k") | ({} if alg is None else {"alg": alg})
    keys = load_keys({"keys": [jwk]}, allowed)

    assert verifies == [name for name in ALGORITHMS if keys.candidates("k", name)]


@pytest.mark.row("JW-22", "JW-08", "ATK-DOS-01")
@pytest.mark.parametrize("bits", [1024, 1536])
@pytest.mark.parametrize("alg", ["RS256", "PS256"])
def test_s3_5_a_short_rsa_key_is_left_out_and_its_signature_worth_nothing(bits, alg):
    """RFC 7518 §3.3, §3.5: at load, so at verification there is no key."""
    key = rsa.generate_private_key(65537, bits)
    keys = load_keys({"keys": [public_jwk(key, alg=alg)]}, [alg])
    with pytest.raises(KeyUnknown):
        verify_signature(parse_compact(subject_jwt(key=key, alg=alg)), keys, [alg])


@pytest.mark.row("JW-09", "ATK-ISS-01", "CVE-2026-82462")
@pytest.mark.parametrize("issuer", [IDP, OTHER])
async def test_s3_8_a_key_signs_for_its_own_issuer_only(issuer):
    """RFC 8725 §3.8: one issuer is chosen by ``iss``, and there is no second try."""
    other = OTHER if issuer == IDP else IDP

    assert issuer == (await subject(subject_jwt(iss=issuer))).principal.issuer
    assert "subject_token.key_unknown" == await refused(
        subject(subject_jwt(iss=issuer, key=KEYS[other]))
    )


@pytest.mark.row("JW-10", "GHSA-g5h5-m4hm-xjrr", "TX-2.1-24")
@pytest.mark.parametrize(
    ("aud", "expected"),
    [
        pytest.param(ABSENT, "subject_token.claim_missing", id="absent"),
        pytest.param("svc-b", "subject_token.audience_mismatch", id="another-service"),
        pytest.param(["svc-b", "svc-c"], "subject_token.audience_mismatch", id="other-services"),
    ],
)
async def test_s3_9_a_token_for_somebody_else_is_refused(aud, expected):
    """RFC 8725 §3.9: where one issuer serves many."""
    assert expected == await refused(subject(subject_jwt(aud=aud)))


# What a token of each kind looks like: its ``typ`` and the claims that only it has.
KINDS = {
    "access-token": ("at+jwt", {}),
    "id-token": ("JWT", {"at_hash": "x", "nonce": "n"}),
    "id-token-with-c_hash": ("JWT", {"c_hash": "x"}),
    "plain": ("JWT", {"nonce": "n"}),
    "dpop-proof": ("dpop+jwt", {"htm": "POST", "htu": "https://broker.test/token"}),
    "dpop-proof-as-jwt": ("JWT", {"htm": "POST", "htu": "https://broker.test/token"}),
    "client-assertion": ("client-authentication+jwt", {}),
    "transaction-token": ("txntoken+jwt", {}),
    "transaction-token-as-jwt": ("JWT", {"req_wl": "x"}),
    "identity-grant": ("oauth-id-jag+jwt", {}),
    "security-event": ("secevent+jwt", {"events": {}}),
    "security-event-as-jwt": ("JWT", {"events": {"https://schemas.test/x": {}}}),
    "logout-token": ("logout+jwt", {"events": {}}),
    "logout-token-as-jwt": ("JWT", {"events": {}, "sid": "s"}),
    "logout-token-with-at_hash": ("JWT", {"at_hash": "x", "events": {}}),
    "status-list": ("statuslist+jwt", {"status_list": {}}),
    "status-list-as-jwt": ("JWT", {"status_list": {}}),
    "introspection": ("token-introspection+jwt", {"token_introspection": {"active": True}}),
    "introspection-as-jwt": ("JWT", {"token_introspection": {"active": True}}),
    "refresh-token": ("refresh+jwt", {}),
    "refresh-token-as-jwt": ("JWT", {"typ": "Refresh"}),
    "offline-token-as-jwt": ("JWT", {"typ": "Offline"}),
    "access-token-of-keycloak": ("JWT", {"typ": "Bearer"}),
    "id-token-of-keycloak": ("JWT", {"typ": "ID", "at_hash": "x"}),
    "typ-claim-of-another-form": ("JWT", {"typ": ["Refresh"]}),
    "request-object": ("oauth-authz-req+jwt", {}),
    "unknown": ("something+jwt", {}),
}
GOOD_AS = {
    "access-token": {AT, JWT},
    "id-token": {ID, JWT},
    "id-token-with-c_hash": {ID, JWT},
    "plain": {AT, ID, JWT},
    "access-token-of-keycloak": {AT, ID, JWT},
    "id-token-of-keycloak": {ID, JWT},
    "typ-claim-of-another-form": {AT, ID, JWT},
}


@pytest.mark.row("JW-12", "ATK-TYP-01", "TX-2.1-07", "GHSA-7fpj-9hr8-28vh", "TX-3-01")
@pytest.mark.parametrize("declared", [AT, ID, JWT], ids=["access_token", "id_token", "jwt"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("listed", [True, False], ids=["typ-listed", "typ-as-usual"])
async def test_s3_12_only_the_diagonal_of_kinds_is_accepted(kind, declared, listed):
    """RFC 8725 §3.12: neither the label nor a careless list of the issuer's makes it another."""
    typ, claims = KINDS[kind]
    rules = {"typ": ["at+jwt", "JWT", typ]} if listed else {}
    token = subject_jwt(typ=typ, extra=claims)
    using = verifier(rules={IDP: rules}) if listed else None
    expected = declared in GOOD_AS.get(kind, set())
    # A ``typ`` that says nothing is taken where the issuer lists it: that is what listing is for.
    expected = expected or (listed and typ in {"something+jwt", "refresh+jwt"})
    options = {"declared": declared} | ({"verifier": using} if using else {})

    if expected:
        assert declared == (await subject(token, **options)).token_type
    else:
        assert "subject_token.type_not_accepted" == await refused(subject(token, **options))


@pytest.mark.row("JW-12", "ATK-TYP-01", "CA-3-12", "TX-2.1-10")
@pytest.mark.parametrize("kind", KINDS)
async def test_s3_12_the_same_at_the_two_other_places(kind):
    """RFC 8725 §3.12: actor token and client assertion."""
    typ, claims = KINDS[kind]
    actor = await ACTOR.outcome(ACTOR.make(typ=typ, extra=claims))
    assertion = await CLIENT.outcome(CLIENT.make(typ=typ))

    assert (ACCEPTED if kind in GOOD_AS else "actor_token.type_not_accepted") == actor
    assert (ACCEPTED == assertion) == (typ in {"JWT", "client-authentication+jwt"})


@pytest.mark.row("AT-4-01", "TX-2.1-26", "TX-3-03", "ATK-TYP-01")
@pytest.mark.parametrize("declared", [AT, ID, JWT], ids=["access_token", "id_token", "jwt"])
@pytest.mark.parametrize(
    "typ",
    [
        "at+jwt",
        "application/at+jwt",
        "AT+JWT",
        "JWT",
        ABSENT,
        "token-introspection+jwt",
        "txntoken+jwt",
        "oauth-id-jag+jwt",
        "client-authentication+jwt",
    ],
    ids=lambda typ: "absent" if typ is ABSENT else typ,
)
async def test_s3_11_a_token_of_ours_says_that_it_is_an_access_token(typ, declared):
    """RFC 9068 §4: ``at+jwt`` in any spelling; no typ and ``JWT`` are not enough."""
    good = typ is not ABSENT and typ.lower().removeprefix("application/") == "at+jwt"
    verification = subject(own_jwt(typ), client("svc-b"), declared=declared)

    if good and declared != ID:
        assert BROKER_ISSUER == (await verification).asserted_by
    else:
        assert "subject_token.type_not_accepted" == await refused(verification)


@pytest.mark.row("TX-2.1-06", "TX-3-01", "TX-3-02")
@pytest.mark.parametrize(
    ("token_types", "accepted"),
    [
        pytest.param(["access_token", "jwt", "id_token"], {AT, JWT, ID}, id="all"),
        pytest.param(["access_token"], {AT}, id="access-token-only"),
        pytest.param(["jwt"], {JWT}, id="jwt-only-as-most-foreign-issuers"),
        pytest.param(["id_token"], {ID}, id="id-token-only"),
        pytest.param([AT, ID], {AT, ID}, id="in-full"),
    ],
)
async def test_an_issuer_s_token_types_say_what_may_be_declared(token_types, accepted):
    """RFC 8693 §3: a foreign access token is accepted as such by configuration only."""
    using = verifier(rules={IDP: {"token_types": token_types}})
    found = {}
    for declared in (AT, JWT, ID):
        try:
            await subject(subject_jwt(), declared=declared, verifier=using)
            found[declared] = ACCEPTED
        except VerificationRejected as rejected:
            found[declared] = rejected.reason.value

    refusal = "subject_token.type_not_accepted"
    assert {each: ACCEPTED if each in accepted else refusal for each in (AT, JWT, ID)} == found


@pytest.mark.row("TX-2.1-06", "TX-3-01")
@pytest.mark.parametrize(
    "declared",
    [
        *("jwt", "access_token", "JWT", "", " ", "urn:ietf:params:oauth:token-type:", "/jwt"),
        *(f"urn:ietf:params:oauth:token-type:{x}" for x in ("saml1", "saml2", "refresh_token")),
        *(f"urn:ietf:params:oauth:token-type:{x}" for x in ("id-jag", "txn_token", "JWT", "jwt ")),
        "URN:ietf:params:oauth:token-type:jwt",
        "urn:example:token",
        "https://example.test/type",
    ],
)
async def test_no_other_identifier_of_a_type_is_known(declared):
    """RFC 8693 §3: exact URIs; what is declared to be SAML is not even looked at."""
    refusals = [await refused(subject(t, declared=declared)) for t in (subject_jwt(), "<saml/>")]

    assert ["subject_token.type_not_accepted"] * 2 == refusals


@pytest.mark.row("TX-2.1-07", "JW-12")
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("declared", TokenType)
def test_s3_12_an_id_token_needs_an_issuer_that_lists_id_tokens(kind, declared):
    """RFC 8725 §3.12: the whole matrix of kind, declared type and what the issuer lists."""
    listed = [
        (),
        *((each,) for each in TokenType),
        (TokenType.ACCESS_TOKEN, TokenType.JWT),
        tuple(TokenType),
    ]
    accepted = {types for types in listed if accepts(declared, kind, types)}
    cell = {
        (Kind.ACCESS_TOKEN, TokenType.ACCESS_TOKEN),
        (Kind.ACCESS_TOKEN, TokenType.JWT),
        (Kind.ID_TOKEN, TokenType.ID_TOKEN),
        (Kind.ID_TOKEN, TokenType.JWT),
        *((Kind.PLAIN, each) for each in TokenType),
    }
    expected = {types for types in listed if declared in types and (kind, declared) in cell}
    if kind is Kind.ID_TOKEN:
        expected = {types for types in expected if TokenType.ID_TOKEN in types}

    assert expected == accepted


@pytest.mark.row("TX-2.1-07")
def test_a_nonce_alone_proves_nothing():
    """ID tokens, DPoP proofs and more have one."""
    assert Kind.PLAIN is kind_of("jwt", {"nonce": "n", "azp": "x", "auth_time": 1})


@pytest.mark.row("JW-04", "AT-4-01", "TX-2.1-07")
@pytest.mark.parametrize(
    ("listed", "typ", "accepted"),
    [
        (["at+jwt"], "at+jwt", True),
        (["at+jwt"], "JWT", False),
        (["at+jwt"], ABSENT, False),
        (["JWT"], "jwt", True),
        (["JWT"], "at+jwt", False),
        ([None], ABSENT, True),
        ([None], "JWT", False),
        (["at+jwt", "JWT"], ABSENT, False),
        (["application/at+jwt"], "at+jwt", True),
        (["JOSE"], "jose", True),
        (["at+jwt", "JWT", None], "", False),
    ],
)
@pytest.mark.parametrize("place", [SUBJECT, ACTOR], ids=["subject", "actor"])
async def test_an_issuer_s_typ_says_what_its_tokens_call_themselves(place, listed, typ, accepted):
    """RFC 9068 §4: ``JWT``, and none at all, are opted into by issuer."""
    here = ruled(place, typ=listed)
    expected = ACCEPTED if accepted else place.reason("type_not_accepted")

    assert expected == await here.outcome(place.make(typ=typ))


@pytest.mark.row("CA-3-12")
@pytest.mark.parametrize(
    ("typ", "accepted"),
    [
        ("client-authentication+jwt", True),
        ("Client-Authentication+JWT", True),
        ("application/client-authentication+jwt", True),
        ("JWT", True),
        (ABSENT, True),
        ("at+jwt", False),
        ("dpop+jwt", False),
        ("secevent+jwt", False),
        ("JOSE", False),
        ("", False),
    ],
)
async def test_an_assertion_may_say_what_it_is_but_nothing_else(typ, accepted):
    """RFC 7523bis: recognised, not required."""
    expected = ACCEPTED if accepted else "client.assertion_invalid"

    assert expected == await CLIENT.outcome(CLIENT.make(typ=typ))
