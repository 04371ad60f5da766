"""Make ``jws.json``: compact JWS with the verdict that a strict verifier gives, by class of fault.

The classes are those of Wycheproof's JOSE vectors; each value is our own. Everything is derived
from labels (keys by hashing, ECDSA by RFC 6979), so a second run gives the same file:

    python -m tests.vectors.make_jws

A vector says under which ``algorithms`` and ``keys`` its ``jws`` is judged, and if it is ``valid``.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from itertools import count, product
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

FILE = Path(__file__).with_name("jws.json")

Vector = dict[str, Any]

CURVES = {
    "ES256": (ec.SECP256R1(), "P-256", 32, hashes.SHA256()),
    "ES384": (ec.SECP384R1(), "P-384", 48, hashes.SHA384()),
    "ES512": (ec.SECP521R1(), "P-521", 66, hashes.SHA512()),
}
# The orders of the curves (FIPS 186-4 D.1.2) and of Ed25519's base point (RFC 8032 §5.1).
P256_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
ED25519_L = 2**252 + 27742317777372353535851937790883648493
ED25519_P = 2**255 - 19
# Every encoding of a point whose order divides 8, canonical or not (RFC 8032 §5.1.3).
SMALL_ORDER = {
    "order-1": (1).to_bytes(32, "little"),
    "order-2": (ED25519_P - 1).to_bytes(32, "little"),
    "order-4": bytes(32),
    "order-4-negative": bytes(31) + b"\x80",
    "order-8-a": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    "order-8-b": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
    "order-8-c": bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    "order-8-d": bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
    "order-1-non-canonical": (ED25519_P + 1).to_bytes(32, "little"),
    "order-4-non-canonical": ED25519_P.to_bytes(32, "little"),
    "order-1-negative-zero": (1 + 2**255).to_bytes(32, "little"),
}
SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")  # RFC 8017 §9.2, note 1
CLAIMS = b'{"iss":"https://idp.test","sub":"alice"}'


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def seed(label: str, size: int) -> bytes:
    return hashlib.shake_256(label.encode()).digest(size)


def number(value: int, size: int | None = None) -> str:
    return b64(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def ec_key(label: str, alg: str) -> ec.EllipticCurvePrivateKey:
    curve, _, size, _ = CURVES[alg]
    return ec.derive_private_key(int.from_bytes(seed(label, size - 2)), curve)


def ec_jwk(key: ec.EllipticCurvePrivateKey, alg: str, **members: Any) -> dict[str, Any]:
    _, crv, size, _ = CURVES[alg]
    point = key.public_key().public_numbers()
    return {
        "kty": "EC",
        "crv": crv,
        "x": number(point.x, size),
        "y": number(point.y, size),
        "kid": "k",
        "alg": alg,
    } | members


def is_prime(candidate: int) -> bool:
    odd, halvings = candidate - 1, 0
    while odd % 2 == 0:
        odd, halvings = odd // 2, halvings + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19):  # none of these candidates is made to fool it
        value = pow(base, odd, candidate)
        if value not in (1, candidate - 1) and not any(
            (value := value * value % candidate) == candidate - 1 for _ in range(halvings - 1)
        ):
            return False
    return True


def prime(label: str, bits: int, e: int) -> int:
    start = int.from_bytes(seed(label, bits // 8)) | (3 << (bits - 2)) | 1
    small = [d for d in range(3, 2000, 2) if all(d % k for k in range(3, int(d**0.5) + 1, 2))]
    for candidate in count(start, 2):
        if all(candidate % d for d in small) and (candidate - 1) % e and is_prime(candidate):
            return candidate
    raise AssertionError("there is always a next prime")


def rsa_key(label: str, bits: int, e: int = 65537) -> rsa.RSAPrivateKey:
    p, q = (prime(f"{label} {each}", bits // 2, e) for each in "pq")
    d = pow(e, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(e, p * q)
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), rsa.rsa_crt_iqmp(p, q), public
    )
    return numbers.private_key()


def rsa_jwk(key: rsa.RSAPrivateKey, **members: Any) -> dict[str, Any]:
    public = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": number(public.n), "e": number(public.e), "kid": "k", "alg": "RS256"}
    return jwk | members


EC = {alg: ec_key(f"ec {alg}", alg) for alg in CURVES}
ED = ed25519.Ed25519PrivateKey.from_private_bytes(seed("ed25519", 32))
RSA = rsa_key("rsa", 2048)
RSA_3 = rsa_key("rsa with e=3", 2048, 3)
RSA_1024 = rsa_key("rsa of 1024 bits", 1024)
ED_JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": b64(ED.public_key().public_bytes_raw()),
    "kid": "k",
    "alg": "Ed25519",
}


def ecdsa(message: bytes, alg: str = "ES256") -> bytes:
    _, _, size, digest = CURVES[alg]
    der = EC[alg].sign(message, ec.ECDSA(digest, deterministic_signing=True))
    r, s = decode_dss_signature(der)
    return r.to_bytes(size) + s.to_bytes(size)


def pkcs1(message: bytes, key: rsa.RSAPrivateKey = RSA, digest: Any = None) -> bytes:
    return key.sign(message, padding.PKCS1v15(), digest or hashes.SHA256())


def signed(header: dict[str, Any] | bytes, claims: bytes = CLAIMS) -> str:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return f"{b64(text)}.{b64(claims)}"


def vector(name: str, comment: str, jws: str, keys: list[Any], alg: str, **more: Any) -> Vector:
    return {
        "class": name,
        "comment": comment,
        "algorithms": [alg],
        "keys": keys,
        "jws": jws,
        "valid": False,
    } | more


ES256 = {"alg": "ES256", "kid": "k"}
ES256_KEYS = [ec_jwk(EC["ES256"], "ES256")]
SIGNED = signed(ES256)
GOOD = f"{SIGNED}.{b64(ecdsa(SIGNED.encode()))}"


def good() -> Iterator[Vector]:
    """What must pass, or everything else could fail for the wrong reason."""
    for alg in CURVES:
        text = signed({"alg": alg, "kid": "k"})
        yield vector(
            "good",
            alg,
            f"{text}.{b64(ecdsa(text.encode(), alg))}",
            [ec_jwk(EC[alg], alg)],
            alg,
            valid=True,
        )
    for alg in ("Ed25519", "EdDSA"):
        text = signed({"alg": alg, "kid": "k"})
        yield vector(
            "good", alg, f"{text}.{b64(ED.sign(text.encode()))}", [ED_JWK], alg, valid=True
        )
    text = signed({"alg": "RS256", "kid": "k"})
    for comment, key in (("RS256", RSA), ("RS256 with e=3", RSA_3)):
        yield vector(
            "good",
            comment,
            f"{text}.{b64(pkcs1(text.encode(), key))}",
            [rsa_jwk(key)],
            "RS256",
            valid=True,
        )
    r, s = ecdsa(SIGNED.encode())[:32], int.from_bytes(ecdsa(SIGNED.encode())[32:])
    yield vector(
        "good",
        "the other s of the same signature: legal in ECDSA, so no list goes by a token's text",
        f"{SIGNED}.{b64(r + (P256_N - s).to_bytes(32))}",
        ES256_KEYS,
        "ES256",
        valid=True,
    )
    text = signed(ES256 | {"foo": "bar", "jku": "https://evil.test/"})
    yield vector(
        "good",
        "header parameters that nobody understands are ignored (RFC 7515 §4)",
        f"{text}.{b64(ecdsa(text.encode()))}",
        ES256_KEYS,
        "ES256",
        valid=True,
    )


def ecdsa_values() -> Iterator[Vector]:
    """R and s at the edges of their range. FIPS 186-4 §6.4.2: both in [1, n-1]."""
    edges = {"0": 0, "1": 1, "n-1": P256_N - 1, "n": P256_N, "p": P256_P, "max": 2**256 - 1}
    for (r_name, r), (s_name, s) in product(edges.items(), repeat=2):
        signature = b64(r.to_bytes(32) + s.to_bytes(32))
        yield vector(
            "ecdsa-values", f"r={r_name}, s={s_name}", f"{SIGNED}.{signature}", ES256_KEYS, "ES256"
        )
    r, s = ecdsa(SIGNED.encode())[:32], ecdsa(SIGNED.encode())[32:]
    for name, value in edges.items():
        for comment, pair in ((f"good r, s={name}", (r, None)), (f"r={name}, good s", (None, s))):
            data = b"".join(value.to_bytes(32) if half is None else half for half in pair)
            yield vector("ecdsa-values", comment, f"{SIGNED}.{b64(data)}", ES256_KEYS, "ES256")


def ecdsa_encodings() -> Iterator[Vector]:
    """RFC 7518 §3.4: R and S, 32 bytes each, and nothing else."""
    raw = ecdsa(SIGNED.encode())
    der = EC["ES256"].sign(SIGNED.encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    wrong = {
        "DER": der,
        "DER, 64 bytes of it": der[:64],
        "a trailing zero": raw + b"\0",
        "32 trailing zeros": raw + bytes(32),
        "a leading zero": b"\0" + raw,
        "zeros before each half": bytes(16) + raw[:32] + bytes(16) + raw[32:],
        "one byte short": raw[:-1],
        "R alone": raw[:32],
        "one byte": raw[:1],
        "S before R": raw[32:] + raw[:32],
        "twice": raw + raw,
        "1000 bytes": raw + bytes(936),
        "a bit flipped in R": bytes([raw[0] ^ 1]) + raw[1:],
        "a bit flipped in S": raw[:-1] + bytes([raw[-1] ^ 1]),
        "zeros": bytes(64),
    }
    for comment, data in wrong.items():
        yield vector("ecdsa-encodings", comment, f"{SIGNED}.{b64(data)}", ES256_KEYS, "ES256")


def ed25519_signatures() -> Iterator[Vector]:
    """RFC 8032 §5.1.7: S below the order; 64 bytes; no key of small order."""
    text = signed({"alg": "Ed25519", "kid": "k"})
    raw = ED.sign(text.encode())
    s = int.from_bytes(raw[32:], "little")
    wrong = {
        "S plus the order": raw[:32] + (s + ED25519_L).to_bytes(32, "little"),
        "S at its largest": raw[:32] + b"\xff" * 32,
        "S is the order": raw[:32] + ED25519_L.to_bytes(32, "little"),
        "a trailing zero": raw + b"\0",
        "one byte short": raw[:-1],
        "R alone": raw[:32],
        "zeros": bytes(64),
        "R is the identity, S is 0": (1).to_bytes(32, "little") + bytes(32),
        "R is no point": b"\xff" * 32 + raw[32:],
        "a bit flipped": bytes([raw[0] ^ 1]) + raw[1:],
    }
    for comment, data in wrong.items():
        yield vector("ed25519-signatures", comment, f"{text}.{b64(data)}", [ED_JWK], "Ed25519")
    # Under a key of order 1 such a signature is good for every message.
    forged = b64((1).to_bytes(32, "little") + bytes(32))
    for comment, x in SMALL_ORDER.items():
        jwk = ED_JWK | {"x": b64(x)}
        yield vector("ed25519-keys", comment, f"{text}.{forged}", [jwk], "Ed25519")
    keys = {
        "not on the curve": ED_JWK | {"x": b64((2).to_bytes(32, "little"))},
        "not canonical": ED_JWK | {"x": b64((ED25519_P + 3).to_bytes(32, "little"))},
        "31 bytes": ED_JWK | {"x": ED_JWK["x"][:-2]},
        "33 bytes": ED_JWK | {"x": b64(ED.public_key().public_bytes_raw() + b"\0")},
        "no x": {name: value for name, value in ED_JWK.items() if name != "x"},
        "called X25519": ED_JWK | {"crv": "X25519"},
        "called P-256": ED_JWK | {"crv": "P-256"},
    }
    for comment, jwk in keys.items():
        yield vector("ed25519-keys", comment, f"{text}.{b64(raw)}", [jwk], "Ed25519")
    large = ed448.Ed448PrivateKey.from_private_bytes(seed("ed448", 57))
    jwk_448 = ED_JWK | {
        "crv": "Ed448",
        "x": b64(large.public_key().public_bytes_raw()),
        "alg": "EdDSA",
    }
    text = signed({"alg": "EdDSA", "kid": "k"})
    yield vector(
        "ed25519-keys",
        "Ed448 under EdDSA",
        f"{text}.{b64(large.sign(text.encode()))}",
        [jwk_448],
        "EdDSA",
    )


def rsa_signatures() -> Iterator[Vector]:
    """RFC 8017 §8.2.2: as long as the modulus, below it, and in the one right encoding."""
    text = signed({"alg": "RS256", "kid": "k"})
    raw, n = pkcs1(text.encode()), RSA.public_key().public_numbers().n
    wrong = {
        "a leading zero": b"\0" + raw,
        "a trailing zero": raw + b"\0",
        "one byte short": raw[1:],
        "one byte": raw[:1],
        "plus the modulus": (int.from_bytes(raw) + n).to_bytes(257),
        "zeros": bytes(256),
        "one": bytes(255) + b"\1",
        "the modulus": n.to_bytes(256),
        "the modulus less one": (n - 1).to_bytes(256),
        "by another digest": pkcs1(text.encode(), digest=hashes.SHA512()),
        "by SHA-1": pkcs1(text.encode(), digest=hashes.SHA1()),
        "a bit flipped": raw[:-1] + bytes([raw[-1] ^ 1]),
        "by another key": pkcs1(text.encode(), RSA_3),
    }
    for comment, data in wrong.items():
        yield vector("rsa-signatures", comment, f"{text}.{b64(data)}", [rsa_jwk(RSA)], "RS256")
    # Bleichenbacher's forgery, good for a verifier that ignores what follows the hash (e=3).
    head = b"\0\1\xff\0" + SHA256_INFO + hashlib.sha256(text.encode()).digest()
    root = cube_root(int.from_bytes(head + b"\xff" * (256 - len(head))))
    yield vector(
        "rsa-signatures",
        "a cube root, with garbage behind the hash",
        f"{text}.{b64(root.to_bytes(256))}",
        [rsa_jwk(RSA_3)],
        "RS256",
    )


def cube_root(value: int) -> int:
    low, high = 0, 1 << (value.bit_length() // 3 + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= value else (low, middle - 1)
    return low


def main() -> None:
    FILE.write_text(render(), "utf-8")


def build() -> list[Vector]:
    """Return all vectors, numbered."""
    from tests.vectors import jws_texts

    classes = (
        good,
        ecdsa_values,
        ecdsa_encodings,
        ed25519_signatures,
        rsa_signatures,
        jws_texts.texts,
        jws_texts.headers,
        jws_texts.payloads,
        jws_texts.keys,
    )
    vectors = [each for made in classes for each in made()]
    return [{"id": index, **each} for index, each in enumerate(vectors, 1)]


def render() -> str:
    """Return the file: one vector a line, so that a change shows as one."""
    lines = ",\n".join(json.dumps(each) for each in build())
    return f"[\n{lines}\n]\n"


if __name__ == "__main__":
    main()
