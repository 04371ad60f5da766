"""Signatures that are not verified twice: what is remembered, and what is judged each time."""

from datetime import UTC, datetime, timedelta

import pytest

from broker.blocklist.rule import Rule, Scope
from broker.domain import VerifiedToken
from broker.issuers.jwks import LiveKeys
from broker.issuers.registry import IssuerRegistry
from broker.jose.jwk import KeySet, load_keys
from broker.settings import Settings
from broker.tokens.own import Inactive, OwnTokens
from broker.tokens.references import References
from broker.tokens.seen import SeenTokens
from broker.tokens.statement import Statement
from broker.tokens.verify import TokenVerifier
from tests.configuration import document
from tests.fakes import Revoked
from tests.jwts import (
    BROKER_ISSUER,
    IDP,
    KEYS,
    STRANGERS_KEY,
    jwt,
    public_jwk,
    subject_jwt,
    unverified_claims,
)
from tests.verification import OWN_KEY, REFERENCE_TABLE, own_jwt, refused, subject

OURS = load_keys({"keys": [public_jwk(OWN_KEY, alg="ES256")]}, ["ES256"])
OTHERS = load_keys({"keys": [public_jwk(STRANGERS_KEY, alg="ES256")]}, ["ES256"])
SAID = Statement({"sub": "a"}, key_id="k")


class Ring:
    """Our keys as they are now."""

    def __init__(self) -> None:
        self.keys: KeySet = OURS


@pytest.fixture
def ring():
    return Ring()


@pytest.fixture
def revoked():
    return Revoked()


@pytest.fixture
def tokens(ring, revoked):
    """What introspection asks, over keys and revocations that the test changes."""
    settings = Settings.model_validate(document())
    verifier = TokenVerifier(
        IssuerRegistry(settings.issuers, own=BROKER_ISSUER, own_keys=lambda: ring.keys),
        issuer=settings.issuer,
        clients=settings.clients,
        targets=settings.targets,
        references=References(REFERENCE_TABLE),
    )
    return OwnTokens(verifier, revoked, issuer=BROKER_ISSUER)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.row("IN-2.2-08", "JK-03")
async def test_a_key_that_is_gone_verifies_nothing_that_it_did_before(tokens, ring):
    """RFC 7662 §4: what was active a moment ago is not when its key has left the key set."""
    token = own_jwt()
    seen = [await tokens.examine(token, now=now()) for _ in range(2)]
    ring.keys = OTHERS
    afterwards = await tokens.examine(token, now=now())
    ring.keys = OURS

    assert all(isinstance(each, VerifiedToken) for each in seen)
    assert Inactive.UNKNOWN is afterwards
    assert isinstance(await tokens.examine(token, now=now()), VerifiedToken)


@pytest.mark.row("IN-2.2-08")
async def test_time_and_revocation_are_judged_each_time(tokens, revoked):
    """RFC 7662 §4: only the signature is not verified again."""
    token = own_jwt()
    jti = unverified_claims(token)["jti"]
    first = await tokens.examine(token, now=now())
    expired = await tokens.examine(token, now=now() + timedelta(hours=2))
    rule = Rule(1, Scope.JTI, BROKER_ISSUER, jti, None, "test", "test", now())
    revoked.snapshot = revoked.snapshot.extend([rule])

    assert isinstance(first, VerifiedToken)
    assert Inactive.OUT_OF_TIME is expired
    assert Inactive.REVOKED is await tokens.examine(token, now=now())


@pytest.mark.row("IN-2.3-02")
async def test_what_failed_is_not_remembered(tokens):
    """Whoever guesses pushes nobody out, and a forgery is a forgery each time."""
    forged = jwt(unverified_claims(own_jwt()), key=STRANGERS_KEY, header={"typ": "at+jwt"})
    outcomes = {await tokens.examine(forged, now=now()) for _ in range(3)}

    assert {Inactive.UNKNOWN} == outcomes
    assert 0 == len(tokens._verifier._seen)


@pytest.mark.row("JK-03")
async def test_a_key_that_an_issuer_dropped_verifies_no_subject_token_that_it_did_before():
    """What an exchange remembers counts for the key set that has verified it, and no other."""
    theirs = load_keys({"keys": [public_jwk(KEYS[IDP], alg="ES256")]}, ["ES256"])
    ring, token = Ring(), subject_jwt()
    ring.keys = theirs
    configured = Settings.model_validate(document())
    issuers = IssuerRegistry(configured.issuers, own=BROKER_ISSUER, own_keys=lambda: OURS)
    issuers._sources[IDP] = LiveKeys(lambda: ring.keys)
    verifying = TokenVerifier(
        issuers,
        issuer=configured.issuer,
        clients=configured.clients,
        targets=configured.targets,
        references=References(REFERENCE_TABLE),
    )

    first, second = [await subject(token, verifier=verifying) for _ in range(2)]
    ring.keys = OTHERS

    assert first == second
    assert "subject_token.key_unknown" == await refused(subject(token, verifier=verifying))
    ring.keys = theirs
    late = datetime.now(UTC) + timedelta(hours=2)
    assert first == await subject(token, verifier=verifying)
    assert "subject_token.expired" == await refused(subject(token, verifier=verifying, now=late))
    assert 1 == len(verifying._seen_of_others)


async def test_a_token_that_differs_in_its_signature_alone_is_another(tokens):
    """By the whole text: the claims of a remembered token under another signature are nothing."""
    token, other = own_jwt(), own_jwt()
    await tokens.examine(token, now=now())
    swapped = ".".join([*token.split(".")[:2], other.split(".")[2]])

    assert Inactive.UNKNOWN is await tokens.examine(swapped, now=now())


def test_memory_is_bounded_and_the_least_recently_used_goes_first():
    """OA-H-01's kind: a resource server that sees a million tokens costs no more than one."""
    seen = SeenTokens(max_entries=3)
    for name in "abc":
        seen.find(name, OURS)
        seen.remember(name, OURS, SAID)
    seen.find("a", OURS)
    seen.remember("d", OURS, SAID)

    assert 3 == len(seen)
    assert [True, False, True, True] == [seen.find(name, OURS) is not None for name in "abcd"]


def test_what_another_key_set_has_verified_says_nothing():
    """The same keys loaded anew may lack one, and are another set."""
    seen = SeenTokens()
    seen.remember("a", OURS, SAID)

    assert seen.find("a", OTHERS) is None
    assert seen.find("a", OURS) is None


def test_what_was_verified_is_forgotten_after_a_minute():
    """However often it is asked for meanwhile."""
    clock = [0.0]
    seen = SeenTokens(monotonic=lambda: clock[0])
    seen.remember("a", OURS, SAID)
    found = []
    for clock[0] in (0.0, 30.0, 59.9, 60.0):
        found.append(seen.find("a", OURS))

    assert [SAID, SAID, SAID, None] == found


def test_no_token_is_kept():
    """Only its hash: a dump of the memory of these holds none that anybody could present."""
    seen, token = SeenTokens(), own_jwt()
    seen.find(token, OURS)
    seen.remember(token, OURS, SAID)

    assert token not in repr(vars(seen)) + repr(list(seen._verified))
