"""What to call Ed25519: the name that RFC 9864 gives it, or the older one for who knows no other.

Two spellings of one algorithm, and libraries of two languages that verify. So the default is the
new name, and a target whose verifiers need the old one has ``algorithm: EdDSA``.
"""

import time
import warnings

import jwcrypto.jwk
import jwcrypto.jwt
import jwt as pyjwt
import orjson
import pytest
from authlib.deprecate import AuthlibDeprecationWarning

from broker.jose.sign import generate_signing_key, sign_compact
from tests.clients.libraries import NOT_RUN, SOURCES, javascript

with warnings.catch_warnings():
    # Many resource servers still verify with this, the older one.
    warnings.simplefilter("ignore", AuthlibDeprecationWarning)
    from authlib.jose import JsonWebKey, JsonWebToken
    from authlib.jose.errors import JoseError

JOSE = javascript("jose", (SOURCES / "jose.mjs").read_text())
needs_jose = pytest.mark.skipif(not JOSE.is_here(), reason=NOT_RUN.format("jose"))

KEYS = {name: generate_signing_key(name) for name in ("Ed25519", "EdDSA")}
CLAIMS = {"iss": "https://broker.test", "aud": "svc-b", "exp": int(time.time()) + 3600}


def token(name: str) -> str:
    """A token of ours under that name."""
    key = KEYS[name]
    header = {"alg": name, "kid": key.kid, "typ": "at+jwt"}
    return sign_compact(key, header, orjson.dumps(CLAIMS))


def published(name: str) -> dict:
    """The JWK Set with its key."""
    return {"keys": [KEYS[name].public_jwk]}


async def by_pyjwt(name: str) -> bool:
    try:
        (key,) = pyjwt.PyJWKSet.from_dict(published(name)).keys
        return CLAIMS == pyjwt.decode(token(name), key, algorithms=[name], audience="svc-b")
    except pyjwt.PyJWTError:
        return False


async def by_jwcrypto(name: str) -> bool:
    keys = jwcrypto.jwk.JWKSet.from_json(orjson.dumps(published(name)).decode())
    verified = jwcrypto.jwt.JWT(jwt=token(name), key=keys, algs=[name], expected_type="JWS")
    return CLAIMS == orjson.loads(verified.claims)


async def by_authlib(name: str) -> bool:
    try:
        keys = JsonWebKey.import_key_set(published(name))
        return CLAIMS == dict(JsonWebToken([name]).decode(token(name), keys))
    except JoseError:
        return False


async def by_jose(name: str) -> bool:
    asked = {"jwks": published(name), "token": token(name), "audience": "svc-b"}
    answer = await JOSE.ask("", asked | {"algorithms": [name]})
    return {"claims": CLAIMS} == answer


LIBRARIES = [
    pytest.param(by_pyjwt, {"EdDSA"}, id="pyjwt"),
    pytest.param(by_jwcrypto, {"Ed25519", "EdDSA"}, id="jwcrypto"),
    pytest.param(by_authlib, {"EdDSA"}, id="authlib"),
    pytest.param(by_jose, {"Ed25519", "EdDSA"}, id="jose", marks=needs_jose),
]


@pytest.mark.row("JW-06", "D-06")
@pytest.mark.parametrize(("verifies", "known"), LIBRARIES)
async def test_which_name_of_ed25519_a_library_knows(verifies, known):
    """RFC 9864 §2.2: as docs/how-to/rotate-keys.md has it. A library that learns more is news."""
    assert known == {name for name in KEYS if await verifies(name)}


@pytest.mark.row("JW-06")
def test_both_names_are_one_algorithm_and_two_keys():
    """What differs is ``alg``, in the header and in the JWK Set; no key is published as both."""
    shapes = [{**key.public_jwk, "x": "", "kid": ""} for key in KEYS.values()]

    assert ["Ed25519", "EdDSA"] == [shape.pop("alg") for shape in shapes]
    assert shapes[0] == shapes[1]
    assert KEYS["Ed25519"].kid != KEYS["EdDSA"].kid
