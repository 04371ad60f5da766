"""The algorithms there are, and what kind of key each takes."""

import pytest

from broker.jose.algorithms import ALGORITHMS


@pytest.mark.row("JW-06", "JW-05")
def test_the_table_is_whole():
    """RFC 7518 §3.1, RFC 9864 §2.2: type and curve of each, and one Ed25519 under two names."""
    assert {
        **dict.fromkeys(("RS256", "RS384", "RS512"), ("RSA", None)),
        **dict.fromkeys(("PS256", "PS384", "PS512"), ("RSA", None)),
        "ES256": ("EC", "P-256"),
        "ES384": ("EC", "P-384"),
        "ES512": ("EC", "P-521"),
        "Ed25519": ("OKP", "Ed25519"),
        "EdDSA": ("OKP", "Ed25519"),
    } == {name: (each.kty, each.crv) for name, each in ALGORITHMS.items()}
    assert ALGORITHMS["Ed25519"] is ALGORITHMS["EdDSA"]


@pytest.mark.row("JW-06", "JW-23")
@pytest.mark.parametrize("name", ["none", "HS256", "HS384", "HS512", "RSA1_5", "ES256K", "Ed448"])
def test_nothing_can_bring_these_back(name):
    """RFC 8725 §3.2: the table cannot be written to."""
    assert name not in ALGORITHMS
    with pytest.raises(TypeError):
        ALGORITHMS[name] = ALGORITHMS["ES256"]
