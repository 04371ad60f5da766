"""The vectors of ``make_jws`` whose fault is in the text, the header, the payload or the key."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tests.vectors.make_jws import (
    CLAIMS,
    EC,
    ED_JWK,
    ES256,
    ES256_KEYS,
    GOOD,
    RSA,
    RSA_1024,
    Vector,
    b64,
    ec_jwk,
    ec_key,
    ecdsa,
    number,
    pkcs1,
    rsa_jwk,
    seed,
    signed,
    vector,
)

# A power of 65537 modulo each of the primes up to 167, as the faulty generator makes them.
ROCA_PRIMES = [p for p in range(3, 168, 2) if all(p % d for d in range(3, p, 2))]


def _es256(header: dict[str, Any] | bytes, claims: bytes = CLAIMS) -> str:
    text = signed(header, claims)
    return f"{text}.{b64(ecdsa(text.encode()))}"


def _bits_set(part: str) -> str:
    """The same bytes in another spelling: the bits that no byte uses are set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(part) % 4, "no bits are unused"
    return part[:-1] + alphabet[alphabet.index(part[-1]) | 1]


def texts() -> Iterator[Vector]:
    """RFC 7515 §7.1: three parts of base64url, in one spelling, and nothing around them."""
    # A header of 10 bytes more, so that its last character has bits that no byte uses.
    header, payload, signature = _es256(ES256 | {"x": ""}).split(".")
    good = f"{header}.{payload}.{signature}"
    flattened = {"protected": header, "payload": payload, "signature": signature}
    general = {
        "payload": payload,
        "signatures": [{"protected": header, "signature": signature}],
    }
    wrong = {
        "padding on the header": f"{header}=.{payload}.{signature}",
        "padding on the payload": f"{header}.{payload}=.{signature}",
        "padding on the signature": f"{good}==",
        "much padding": f"{good}{'=' * 100}",
        "unused bits of the header": f"{_bits_set(header)}.{payload}.{signature}",
        "unused bits of the payload": f"{header}.{_bits_set(payload)}.{signature}",
        "unused bits of the signature": f"{header}.{payload}.{_bits_set(signature)}",
        "a length that no bytes have": f"{good}AAA",
        "a leading space": f" {good}",
        "a trailing space": f"{good} ",
        "a trailing newline": f"{good}\n",
        "a space in the payload": f"{header}.{payload[:5]} {payload[5:]}.{signature}",
        "a newline in the signature": f"{header}.{payload}.{signature[:5]}\r\n{signature[5:]}",
        "a tab between": f"{header}.\t{payload}.{signature}",
        "a NUL": f"{good}\0",
        "foreign characters": f"{header}.{payload}.!{signature}!",
        "the other alphabet": f"{header}.{payload}.+/{signature[2:]}",
        "full-width letters": f"{header}.{payload}.{chr(0xFF21)}{signature[1:]}",
        "an empty header": f".{payload}.{signature}",
        "an empty payload": f"{header}..{signature}",
        "an empty signature": f"{header}.{payload}.",
        "nothing": "",
        "dots": "..",
        "one part": header,
        "two parts": f"{header}.{payload}",
        "four parts": f"{good}.{signature}",
        "five parts": f"{header}.{payload}.{signature}.{signature}.{signature}",
        "two tokens": f"{good}.{good}",
        "two tokens with a space": f"{good} {good}",
        "a leading dot": f".{good}",
        "a trailing dot": f"{good}.",
        "a prefix Bearer": f"Bearer {good}",
        "quotes": f'"{good}"',
        "flattened JSON": json.dumps(flattened),
        "general JSON": json.dumps(general),
        "the header in standard base64": f"ez4/fQ==.{payload}.{signature}",
    }
    for comment, jws in wrong.items():
        yield vector("texts", comment, jws, ES256_KEYS, "ES256")


def headers() -> Iterator[Vector]:
    """RFC 7515 §4: one JSON object that names one algorithm and asks for nothing else."""
    alone = {name: value for name, value in ES256.items() if name != "alg"}
    values: dict[str, Any] = {
        **{f"alg {name!r}": ES256 | {"alg": name} for name in ("none", "None", "nOnE", "NONE", "")},
        **{
            f"alg {name!r}": ES256 | {"alg": name}
            for name in ("es256", "ES256 ", "ES256K", "HS256")
        },
        **{f"alg {value!r}": ES256 | {"alg": value} for value in (None, 1, True, ["ES256"], {})},
        "no alg": alone,
        **{
            f"crit {value!r}": ES256 | {"crit": value, "exp": 1, "foo": 1}
            for value in (["exp"], ["foo"], ["alg"], ["b64"], [], [1], "exp", None, ["exp", "exp"])
        },
        "crit of what is absent": ES256 | {"crit": ["absent"]},
        "b64 false": ES256 | {"b64": False},
        "b64 false and crit": ES256 | {"b64": False, "crit": ["b64"]},
        "b64 true": ES256 | {"b64": True},
        "zip": ES256 | {"zip": "DEF"},
        "enc": ES256 | {"enc": "A256GCM"},
        **{f"kid {value!r}": ES256 | {"kid": value} for value in (None, 1, [], {}, "", ["k"])},
        "another kid": ES256 | {"kid": "K"},
        "a kid with a space": ES256 | {"kid": "k "},
        "a kid of 2 KB": ES256 | {"kid": "k" * 2000},
        **{f"typ {value!r}": ES256 | {"typ": value} for value in (None, 1, [], {})},
    }
    for comment, header in values.items():
        yield vector("headers", comment, _es256(header), ES256_KEYS, "ES256")
    raw = {
        "alg twice": b'{"alg":"ES256","alg":"ES256","kid":"k"}',
        "alg twice, the first none": b'{"alg":"none","alg":"ES256","kid":"k"}',
        "alg twice, by an escape": b'{"alg":"ES256","\\u0061lg":"ES256","kid":"k"}',
        "kid twice": b'{"alg":"ES256","kid":"k","kid":"k"}',
        "a byte order mark": b'\xef\xbb\xbf{"alg":"ES256","kid":"k"}',
        "UTF-16": '{"alg":"ES256","kid":"k"}'.encode("utf-16"),
        "Latin-1": b'{"alg":"ES256","kid":"k","x":"\xe9"}',
        "trailing text": b'{"alg":"ES256","kid":"k"} x',
        "two objects": b'{"alg":"ES256","kid":"k"}{}',
        "a comment": b'{"alg":"ES256","kid":"k"/**/}',
        "single quotes": b"{'alg':'ES256','kid':'k'}",
        "a lone surrogate": b'{"alg":"ES256","kid":"k","x":"\\ud800"}',
        "a NUL in a string": b'{"alg":"ES256","kid":"k","x":"\\u0000"}',
        "NaN": b'{"alg":"ES256","kid":"k","x":NaN}',
        "an array": b'["ES256"]',
        "a string": b'"ES256"',
        "null": b"null",
        "17 levels": b'{"alg":"ES256","kid":"k","x":' + b"[" * 16 + b"]" * 16 + b"}",
        "over 1 KiB": b'{"alg":"ES256","kid":"k","x":"' + b"x" * 1024 + b'"}',
    }
    for comment, header in raw.items():
        yield vector("headers", comment, _es256(header), ES256_KEYS, "ES256")


def payloads() -> Iterator[Vector]:
    """RFC 7519 §7.2: one JSON object in UTF-8, understood in one way only."""
    raw = {
        "sub twice": b'{"sub":"alice","sub":"alice"}',
        "sub twice, by an escape": b'{"sub":"alice","\\u0073ub":"bob"}',
        "a member twice, deep inside": b'{"act":{"act":{"sub":"a","sub":"b"}}}',
        "trailing text": CLAIMS + b"x",
        "a trailing NUL": CLAIMS + b"\0",
        "a leading byte order mark": b"\xef\xbb\xbf" + CLAIMS,
        "UTF-16": CLAIMS.decode().encode("utf-16"),
        "UTF-32": CLAIMS.decode().encode("utf-32"),
        "an overlong slash": b'{"sub":"\xc0\xaf"}',
        "a surrogate in UTF-8": b'{"sub":"\xed\xa0\x80"}',
        "a lone surrogate": b'{"sub":"\\udead"}',
        "a reversed pair": b'{"sub":"\\udc00\\ud800"}',
        "a NUL": b'{"sub":"alice\\u0000"}',
        "a raw newline": b'{"sub":"al\nice"}',
        "NaN": b'{"exp":NaN}',
        "Infinity": b'{"exp":Infinity}',
        "minus Infinity": b'{"exp":-Infinity}',
        "1e400": b'{"exp":1e400}',
        "1e999999": b'{"exp":1e999999}',
        "an integer of 1000 digits": b'{"exp":' + b"9" * 1000 + b"}",
        "hexadecimal": b'{"exp":0x10}',
        "a leading zero": b'{"exp":01}',
        "a plus": b'{"exp":+1}',
        "a trailing comma": b'{"exp":1,}',
        "a comment": b'{"exp":1}//',
        "an array": b"[]",
        "a string": b'"alice"',
        "a number": b"1",
        "null": b"null",
        "nothing but space": b" ",
        "17 levels": b'{"x":' + b"[" * 16 + b"]" * 16 + b"}",
        "1000 levels": b'{"x":' + b"[" * 1000 + b"]" * 1000 + b"}",
        "1000 levels that never end": b'{"x":' * 1000,
    }
    for comment, claims in raw.items():
        yield vector("payloads", comment, _es256(ES256, claims), ES256_KEYS, "ES256")


def keys() -> Iterator[Vector]:
    """RFC 7517 §4, RFC 8725 §3.4, §3.5: a good signature under a key that must not be used."""
    jwk = ES256_KEYS[0]
    other = ec_jwk(ec_key("another", "ES256"), "ES256")
    secret = {"kty": "oct", "k": b64(b"sec"), "kid": "s"}
    sets: dict[str, list[Any]] = {
        "an empty set": [],
        "another key": [other],
        "the kid twice": [jwk, other],
        "the kid twice, the other first": [other, jwk],
        "a symmetric key beside it": [jwk, secret],
        "a symmetric key before it": [secret, jwk],
        "for encryption": [jwk | {"use": "enc"}],
        "use is null": [jwk | {"use": None}],
        "key_ops without verify": [jwk | {"key_ops": ["sign"]}],
        "key_ops is text": [jwk | {"key_ops": "verify"}],
        "use and key_ops disagree": [jwk | {"use": "sig", "key_ops": ["deriveKey"]}],
        "alg of another curve": [jwk | {"alg": "ES384"}],
        "alg of another kind": [jwk | {"alg": "RS256"}],
        "alg none": [jwk | {"alg": "none"}],
        "alg of a secret": [jwk | {"alg": "HS256"}],
        "alg is an array": [jwk | {"alg": ["ES256"]}],
        "the private part": [jwk | {"d": number(EC["ES256"].private_numbers().private_value, 32)}],
        "not on the curve": [jwk | {"y": number(1, 32)}],
        "the point at zero": [jwk | {"x": number(0, 32), "y": number(0, 32)}],
        "a coordinate above p": [jwk | {"x": number(2**256 - 1, 32)}],
        "a short coordinate": [jwk | {"x": number(1, 31)}],
        "a long coordinate": [jwk | {"x": b64(b"\0" + base64.urlsafe_b64decode(jwk["x"] + "="))}],
        "a padded coordinate": [jwk | {"x": jwk["x"] + "="}],
        "a coordinate with a space": [jwk | {"x": jwk["x"][:5] + " " + jwk["x"][5:]}],
        "no y": [{name: value for name, value in jwk.items() if name != "y"}],
        "x is a number": [jwk | {"x": 1}],
        "crv of another curve": [jwk | {"crv": "P-384"}],
        "crv secp256k1": [_k1()],
        "crv unknown": [jwk | {"crv": "P-255"}],
        "crv in lower case": [jwk | {"crv": "p-256"}],
        "kty unknown": [jwk | {"kty": "XX"}],
        "kty in lower case": [jwk | {"kty": "ec"}],
        "no kty": [{name: value for name, value in jwk.items() if name != "kty"}],
        "kty of another kind": [jwk | {"kty": "RSA"}],
        "kid is a number": [jwk | {"kid": 1}],
        "no object": ["k", None, 1, [], True],
        "an Ed25519 key": [ED_JWK],
    }
    for comment, members in sets.items():
        yield vector("keys", comment, GOOD, members, "ES256")
    text = signed({"alg": "RS256", "kid": "k"})
    good, public = f"{text}.{b64(pkcs1(text.encode()))}", RSA.public_key().public_numbers()
    small = f"{text}.{b64(pkcs1(text.encode(), RSA_1024))}"
    yield vector("rsa-keys", "1024 bits", small, [rsa_jwk(RSA_1024)], "RS256")
    wrong = {
        "e is 1": {"e": number(1)},
        "e is 0": {"e": b64(b"\0")},
        "e is even": {"e": number(65536)},
        "e of 64 bits": {"e": number(2**63 + 1)},
        "e is empty": {"e": ""},
        "n is even": {"n": number(public.n + 1)},
        "n has the factor 3": {"n": number(_multiple_of_3(public.n))},
        "n of 8192 bits": {"n": number(2**8191 + 1)},
        "n by the faulty generator (CVE-2017-15361)": {"n": number(_roca())},
        "n is padded": {"n": number(public.n) + "="},
        "alg of another kind": {"alg": "PS256"},
        "alg of a curve": {"alg": "ES256"},
        "primes beside it": {"p": number(3), "q": number(5)},
    }
    for comment, members in wrong.items():
        yield vector("rsa-keys", comment, good, [rsa_jwk(RSA, **members)], "RS256")


def _multiple_of_3(n: int) -> int:
    return next(each for each in (n, n + 2, n + 4) if each % 3 == 0)


def _k1() -> dict[str, Any]:
    point = ec.derive_private_key(int.from_bytes(seed("k1", 31)), ec.SECP256K1())
    numbers = point.public_key().public_numbers()
    return {
        **ES256_KEYS[0],
        "crv": "secp256k1",
        "x": number(numbers.x, 32),
        "y": number(numbers.y, 32),
    }


def _roca() -> int:
    modulus = 1
    for p in ROCA_PRIMES:
        modulus *= p
    top = (1 << 2047) // modulus + int.from_bytes(seed("roca", 32))
    candidate = top * modulus + pow(65537, 1234567, modulus)
    return candidate if candidate % 2 else candidate + modulus
