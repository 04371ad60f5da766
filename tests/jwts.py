"""Tokens as any issuer could have made them, and as none should: signed here byte by byte.

No library of the broker's is used, so that a header or payload can be as wrong as a test wants.
"""

import base64
import hashlib
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

IDP = "https://idp.test"
OTHER = "https://other.test"
ACTS = "https://acts.test"
KEEP = "https://keep.test"
ONCE = "https://once.test"
SCOPELESS = "https://scopeless.test"
STRICT = "https://strict.test"
ISSUERS = (IDP, OTHER, ACTS, KEEP, ONCE, SCOPELESS, STRICT)

BROKER_ISSUER = "https://broker.test"

ABSENT: Any = object()  # as a claim or header parameter: leave it out

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

KEYS: dict[str, PrivateKey] = {
    issuer: ec.generate_private_key(ec.SECP256R1()) for issuer in ISSUERS
}
STRANGERS_KEY = ec.generate_private_key(ec.SECP256R1())
CLIENT_KEY = ec.generate_private_key(ec.SECP256R1())


def b64url(data: bytes) -> str:
    """Base64url without padding. RFC 7515 §2."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def b64url_decode(text: str) -> bytes:
    """The inverse of ``b64url``."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _number(value: int, size: int | None = None) -> str:
    return b64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def public_jwk(key: PrivateKey, **members: Any) -> dict[str, Any]:
    """The public JWK of a key, with ``kid`` as its RFC 7638 thumbprint unless said otherwise."""
    public = key.public_key()
    if isinstance(public, ec.EllipticCurvePublicKey):
        size = (public.curve.key_size + 7) // 8
        numbers = public.public_numbers()
        curve = {256: "P-256", 384: "P-384", 521: "P-521"}[public.curve.key_size]
        required = {
            "crv": curve,
            "kty": "EC",
            "x": _number(numbers.x, size),
            "y": _number(numbers.y, size),
        }
    elif isinstance(public, rsa.RSAPublicKey):
        numbers_rsa = public.public_numbers()
        required = {"e": _number(numbers_rsa.e), "kty": "RSA", "n": _number(numbers_rsa.n)}
    else:
        required = {"crv": "Ed25519", "kty": "OKP", "x": b64url(public.public_bytes_raw())}
    canonical = json.dumps(required, separators=(",", ":"), sort_keys=True).encode()
    jwk = {**required, "use": "sig", "kid": b64url(hashlib.sha256(canonical).digest()), **members}
    return {name: value for name, value in jwk.items() if value is not ABSENT}


def signature(signing_input: bytes, key: PrivateKey, alg: str) -> bytes:
    """The JWS signature of ``signing_input`` under ``alg``. RFC 7518 §3, RFC 8037 §3.1."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(signing_input)
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[alg[-3:]]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.curve.key_size + 7) // 8
        r, s = decode_dss_signature(key.sign(signing_input, ec.ECDSA(digest)))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if alg.startswith("PS"):
        pad: Any = padding.PSS(padding.MGF1(digest), digest.digest_size)
    else:
        pad = padding.PKCS1v15()
    return key.sign(signing_input, pad, digest)


def _json(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    present = {name: member for name, member in value.items() if member is not ABSENT}
    return json.dumps(present, separators=(",", ":")).encode()


def compact(
    header: dict[str, Any] | bytes, claims: dict[str, Any] | bytes, key: PrivateKey, alg: str
) -> str:
    """A JWS in compact serialization; ``bytes`` go in as they are."""
    signing_input = f"{b64url(_json(header))}.{b64url(_json(claims))}"
    return f"{signing_input}.{b64url(signature(signing_input.encode(), key, alg))}"


def jwt(
    claims: dict[str, Any],
    *,
    key: PrivateKey,
    alg: str = "ES256",
    header: dict[str, Any] | None = None,
) -> str:
    """A signed JWT whose header names the key; members of ``header`` override."""
    base = {"alg": alg, "kid": public_jwk(key)["kid"], "typ": "JWT"}
    return compact(base | (header or {}), claims, key, alg)


def resigned(
    token: str, sign: Callable[[bytes], bytes], header: dict[str, Any] | bytes | None = None
) -> str:
    """The same claims with another signature, and with other header parameters if given."""
    if isinstance(header, dict):
        header = _json(unverified_header(token) | header)
    first, payload, _ = token.split(".")
    signing_input = f"{first if header is None else b64url(header)}.{payload}"
    return f"{signing_input}.{b64url(sign(signing_input.encode()))}"


def subject_claims(**overrides: Any) -> dict[str, Any]:
    """What a good subject token of the identity provider says; ``ABSENT`` removes a claim."""
    now = int(time.time())
    claims = {
        "iss": IDP,
        "sub": "alice",
        "aud": "svc-a",
        "scope": "orders.read",
        "iat": now - 5,
        "exp": now + 3_600,
        "jti": str(uuid.uuid4()),
    }
    return {name: value for name, value in (claims | overrides).items() if value is not ABSENT}


def subject_jwt(
    *,
    key: PrivateKey | None = None,
    alg: str = "ES256",
    kid: Any = None,
    typ: Any = "JWT",
    header: dict[str, Any] | None = None,
    extra: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    """A subject token, by default one that is accepted: ``alice`` of the identity provider.

    ``extra`` are claims whose names are parameters here.
    """
    body = subject_claims(**claims) | (extra or {})
    iss = body.get("iss")
    signing_key = key or KEYS.get(iss if isinstance(iss, str) else IDP) or KEYS[IDP]
    members = {"typ": typ} | ({} if kid is None else {"kid": kid}) | (header or {})
    return jwt(body, key=signing_key, alg=alg, header=members)


def actor_jwt(**overrides: Any) -> str:
    """An actor token of ``svc-a``: its ``azp`` is the client, and it is meant for the broker."""
    claims = {"sub": "batch", "azp": "svc-a", "aud": BROKER_ISSUER, "scope": ABSENT} | overrides
    return subject_jwt(**claims)


def client_assertion(
    client_id: str = "svc-jwt",
    *,
    key: PrivateKey = CLIENT_KEY,
    alg: str = "ES256",
    **overrides: Any,
) -> str:
    """A client assertion that is accepted once. RFC 7523 §3."""
    now = int(time.time())
    header = overrides.pop("header", {"typ": "client-authentication+jwt"})
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": BROKER_ISSUER,
        "iat": now,
        "exp": now + 60,
        "jti": str(uuid.uuid4()),
    } | overrides
    present = {name: value for name, value in claims.items() if value is not ABSENT}
    return jwt(present, key=key, alg=alg, header=header)


def unverified_claims(token: str) -> dict[str, Any]:
    """The payload of a JWT, whoever signed it."""
    return json.loads(b64url_decode(token.split(".")[1]))


def unverified_header(token: str) -> dict[str, Any]:
    """The JOSE header of a JWT."""
    return json.loads(b64url_decode(token.split(".", maxsplit=1)[0]))
