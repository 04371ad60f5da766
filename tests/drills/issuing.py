"""Issuers of the suite whose keys are fetched from a server of the test."""

from typing import Any

from tests.configuration import document
from tests.jwts import public_jwk


def key_set(*keys: Any) -> dict[str, Any]:
    """What an issuer publishes."""
    return {"keys": [public_jwk(key, alg="ES256") for key in keys]}


def fetched_from(urls: dict[str, str]) -> list[dict[str, Any]]:
    """The issuers of the suite, the keys of these fetched from there."""
    issuers = document()["issuers"]
    for issuer in issuers:
        if issuer["issuer"] in urls:
            del issuer["jwks"]
            issuer |= {"jwks_uri": urls[issuer["issuer"]], "allow_private_network": True}
    return issuers
