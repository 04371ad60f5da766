"""Signatures that are not verified twice: what is remembered, and what is judged each time."""

from datetime import UTC, datetime, timedelta

import pytest

from broker.blocklist.rule import Rule, Scope
from broker.domain import VerifiedToken
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
from tests.jwts import BROKER_ISSUER, STRANGERS_KEY, jwt, public_jwk, unverified_claims
from tests.verification import OWN_KEY, REFERENCE_TABLE, own_jwt

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


def test_what_another_key_set_has_verified_is_not_remembered():
    """A key set that was replaced while a signature was verified says nothing any more."""
    seen = SeenTokens()
    seen.find("a", OURS)
    seen.remember("a", OTHERS, SAID)

    assert seen.find("a", OURS) is None
    assert seen.find("a", OTHERS) is None


def test_no_token_is_kept():
    """Only its hash: a dump of the memory of these holds none that anybody could present."""
    seen, token = SeenTokens(), own_jwt()
    seen.find(token, OURS)
    seen.remember(token, OURS, SAID)

    assert token not in repr(vars(seen)) + repr(list(seen._verified))
