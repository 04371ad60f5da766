"""Opaque tokens, and JWTs that their issuer is asked about: who sees them, who is believed."""

import contextlib
import hashlib
import time
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.blocklist.lineage import key_entry, text_entry, token_entry
from broker.domain import Principal
from broker.errors import PUBLIC, Reason, VerificationRejected
from broker.issuers.fetch import FetchFault
from broker.issuers.introspection import NotAnswered
from broker.settings import Introspection, Settings
from broker.tokens.references import References
from broker.tokens.refusal import TokenRefused
from broker.tokens.verify import TokenVerifier
from tests.builders import client, token_exchange_request
from tests.configuration import document
from tests.introspecting import INACTIVE, PREFIX, active
from tests.jwts import ABSENT, BROKER_ISSUER, IDP, OTHER, STRICT, subject_jwt
from tests.verification import REFERENCE_TABLE, refused, registry, subject
from tests.wire import ACCESS_TOKEN, ID_TOKEN, JWT

OPAQUE = f"{PREFIX}Zm9vYmFy"
ENDPOINT = "https://idp.test/introspect"
GOOD = {"endpoint": ENDPOINT, "client_id": "broker", "client_secret": "s"}


class Said:
    """What an issuer says about every token, instead of its ``Introspector``."""

    def __init__(self, answer: Any, **introspection: Any) -> None:
        self.settings = Introspection.model_validate(GOOD | introspection)
        self.answer = answer
        self.asked: list[str] = []

    async def ask(self, token: str) -> Any:
        """Be asked."""
        self.asked.append(token)
        if isinstance(self.answer, FetchFault):
            raise NotAnswered(self.answer)
        return self.answer if self.answer["active"] is True else None


def verifier(*said: tuple[str, Said], rules: dict[str, Any] | None = None) -> TokenVerifier:
    """A verifier whose issuers say that; ``rules`` are further ones of theirs."""
    body = document()
    for issuer in body["issuers"]:
        for name, one in said:
            if issuer["issuer"] == name:
                issuer["introspection"] = one.settings.model_dump(mode="json") | GOOD
                issuer.update(rules or {})
    configured = Settings.model_validate(body)
    issuers = registry(configured.issuers)
    issuers._introspectors = dict(said)
    return TokenVerifier(
        issuers,
        issuer=configured.issuer,
        clients=configured.clients,
        targets=configured.targets,
        references=References(REFERENCE_TABLE),
    )


async def present(said: Said, token: str = OPAQUE, **options: Any) -> Any:
    """Verify a subject token at an issuer that says that."""
    using = verifier((IDP, said), rules=options.pop("rules", None))
    declared = options.pop("declared", ACCESS_TOKEN)
    return await subject(token, options.pop("client", None), declared=declared, verifier=using)


async def test_an_opaque_token_is_whoever_its_issuer_says():
    """Every field, as from a JWT; without a key the endpoint vouches, and can be revoked like one.

    RFC 7662 §2.2.
    """
    issued = int(time.time()) - 60
    said = Said(active(iat=issued, exp=4_000_000_000, email="a@idp.test"))
    token = await present(said, rules={"policy_claims": ["email"]})

    assert [OPAQUE] == said.asked
    assert Principal(IDP, "alice") == token.principal
    assert (IDP, "idp:alice", ACCESS_TOKEN) == (
        token.asserted_by,
        token.local_subject,
        token.token_type,
    )
    assert (None, None, "web") == (token.typ, token.kid, token.client_id)
    assert (("svc-a",), frozenset({"orders.read"})) == (token.audiences, token.scopes)
    assert datetime.fromtimestamp(4_000_000_000, UTC) == token.expires_at
    assert datetime.fromtimestamp(issued, UTC) == token.issued_at == token.root_issued_at
    assert (hashlib.sha256(OPAQUE.encode()).hexdigest(), "at-1") == (token.digest, token.jti)
    assert token_entry(IDP, "at-1") == token.lineage_id
    assert key_entry(IDP, ENDPOINT) == token.key_id
    assert {"email": "a@idp.test"} == token.policy_claims


async def test_without_an_id_its_text_names_it():
    """So that it can be revoked, and told apart, all the same."""
    token = await present(Said(active(jti=ABSENT)))

    assert text_entry(hashlib.sha256(OPAQUE.encode()).digest()) == token.lineage_id


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(INACTIVE, "inactive", id="inactive"),
        pytest.param({"active": "true"}, "inactive", id="active-as-text"),
        pytest.param(active(iss=OTHER), "issuer_unknown", id="another-issuer"),
        pytest.param(active(iss=f"{IDP}/"), "issuer_unknown", id="issuer-with-a-slash"),
        pytest.param(active(iss=None), "issuer_unknown", id="issuer-null"),
        pytest.param(active(iss=BROKER_ISSUER), "issuer_unknown", id="our-issuer"),
        pytest.param(active(sub=ABSENT), "claim_missing", id="no-sub"),
        pytest.param(active(sub=""), "claim_invalid", id="empty-sub"),
        pytest.param(active(sub=1), "claim_invalid", id="sub-number"),
        pytest.param(active(exp=ABSENT), "claim_missing", id="no-exp"),
        pytest.param(active(exp="4000000000"), "claim_invalid", id="exp-text"),
        pytest.param(active(exp=True), "claim_invalid", id="exp-true"),
        pytest.param(active(exp=1_700_000_000), "expired", id="expired"),
        pytest.param(active(iat=ABSENT), "claim_missing", id="no-iat"),
        pytest.param(active(iat=1_600_000_000), "too_old", id="too-old"),
        pytest.param(active(iat=4_000_000_000, exp=4_000_000_001), "not_yet_valid", id="future"),
        pytest.param(active(nbf=4_000_000_000, exp=4_000_000_001), "not_yet_valid", id="nbf"),
        pytest.param(active(aud=ABSENT), "claim_missing", id="no-aud"),
        pytest.param(active(aud=[]), "claim_invalid", id="empty-aud"),
        pytest.param(active(aud=["svc-b"]), "audience_mismatch", id="another-client"),
        pytest.param(active(scope=["a", 1]), "claim_invalid", id="scope-of-numbers"),
        pytest.param(active(client_id=""), "claim_invalid", id="empty-client"),
        pytest.param(active(jti=7), "claim_invalid", id="jti-number"),
        pytest.param(active(token_type="DPoP"), "type_not_accepted", id="bound-to-a-key"),
        pytest.param(active(token_type="N_A"), "type_not_accepted", id="no-access-token"),
        pytest.param(active(token_type=None), "type_not_accepted", id="token-type-null"),
        pytest.param(active(token_use="refresh_token"), "type_not_accepted", id="refresh-token"),
        pytest.param(active(token_use=["access"]), "type_not_accepted", id="use-list"),
        pytest.param(active(typ="Refresh"), "type_not_accepted", id="keycloak-refresh"),
        pytest.param(active(typ="Offline"), "type_not_accepted", id="keycloak-offline"),
        pytest.param(active(at_hash="x"), "type_not_accepted", id="id-token"),
        pytest.param(active(events={}), "type_not_accepted", id="logout-token"),
        pytest.param(active(act={"sub": "x"}), "claim_not_believed", id="act"),
        pytest.param(active(may_act={"sub": "x"}), "claim_not_believed", id="may-act"),
        pytest.param(active(sub="svc-b"), None, id="a-clients-name-is-prefixed"),
        pytest.param(active(token_type="bearer"), None, id="usage-in-lower-case"),
        pytest.param(active(token_type=ABSENT), None, id="no-usage"),
        pytest.param(active(iss=ABSENT), None, id="no-issuer"),
        pytest.param(active(typ="Bearer", azp="web"), None, id="keycloak"),
        pytest.param(active(token_use="access_token"), None, id="hydra"),
        pytest.param(active(aud=["x", "svc-a"]), None, id="among-others"),
        pytest.param(active(scope=ABSENT), None, id="no-scope"),
    ],
)
async def test_an_answer_is_judged_as_a_jwt_is(answer, expected):
    """Missing, empty, wrong: each as from a JWT of the same issuer (invariants 2, 6 and 9)."""
    if expected is None:
        assert IDP == (await present(Said(answer))).asserted_by
    else:
        assert f"subject_token.{expected}" == await refused(present(Said(answer)))


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"require": ["tenant"]}, "claim_missing"),
        ({"max_age": "1s", "leeway": "0s"}, "too_old"),
        ({"clients": ["svc-b"]}, "issuer_not_for_client"),
        ({"one_time": True}, None),
    ],
)
async def test_the_rules_of_its_issuer_hold(rules, expected):
    """What is opaque is not let off any of them."""
    if expected is None:
        assert (await present(Said(active()), rules=rules)).one_time
    else:
        assert f"subject_token.{expected}" == await refused(present(Said(active()), rules=rules))


async def test_whatever_jwts_call_them_an_answer_has_the_members_of_the_rfc():
    """RFC 7662 §2.2: ``scope`` and ``client_id``."""
    rules = {"scope_claim": "scp", "client_claim": "azp", "typ": ["at+jwt"]}
    token = await present(Said(active(scp=["all"], azp="other")), rules=rules)

    assert (frozenset({"orders.read"}), "web") == (token.scopes, token.client_id)


@pytest.mark.row("INV-9", "ATK-LOG-01")
@pytest.mark.parametrize(
    ("token", "declared"),
    [
        pytest.param(OPAQUE, JWT, id="called-a-jwt"),
        pytest.param(OPAQUE, ID_TOKEN, id="called-an-id-token"),
        pytest.param(OPAQUE, "urn:ietf:params:oauth:token-type:saml2", id="called-saml"),
        pytest.param(subject_jwt(iss="https://evil.test"), ACCESS_TOKEN, id="a-strangers-jwt"),
        pytest.param(subject_jwt(iss=OTHER, kid="x"), ACCESS_TOKEN, id="another-issuers-jwt"),
        pytest.param(f"{subject_jwt(iss=OTHER)}=", ACCESS_TOKEN, id="a-jwt-and-more"),
        pytest.param(subject_jwt(header={"crit": ["x"]}), ACCESS_TOKEN, id="a-jwt-we-do-not-read"),
        pytest.param(subject_jwt().rpartition(".")[0], ACCESS_TOKEN, id="a-jwt-cut-off"),
        pytest.param(subject_jwt().split(".")[0], ACCESS_TOKEN, id="the-header-of-a-jwt"),
        pytest.param("a.b.c.d.e", ACCESS_TOKEN, id="a-jwe"),
        pytest.param("x.y.z", ACCESS_TOKEN, id="three-parts"),
        pytest.param("A" * 43, ACCESS_TOKEN, id="the-form-of-ours"),
        pytest.param("A" * 16_385, ACCESS_TOKEN, id="too-long"),
        pytest.param("", ACCESS_TOKEN, id="empty"),
        pytest.param("Bearer abc", ACCESS_TOKEN, id="with-a-space"),
        pytest.param("abc\n", ACCESS_TOKEN, id="with-a-line-break"),
        pytest.param("ab=c", ACCESS_TOKEN, id="padding-inside"),
        pytest.param("a\u00e9", ACCESS_TOKEN, id="not-ascii"),
        pytest.param('{"a":1}', ACCESS_TOKEN, id="json"),
    ],
)
async def test_what_is_not_its_opaque_token_is_not_shown_to_an_issuer(token, declared):
    """A JWT names its issuer and goes to no other, whole, broken or cut off."""
    said = Said(active())

    assert (await refused(present(said, token, declared=declared))).startswith("subject_token.")
    assert [] == said.asked


async def test_a_client_that_may_not_present_its_tokens_makes_nobody_ask():
    """What would be refused anyhow is shown to nobody."""
    said = Said(active())
    reason = await refused(present(said, rules={"clients": ["svc-b"]}))

    assert ("subject_token.issuer_not_for_client", []) == (reason, said.asked)


@pytest.mark.row("INV-9")
@pytest.mark.parametrize(
    ("token", "shown_to"),
    [
        pytest.param("one_abc", IDP, id="first"),
        pytest.param("two_abc", OTHER, id="second"),
        pytest.param("one_", IDP, id="nothing-but-the-prefix"),
        pytest.param("One_abc", None, id="another-case"),
        pytest.param("xone_abc", None, id="not-at-the-start"),
        pytest.param("one", None, id="part-of-a-prefix"),
        pytest.param("three", None, id="of-nobody"),
        pytest.param("two_" + "A" * 39, OTHER, id="as-long-as-ours"),
    ],
)
async def test_the_prefix_says_whose_it_is(token, shown_to):
    """Exactly, and one issuer is asked at most: there is no second try."""
    said = {IDP: Said(active(iss=ABSENT), prefix="one_"), OTHER: Said(INACTIVE, prefix="two_")}
    using = verifier(*said.items())
    body = {"declared": ACCESS_TOKEN, "verifier": using}
    if shown_to == IDP:
        assert IDP == (await subject(token, **body)).asserted_by
    else:
        assert (await refused(subject(token, **body))).startswith("subject_token.")

    assert (
        {shown_to: [token]}
        if shown_to
        else {} == {issuer: one.asked for issuer, one in said.items() if one.asked}
    )


async def test_one_of_ours_is_found_before_anybody_is_asked():
    """Also where it happens to begin as somebody's tokens do."""
    token = "one_" + "B" * 39
    REFERENCE_TABLE[hashlib.sha256(token.encode()).digest()] = "not a record that we have signed"
    said = Said(active(), prefix="two_")

    assert "subject_token.malformed" == await refused(present(said, token))
    assert [] == said.asked


async def test_an_opaque_token_is_not_one_of_ours():
    """Introspection and revocation here ask nobody else about anything."""
    said = Said(active())
    with pytest.raises(TokenRefused, match="malformed"):
        await verifier((IDP, said)).verify_own(OPAQUE, now=datetime.now(UTC))

    assert [] == said.asked


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(active(sub="batch", client_id="svc-a", aud=BROKER_ISSUER), None, id="good"),
        pytest.param(
            active(sub="batch", client_id="svc-b", aud=BROKER_ISSUER), "not_of_client", id="others"
        ),
        pytest.param(active(client_id="svc-a"), "audience_mismatch", id="not-for-the-broker"),
        pytest.param(
            active(client_id="svc-a", aud=BROKER_ISSUER, act={"sub": "x"}), "has_chain", id="chain"
        ),
        pytest.param(INACTIVE, "inactive", id="inactive"),
    ],
)
async def test_an_opaque_actor_token_is_judged_by_the_same_rules(answer, expected):
    """Design §4: it is the client's own, and meant for this broker."""
    using = verifier((IDP, Said(answer)))
    request = token_exchange_request(unverified_actor_token=OPAQUE, actor_token_type=ACCESS_TOKEN)
    verification = using.verify_actor(request, client(), now=datetime.now(UTC))
    if expected is None:
        assert Principal(IDP, "batch") == (await verification).principal
    else:
        assert f"actor_token.{expected}" == await refused(verification)


@pytest.mark.row("TX-2.2.2-06")
@pytest.mark.parametrize("fault", list(FetchFault))
@pytest.mark.parametrize("tokens", ["opaque", "all"])
async def test_no_answer_is_an_outage_and_an_opaque_token_is_never_accepted_then(fault, tokens):
    """Whatever it was, and whatever is configured for JWTs: nothing is known of it."""
    more = {"unreachable": "accept"} if tokens == "all" else {}

    assert "issuer.unavailable" == await refused(present(Said(fault, tokens=tokens, **more)))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param({"active": True}, None, id="active-and-nothing-else"),
        pytest.param(INACTIVE, "revoked", id="inactive"),
        pytest.param({"active": 1}, "revoked", id="active-as-number"),
        pytest.param({"active": True, "iss": OTHER}, "claim_invalid", id="another-issuer"),
        pytest.param({"active": True, "sub": "mallory"}, "claim_invalid", id="another-subject"),
        pytest.param({"active": True, "jti": "another"}, "claim_invalid", id="another-token"),
    ],
)
@pytest.mark.parametrize("tokens", ["jwt", "all"])
async def test_a_jwt_that_was_verified_is_asked_about(answer, expected, tokens):
    """RFC 7662: its issuer may have revoked it; about another token it says nothing."""
    said, token = Said(answer, tokens=tokens), subject_jwt()
    if expected is None:
        assert "alice" == (await present(said, token)).principal.subject
    else:
        assert f"subject_token.{expected}" == await refused(present(said, token))
    assert [token] == said.asked


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(subject_jwt(kid="x"), id="of-an-unknown-key"),
        pytest.param(subject_jwt(aud="svc-b"), id="for-another-client"),
        pytest.param(subject_jwt(exp=1_700_000_000), id="expired"),
        pytest.param(subject_jwt(iss=STRICT, sub=ABSENT), id="of-another-issuer"),
        pytest.param(OPAQUE, id="opaque"),
    ],
)
async def test_nobody_is_asked_about_what_is_refused_anyhow(token):
    """No forgery makes us send anything, and no stranger's token is shown around."""
    said = Said({"active": True}, tokens="jwt")

    assert (await refused(present(said, token))).startswith("subject_token.")
    assert [] == said.asked


async def test_by_default_a_jwt_is_not_asked_about():
    """An issuer with ``tokens: opaque`` is asked about these alone."""
    said = Said(INACTIVE)

    assert "alice" == (await present(said, subject_jwt())).principal.subject
    assert [] == said.asked


@pytest.mark.parametrize(
    ("unreachable", "answer", "expected"),
    [
        ("refuse", FetchFault.TIMEOUT, "issuer.unavailable"),
        ("accept", FetchFault.TIMEOUT, None),
        ("accept", FetchFault.NOT_ASKED, None),
        ("accept", INACTIVE, "subject_token.revoked"),
    ],
)
async def test_what_silence_means_for_a_jwt_is_configured_and_a_no_is_a_no(
    unreachable, answer, expected
):
    """Only what was verified already may be accepted without an answer."""
    said = Said(answer, tokens="jwt", unreachable=unreachable)
    if expected is None:
        assert IDP == (await present(said, subject_jwt())).asserted_by
    else:
        assert expected == await refused(present(said, subject_jwt()))


def test_an_inactive_token_looks_like_a_forgery():
    """What an issuer says of tokens is not told to whoever tries some."""
    for role in ("subject", "actor"):
        forged = PUBLIC[Reason(f"{role}_token.malformed")]
        assert forged == PUBLIC[Reason(f"{role}_token.inactive")]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)
members = st.sampled_from(
    (
        *("iss", "sub", "aud", "scope", "client_id", "token_type", "token_use", "typ", "iat"),
        *("exp", "nbf", "jti", "act", "may_act", "events", "delegation_depth"),
    )
)


@cache
def answering() -> tuple[Said, TokenVerifier]:
    """An issuer whose answer each example changes: a configuration is costly to judge."""
    said = Said(active())
    return said, verifier((IDP, said))


@settings(max_examples=150)
@given(st.dictionaries(members, json_values, max_size=4))
async def test_no_answer_breaks_it(overrides):
    """Whatever an issuer says, it is a token of that issuer or a refusal."""
    said, using = answering()
    said.answer = active(**overrides)
    with contextlib.suppress(VerificationRejected):
        token = await subject(OPAQUE, declared=ACCESS_TOKEN, verifier=using)
        assert (IDP, IDP) == (token.asserted_by, token.principal.issuer)


async def test_an_issuer_without_keys_has_opaque_tokens_alone():
    """Nothing of it can be verified, so no JWT is; and nothing is missing of it either."""
    using = verifier((IDP, Said(active())), rules={"jwks": None, "algorithms": []})
    opaque = await subject(OPAQUE, declared=ACCESS_TOKEN, verifier=using)

    assert "subject_token.algorithm_not_allowed" == await refused(
        subject(subject_jwt(), declared=ACCESS_TOKEN, verifier=using)
    )
    assert "alice" == opaque.principal.subject
