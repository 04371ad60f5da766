"""Attacks on reference tokens: guess them, cut them, and read or write the table behind them."""

import asyncio
import hashlib
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.domain import SignedToken
from broker.jose.sign import generate_signing_key
from broker.minting.mint import mint
from broker.tokens.own import Inactive
from broker.tokens.references import References
from tests.builders import BROKER, exchange, target, verified_token
from tests.decisions import permit
from tests.verification import ReferenceMemory, own_tokens, verifier_with
from tests.wire import ACCESS_TOKEN

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
KEY = generate_signing_key("ES256")
STRANGERS = generate_signing_key("ES256")


class OneKey:
    """Signs with one key."""

    executor = None

    def __init__(self, key=KEY) -> None:
        self._key = key

    def signing_key(self, algorithm: str):
        return self._key


def minted(key=KEY, form: str = "reference") -> SignedToken:
    """A token for ``svc-b``, as it is before it is committed."""
    now = datetime.now(UTC)
    asked = exchange(
        at=now,
        subject=verified_token(
            issued_at=now, root_issued_at=now, expires_at=now + timedelta(hours=1)
        ),
        targets=(target(format=form),),
    )
    return mint(permit(asked), OneKey(key), issuer=BROKER, id=secrets.token_hex(16), now=now)


@pytest.fixture
def table():
    """The table ``reference_token``."""
    return ReferenceMemory()


@pytest.fixture
def tokens(table):
    """What introspection asks, over that table and the key of this file."""
    return own_tokens(verifier_with(References(table), KEY.public_jwk))


def committed(table, signed: SignedToken) -> str:
    """Store the token as the audit writer does."""
    assert signed.reference is not None
    table[signed.reference.digest] = signed.reference.record
    return signed.token


async def outcome(tokens, token: str):
    return await tokens.examine(token, now=datetime.now(UTC))


async def test_the_honest_one_is_active(table, tokens):
    """The twin of all that follows."""
    found = await outcome(tokens, committed(table, minted()))

    assert ("svc-a", ACCESS_TOKEN, "idp:alice") == (
        found.client_id,
        found.token_type,
        found.local_subject,
    )


@pytest.mark.row("CVE-2026-27840")
async def test_no_part_and_no_extension_of_a_token_is_a_token(table, tokens):
    """CVE-2026-27840: every prefix, every suffix, and each character before and behind it."""
    token = committed(table, minted())
    parts = [token[:end] for end in range(43)] + [token[begin:] for begin in range(1, 43)]
    longer = [text for c in ALPHABET + "=. \n" for text in (token + c, c + token)]

    assert {Inactive.UNKNOWN} == {await outcome(tokens, text) for text in parts + longer}


@pytest.mark.row("CVE-2026-27840")
async def test_a_token_that_differs_in_one_character_is_another(table, tokens):
    """The two bits that its last character does not use included: it is a text, not a number."""
    token = committed(table, minted())
    others = [
        token[:place] + c + token[place + 1 :]
        for place in (0, 21, 42)
        for c in ALPHABET
        if c != token[place]
    ]

    assert {Inactive.UNKNOWN} == {await outcome(tokens, text) for text in others}


@pytest.mark.row("IN-2.2-08")
async def test_who_reads_the_table_has_no_token(table, tokens):
    """Attack: a backup leaks, and its hashes and signed records are presented as tokens."""
    committed(table, minted())
    (digest, record), *_ = table.items()
    found = {await outcome(tokens, text) for text in (record, digest.hex())}

    assert found <= {Inactive.UNKNOWN, Inactive.OTHER_TYPE}


@pytest.mark.row("IN-2.2-08")
@pytest.mark.parametrize("whose", ["another-token", "a-strangers-key", "an-access-token"])
async def test_who_writes_to_the_table_issues_nothing(table, tokens, whose):
    """Attack: a row is inserted for a token of the attacker's choice."""
    chosen = secrets.token_urlsafe(32)
    digest = hashlib.sha256(chosen.encode()).digest()
    good, strangers = minted(), minted(STRANGERS)
    table[digest] = {
        "another-token": good.reference.record,
        "a-strangers-key": strangers.reference.record,
        "an-access-token": minted(form="jwt").token,
    }[whose]
    found = await outcome(tokens, chosen)

    assert isinstance(found, Inactive)
    assert not isinstance(await outcome(tokens, committed(table, good)), Inactive)


@given(text=st.text(alphabet=ALPHABET, min_size=43, max_size=43))
@settings(max_examples=50)
def test_nothing_that_is_guessed_is_there(text):
    """IN-2.3-02: 256 bits, and a guess is an answer like any other."""
    tokens = own_tokens(verifier_with(References(ReferenceMemory()), KEY.public_jwk))

    assert Inactive.UNKNOWN is asyncio.run(outcome(tokens, text))
