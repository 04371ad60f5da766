"""Client secrets: generated, hashed, and matched by nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.clients.secret import SecretHashes, generate_secret, hash_secret

OLD, NEW = "old~secret.0123456789", "new~secret.0123456789"


@pytest.mark.row("OA-2.3-07", "OA-10-01", "D-09")
def test_a_generated_secret_has_256_random_bits_in_unreserved_characters():
    """RFC 6749 §10.10: nobody guesses it, and no library has to encode it."""
    made = {generate_secret() for _ in range(100)}

    assert 100 == len(made)
    assert all(re.fullmatch(r"[A-Za-z0-9._~-]{43}", secret) for secret in made)


def test_the_configuration_holds_the_hash():
    """As any tool computes it: ``printf %s SECRET | sha256sum``."""
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

    assert f"sha256:{digest}" == hash_secret("abc")


@pytest.mark.row("OA-2.3-07")
def test_two_secrets_are_active_while_one_is_replaced():
    """Old and new in the window, only the new one afterwards."""
    before = SecretHashes.load([hash_secret(OLD)])
    during = SecretHashes.load([hash_secret(OLD), hash_secret(NEW)])
    after = SecretHashes.load([hash_secret(NEW)])

    assert [[True, False], [True, True], [False, True]] == [
        [hashes.match(OLD), hashes.match(NEW)] for hashes in (before, during, after)
    ]


@pytest.mark.row("OA-2.3-07", "CVE-2026-73309")
@pytest.mark.parametrize(
    "nothing", ["", " ", "\t", "\n", "\u00a0", "   \r\n"], ids=["empty", *"12345"]
)
def test_nothing_matches_nobody(nothing):
    """Not even where somebody hashed nothing, nor where there is no secret at all."""
    assert not SecretHashes.load([hash_secret(nothing)]).match(nothing)
    assert not SecretHashes.load([]).match(nothing)


@pytest.mark.row("OA-2.3-07", "CVE-2026-27840")
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(OLD[:-1], id="prefix"),
        pytest.param(OLD[1:], id="suffix"),
        pytest.param(OLD + "x", id="longer"),
        pytest.param(f" {OLD}", id="space-before"),
        pytest.param(OLD.upper(), id="case"),
        pytest.param(hash_secret(OLD), id="its-own-hash"),
        pytest.param(hash_secret(OLD).removeprefix("sha256:"), id="its-bare-hash"),
        pytest.param("\ud800", id="lone-surrogate"),
    ],
)
def test_a_secret_matches_exactly(wrong):
    """Who has read the configuration has no secret."""
    assert not SecretHashes.load([hash_secret(OLD)]).match(wrong)


def test_hex_digits_have_no_case():
    """Some tools print them in capitals."""
    line = "sha256:" + hash_secret(OLD).removeprefix("sha256:").upper()

    assert SecretHashes.load([line]).match(OLD)


def test_hashes_are_not_shown():
    """A hash is no secret, and nobody's business."""
    hashes = SecretHashes.load([hash_secret(OLD)])

    assert "SecretHashes()" == repr(hashes)


@given(st.text(), st.text())
def test_only_the_secret_itself_matches(secret, presented):
    """For any pair of texts."""
    hashes = SecretHashes.load([hash_secret(secret)])

    assert (secret == presented and bool(secret.strip())) == hashes.match(presented)
