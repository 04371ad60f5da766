"""Attack: pass for another issuer, or let one issuer's subject pass for another's. Invariant 9."""

import asyncio

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from broker.domain import Principal
from broker.errors import VerificationRejected
from tests.builders import client
from tests.configuration import document
from tests.jwts import (
    ACTS,
    BROKER_ISSUER,
    IDP,
    KEEP,
    KEYS,
    OTHER,
    STRANGERS_KEY,
    subject_jwt,
)
from tests.places import SUBJECT, at_each_place
from tests.verification import own_jwt, refused, subject, verifier

SPELLINGS = {
    "trailing-slash": "https://idp.test/",
    "two-slashes": "https://idp.test//",
    "case-of-the-host": "https://IDP.test",
    "case-of-the-scheme": "HTTPS://idp.test",
    "port": "https://idp.test:443",
    "http": "http://idp.test",
    "userinfo": "https://idp.test@evil.test",
    "userinfo-before": "https://evil@idp.test",
    "suffix": "https://idp.test.evil.test",
    "prefix": "https://idp.tes",
    "path": "https://idp.test/x/..",
    "query": "https://idp.test?",
    "fragment": "https://idp.test#",
    "backslash": "https://idp.test\\@evil.test",
    "tab": "https://idp\t.test",
    "newline": "https://idp.test\n",
    "space-before": " https://idp.test",
    "space-behind": "https://idp.test ",
    "percent": "https://idp%2Etest",
    "homograph": "https://\u0456dp.test",
    "full-width": "https://\uff49dp.test",
    "full-stop": "https://idp\u3002test",
    "zero-width": "https://idp\u200b.test",
    "punycode": "https://xn--dp-fja.test",
    "right-to-left": "\u202ehttps://idp.test",
    "no-scheme": "idp.test",
    "scheme-relative": "//idp.test",
    "two-in-one": "https://idp.test https://evil.test",
}


@pytest.mark.row("ATK-ISS-01", "MD-4-01", "JW-09", "JW-18")
@at_each_place
@pytest.mark.parametrize("iss", [pytest.param(v, id=name) for name, v in SPELLINGS.items()])
async def test_only_the_exact_string_is_the_issuer(place, iss):
    """ATK-ISS-01: nothing is normalised, and the issuer's own key does not help."""
    outcome = await place.outcome(place.make(iss=iss, key=place.key))

    assert place.reason("issuer_unknown") == outcome


@pytest.mark.row("ATK-ISS-01", "JW-09")
@pytest.mark.parametrize("iss", [IDP, ACTS, OTHER, BROKER_ISSUER])
@pytest.mark.parametrize("key", [IDP, ACTS, OTHER], ids=lambda issuer: issuer[8:12])
async def test_the_issuer_is_who_signed(iss, key):
    """ATK-ISS-01: ``iss`` of one with the key of another, by its own kid."""
    token = subject_jwt(iss=iss, key=KEYS[key], typ="at+jwt")
    if iss == key:
        assert iss == (await subject(token)).asserted_by
    else:
        assert "subject_token.key_unknown" == await refused(subject(token))


@pytest.mark.row("CVE-2026-1486", "TX-2.1-30", "JW-09")
async def test_an_issuer_that_was_removed_is_trusted_no_longer():
    """CVE-2026-1486: its own tokens, and ours that descend from them, with the same keys."""
    left = [issuer for issuer in document()["issuers"] if issuer["issuer"] != IDP]
    clients = [client for client in document()["clients"] if not client.get("known_as")]
    using = verifier(issuers=left, clients=clients)
    ours, theirs = own_jwt(), subject_jwt()
    by_b = client("svc-b")

    assert IDP == (await subject(theirs)).principal.issuer
    assert IDP == (await subject(ours, by_b)).principal.issuer
    assert ["subject_token.issuer_unknown"] * 2 == [
        await refused(subject(theirs, verifier=using)),
        await refused(subject(ours, by_b, verifier=using)),
    ]


@pytest.mark.row("ATK-ISS-03", "INV-9", "AT-H-04")
async def test_one_sub_at_two_issuers_is_two_subjects():
    """ATK-ISS-03: as pair, and as ``sub`` under our issuer."""
    found = [await subject(subject_jwt(iss=iss, sub="alice")) for iss in (IDP, ACTS, KEEP)]

    assert [Principal(iss, "alice") for iss in (IDP, ACTS, KEEP)] == [t.principal for t in found]
    assert ["idp:alice", "acts:alice", "alice"] == [t.local_subject for t in found]


@pytest.mark.row("ATK-ISS-03", "INV-9", "AT-2.2-02")
@pytest.mark.parametrize(
    ("iss", "sub", "expected"),
    [
        pytest.param(KEEP, "idp:alice", "claim_invalid", id="kept-like-a-prefixed-one"),
        pytest.param(KEEP, "acts:", "claim_invalid", id="kept-like-a-bare-prefix"),
        pytest.param(KEEP, "svc-a", "subject_is_client", id="kept-like-a-client"),
        pytest.param(KEEP, "svc-purpose", "subject_is_client", id="kept-like-another-client"),
        pytest.param(IDP, "x" * 1021, "claim_invalid", id="too-long-with-its-prefix"),
    ],
)
async def test_a_subject_that_would_look_like_somebody_else_is_refused(iss, sub, expected):
    """Design §4: unique under our issuer, and never a client's id."""
    token = subject_jwt(iss=iss, sub=sub)

    assert f"subject_token.{expected}" == await refused(subject(token))


@pytest.mark.row("ATK-ISS-03", "INV-9")
@pytest.mark.parametrize("sub", ["Alice", "alice ", "\u0430lice", "ali\u0301ce", "keep:alice"])
async def test_subjects_are_compared_code_point_by_code_point(sub):
    """ATK-ISS-03: no folding, trimming or normalisation makes one of two."""
    verified = await subject(subject_jwt(sub=sub))

    assert (Principal(IDP, sub), f"idp:{sub}") == (verified.principal, verified.local_subject)


@pytest.mark.row("AT-H-04", "ATK-ISS-03", "INV-9", "CVE-2025-55241")
@pytest.mark.parametrize(
    "sub_id",
    [
        {"format": "iss_sub", "iss": OTHER, "sub": "admin"},
        {"format": "email", "email": "admin@corp.test"},
        "admin",
        None,
    ],
)
async def test_the_origin_that_a_foreign_token_claims_is_not_believed(sub_id):
    """AT-H-04: ``sub_id`` is read from our own tokens and from no others."""
    verified = await subject(subject_jwt(sub_id=sub_id, txn="x", lineage=["x"]))

    assert (Principal(IDP, "alice"), None, ()) == (
        verified.principal,
        verified.txn,
        verified.lineage,
    )


@pytest.mark.row("AT-H-04", "INV-9", "TX-2.1-26")
async def test_the_origin_of_our_own_token_is_in_sub_id_and_not_in_sub():
    """AT-H-04: the origin issuer's rules hold at every hop."""
    token = own_jwt(sub="admin", sub_id={"format": "iss_sub", "iss": OTHER, "sub": "bob"})
    verified = await subject(token, client("svc-b"))

    assert Principal(OTHER, "bob") == verified.principal
    assert (BROKER_ISSUER, "admin") == (verified.asserted_by, verified.local_subject)


@pytest.mark.row("AT-H-04", "TX-2.1-26")
@pytest.mark.parametrize(
    ("sub_id", "expected"),
    [
        pytest.param(None, "claim_missing", id="null"),
        pytest.param({}, "claim_missing", id="empty"),
        pytest.param("alice", "claim_invalid", id="text"),
        pytest.param({"iss": IDP, "sub": "alice"}, "claim_invalid", id="no-format"),
        pytest.param({"format": "email", "iss": IDP, "sub": "a"}, "claim_invalid", id="format"),
        pytest.param({"format": "iss_sub", "iss": IDP}, "claim_missing", id="no-sub"),
        pytest.param({"format": "iss_sub", "sub": "a"}, "claim_missing", id="no-iss"),
        pytest.param({"format": "iss_sub", "iss": IDP, "sub": 1}, "claim_invalid", id="number"),
        pytest.param({"format": "iss_sub", "iss": "", "sub": "a"}, "claim_invalid", id="no-name"),
        pytest.param(
            {"format": "iss_sub", "iss": "https://evil.test", "sub": "a"},
            "issuer_unknown",
            id="an-issuer-that-nobody-trusts",
        ),
    ],
)
async def test_a_token_of_ours_without_its_origin_is_refused(sub_id, expected):
    """RFC 9493 §3.2.3: nothing falls back to ``sub``."""
    token = own_jwt(sub_id=sub_id)

    assert f"subject_token.{expected}" == await refused(subject(token, client("svc-b")))


WE_LIST = ("lineage", "lineage_keys")
WE_WRITE = ("jti", "client_id", "txn", *WE_LIST, "lineage_clients", "root_iat")
NO_ENTRIES = (
    *(["short"], ["A" * 21 + "="], [1], "A" * 22, {"0": "A" * 22}, ["A" * 22, None], 5, True),
)


@pytest.mark.row("TX-2.1-26", "GHSA-wxg7-w2v3-w38g", "RV-2.1-08")
@pytest.mark.parametrize(
    ("claim", "value", "expected"),
    [
        *((name, empty, "claim_missing") for name in WE_WRITE for empty in (None, "")),
        ("delegation_depth", None, "claim_missing"),
        ("max_delegation_depth", None, "claim_missing"),
        ("delegation_depth", -1, "claim_invalid"),
        ("delegation_depth", 1.0, "claim_invalid"),
        ("delegation_depth", True, "claim_invalid"),
        ("max_delegation_depth", "8", "claim_invalid"),
        ("txn", 1, "claim_invalid"),
        *((name, value, "claim_invalid") for name in WE_LIST for value in NO_ENTRIES),
        ("lineage_clients", ["x" * 1025], "claim_invalid"),
        ("lineage_clients", [""], "claim_invalid"),
        ("lineage_clients", [1], "claim_invalid"),
        ("lineage_clients", "svc-a", "claim_invalid"),
        ("lineage_clients", {"svc-a": 1}, "claim_invalid"),
        ("root_iat", "1", "claim_invalid"),
        ("root_iat", -1, "claim_invalid"),
        ("root_iat", True, "claim_invalid"),
    ],
)
async def test_a_token_of_ours_has_all_that_we_write(claim, value, expected):
    """TX-2.1-26: what we sign is complete, so what is not complete is not ours to believe."""
    token = own_jwt(**{claim: value})

    assert f"subject_token.{expected}" == await refused(subject(token, client("svc-b")))


@pytest.mark.row("ATK-ISS-01")
async def test_a_stranger_who_writes_our_name_is_nobody():
    """ATK-ISS-01: our issuer with a stranger's key, under our kid and under his."""
    assert "subject_token.key_unknown" == await SUBJECT.outcome(
        subject_jwt(iss=BROKER_ISSUER, key=STRANGERS_KEY, typ="at+jwt")
    )


# Few letters, so that spellings collide: with aliases, client ids, prefixes and one another.
subs = st.text(st.sampled_from("a:idpkeots-vc"), min_size=1, max_size=9) | st.sampled_from(
    ["svc-a", "svc-b", "idp:alice", "keep:alice", "acts:svc-a", "alice", ":", "idp:", "known-app"]
)
identities = st.tuples(st.sampled_from([IDP, OTHER, ACTS, KEEP]), subs)


def local_name(identity: tuple[str, str]) -> str | None:
    """The ``sub`` under our issuer of a subject that ``svc-known`` presents; None: refused."""
    iss, sub = identity
    known = client("svc-known", known_as=frozenset({Principal(IDP, "known-app")}))
    try:
        verified = asyncio.run(subject(subject_jwt(iss=iss, sub=sub, aud=BROKER_ISSUER), known))
    except VerificationRejected:
        return None
    assert Principal(iss, sub) == verified.principal
    return verified.local_subject


@pytest.mark.row("INV-9", "ATK-ISS-03")
@settings(max_examples=150, deadline=None)
@given(one=identities, other=identities)
def test_two_identities_never_share_a_name(one, other):
    """Invariant 9: whatever the spellings; and no subject has a client's but the client itself."""
    assume(one != other)
    names = [local_name(one), local_name(other)]
    clients = {each["id"] for each in document()["clients"]}

    assert None in names or names[0] != names[1]
    for identity, name in zip((one, other), names, strict=True):
        assert name not in clients or identity == (IDP, "known-app")
