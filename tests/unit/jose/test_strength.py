"""Which public keys are worth verifying with. RFC 7518 §3.3, RFC 8032 §5.1, RFC 8725 §3.4."""

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.jose.strength import MAX_RSA_BITS, MIN_RSA_BITS, ed25519_weakness, rsa_weakness
from tests.vectors import jws_texts, make_jws

N = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
P = make_jws.ED25519_P


@pytest.mark.row("JW-08", "JW-22")
@pytest.mark.parametrize("e", [3, 65537, 2**32 - 1])
@pytest.mark.parametrize("n", [N, N * N], ids=["2048", "4096"])
def test_a_sound_rsa_key_is_fit(n, e):
    """RFC 7518 §3.3: whether it is a product of two primes is known to its owner alone."""
    assert rsa_weakness(n, e) is None


@pytest.mark.row("JW-08", "JW-22", "ATK-DOS-01")
@pytest.mark.parametrize(
    ("n", "e", "word"),
    [
        pytest.param(N >> 1, 65537, "2047 bits", id="one-bit-short"),
        pytest.param(N >> 1024, 65537, "1024 bits", id="1024-bits"),
        pytest.param((1 << MAX_RSA_BITS) | 1, 65537, "4097 bits", id="one-bit-long"),
        pytest.param((1 << 8191) | 1, 65537, "8192 bits", id="8192-bits"),
        pytest.param(0, 65537, "0 bits", id="zero"),
        pytest.param(N, 0, "exponent", id="e-0"),
        pytest.param(N, 1, "exponent", id="e-1"),
        pytest.param(N, 2, "exponent", id="e-2"),
        pytest.param(N, 65536, "exponent", id="e-even"),
        pytest.param(N, 2**32 + 1, "exponent", id="e-of-33-bits"),
        pytest.param(N, N, "exponent", id="e-is-n"),
        pytest.param(N + 1, 65537, "small factor", id="n-even"),
        pytest.param(167 * ((1 << 2047) // 167 | 1), 65537, "small factor", id="n-by-167"),
        pytest.param(jws_texts._roca(), 65537, "CVE-2017-15361", id="roca"),
    ],
)
def test_an_rsa_key_that_is_not_fit_is_named(n, e, word):
    """RFC 8725 §3.4: too short, too long, of bad structure."""
    assert word in (rsa_weakness(n, e) or "")


@pytest.mark.row("JW-08")
def test_the_bounds_are_those_that_are_promised():
    """RFC 7518 §3.3 below, ours above."""
    assert (2048, 4096) == (MIN_RSA_BITS, MAX_RSA_BITS)


@pytest.mark.row("JW-08", "ATK-SIG-01")
@pytest.mark.parametrize("name", make_jws.SMALL_ORDER)
def test_a_point_of_small_order_is_refused(name):
    """RFC 8032 §5.1.7: under most of them one signature is good for many messages."""
    assert ed25519_weakness(make_jws.SMALL_ORDER[name]) is not None


@pytest.mark.row("JW-08", "ATK-SIG-01")
def test_a_point_of_order_1_really_verifies_everything():
    """Why it matters: the library takes the key, and a forged signature under it."""
    identity = make_jws.SMALL_ORDER["order-1"]
    key = ed25519.Ed25519PublicKey.from_public_bytes(identity)
    forged = identity + bytes(32)
    verified = []
    for message in (b"one", b"other"):
        try:
            key.verify(forged, message)
            verified.append(True)
        except InvalidSignature:
            verified.append(False)

    assert [True, True] == verified
    assert "small order" in (ed25519_weakness(identity) or "")


@pytest.mark.row("JW-08")
@pytest.mark.parametrize(
    ("x", "word"),
    [
        (b"", "32 bytes"),
        (bytes(31), "32 bytes"),
        (bytes(33), "32 bytes"),
        (P.to_bytes(32, "little"), "canonical"),
        ((P + 2).to_bytes(32, "little"), "canonical"),
        (b"\xff" * 32, "canonical"),
        ((2).to_bytes(32, "little"), "curve"),
        ((7).to_bytes(32, "little"), "curve"),
    ],
)
def test_a_point_that_is_none_is_named(x, word):
    """RFC 8032 §5.1.3: 32 bytes, below the prime, on the curve."""
    assert word in (ed25519_weakness(x) or "")


@pytest.mark.row("JW-08")
@settings(max_examples=50)
@given(st.binary(min_size=32, max_size=32))
def test_every_key_that_somebody_generates_is_fit(seed):
    """RFC 8032 §5.1.5: no honest key is ever taken for a weak one."""
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key()

    assert ed25519_weakness(key.public_bytes_raw()) is None


@pytest.mark.row("JW-08")
@settings(max_examples=100)
@given(st.integers(0, 2**256 - 1))
def test_half_of_all_numbers_are_points_and_none_breaks_the_check(number):
    """RFC 8032 §5.1.3: against solving for the other coordinate, step by step."""
    x = number.to_bytes(32, "little")
    y = number % 2**255
    if y >= P:
        assert ed25519_weakness(x) is not None
        return
    d = -121665 * pow(121666, P - 2, P) % P
    u, v = (y * y - 1) % P, (d * y * y + 1) % P
    root = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    on_curve = v * root * root % P in (u, -u % P)
    weakness = ed25519_weakness(x)

    assert on_curve == (weakness is None or "small order" in weakness)
