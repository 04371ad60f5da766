"""A reference token that nobody holds, examined whenever one that never was is asked about.

What is done for it is what is done for one that is revoked, step by step and by the same code, so
the time that an answer takes does not tell which texts were tokens once (ATK-TIM-01).
"""

import hashlib
import secrets
import ssl
from datetime import UTC, datetime
from typing import Final

import orjson

from broker.blocklist.snapshot import Facts, facts_of
from broker.issuers.registry import IssuerRegistry
from broker.jose import base64url
from broker.jose.jwk import KeySet, load_keys
from broker.jose.sign import generate_signing_key, sign_compact
from broker.oauth import REFERENCE_BYTES, TYP_REFERENCE
from broker.settings import ClientSettings
from broker.tokens.references import References
from broker.tokens.verify import TokenVerifier

_ALGORITHM: Final = "ES256"
_CLIENT: Final = "a-client-like-others"
_VALID_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)  # whatever the time is


class _Record(dict[bytes, str]):
    async def find(self, digest: bytes) -> str | None:
        return self.get(digest)


class StandIn:
    """One token of a key of its own. No other verifier would believe it."""

    def __init__(self, issuer: str) -> None:
        """``issuer`` is our own."""
        key = generate_signing_key(_ALGORITHM)
        keys = load_keys({"keys": [key.public_jwk]}, [_ALGORITHM])
        self._token = secrets.token_urlsafe(REFERENCE_BYTES)
        self._issuer = issuer
        digest = hashlib.sha256(self._token.encode()).digest()
        header = {
            "alg": key.algorithm,
            "kid": key.kid,
            "typ": TYP_REFERENCE,
            "ath": base64url.encode(digest),
        }
        claims = orjson.dumps(_claims(issuer))
        self._verifier = TokenVerifier(
            IssuerRegistry(
                (),
                own=issuer,
                # Another set each time, so that the signature is verified each time.
                own_keys=lambda: KeySet(keys.keys),
                tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),  # with which nobody is asked
            ),
            issuer=issuer,
            clients=[ClientSettings.model_construct(id=_CLIENT, targets=())],
            targets=(),
            references=References(_Record({digest: sign_compact(key, header, claims)})),
        )

    async def verify(self) -> Facts:
        """Verify it like any token that is presented; return what revocation asks of it."""
        token = await self._verifier.verify_own(self._token, now=_VALID_AT)
        return facts_of(token, issuer=self._issuer)


def _claims(issuer: str) -> dict[str, object]:
    """Return what a token of ours says, of a subject that is nobody."""
    issued = int(_VALID_AT.timestamp())
    return {
        "iss": issuer,
        "sub": "self:nobody",
        "sub_id": {"format": "iss_sub", "iss": issuer, "sub": "nobody"},
        "aud": "a-target-like-others",
        "scope": "a.read a.write",
        "client_id": _CLIENT,
        "iat": issued,
        "nbf": issued,
        "exp": issued + 300,
        "jti": secrets.token_urlsafe(16),
        "act": {"iss": issuer, "sub": _CLIENT},
        "delegation_depth": 1,
        "max_delegation_depth": 8,
        "txn": secrets.token_urlsafe(16),
        "lineage": [secrets.token_urlsafe(16)],
        "lineage_keys": [secrets.token_urlsafe(16)],
        "lineage_clients": [_CLIENT],
        "root_iat": issued,
    }
