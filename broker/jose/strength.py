"""Whether a public key is worth verifying with: sizes, known bad structure, points on their curve.

RFC 8725 §3.4 and §3.5, RFC 7518 §3.3; the checks that the library leaves to its caller.
"""

from typing import Final

MIN_RSA_BITS: Final = 2048  # RFC 7518 §3.3
MAX_RSA_BITS: Final = 4096  # ours: the cost of a forged token stays bounded
MAX_RSA_EXPONENT: Final = 2**32

_PRIMES: Final = tuple(p for p in range(3, 168, 2) if all(p % d for d in range(3, p, 2)))
# Keys of a faulty generator (CVE-2017-15361, "ROCA") are a power of 65537 modulo each of these
# primes. A sound key is so by chance about once in 10^8.
_ROCA: Final = {p: frozenset(pow(65537, i, p) for i in range(p)) for p in _PRIMES}

_P25519: Final = 2**255 - 19
_D25519: Final = -121665 * pow(121666, -1, _P25519) % _P25519


def rsa_weakness(n: int, e: int) -> str | None:
    """Return what is wrong with an RSA public key, or None."""
    if n.bit_length() < MIN_RSA_BITS:
        return f"RSA of {n.bit_length()} bits; the least is {MIN_RSA_BITS}"
    if n.bit_length() > MAX_RSA_BITS:
        return f"RSA of {n.bit_length()} bits; the most is {MAX_RSA_BITS}"
    if e <= 1 or e % 2 == 0 or e > MAX_RSA_EXPONENT:
        return "the RSA exponent is even, 1 or larger than 32 bits"
    if n % 2 == 0 or any(n % p == 0 for p in _PRIMES):
        return "the RSA modulus has a small factor"
    if all(n % p in powers for p, powers in _ROCA.items()):
        return "the RSA key was made by a faulty generator (CVE-2017-15361)"
    return None


def ed25519_weakness(x: bytes) -> str | None:
    """Return what is wrong with an Ed25519 public key, or None. RFC 8032 §5.1.3, §5.1.7."""
    if len(x) != 32:
        return "an Ed25519 key has 32 bytes"
    y = int.from_bytes(x, "little") % 2**255  # the highest bit is the sign of the other coordinate
    if y >= _P25519:
        return "the Ed25519 point is not in its canonical form"
    # Points whose order divides 8 verify signatures over any message: y is 0 or ±1 for the orders
    # 4, 2 and 1; and doubling a point of order 8 gives y = 0, which is the last equation.
    square = y * y % _P25519
    if square in (0, 1) or (_D25519 * square * square + 2 * square - 1) % _P25519 == 0:
        return "the Ed25519 point is of small order"
    # On the curve if (y² - 1) / (d·y² + 1) is a square, by Euler's criterion.
    ratio = (square - 1) * pow(_D25519 * square + 1, -1, _P25519)
    if pow(ratio, (_P25519 - 1) // 2, _P25519) != 1:
        return "the Ed25519 point is not on the curve"
    return None
