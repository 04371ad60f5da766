"""Step 5, mint: the only place where a ``SignedToken`` is made. RFC 9068 §2.

For a target with ``format: reference`` the token is 256 random bits and says nothing; what it
stands for is signed all the same, and stored under its hash when the token is committed.
"""

import hashlib
import secrets
from concurrent.futures import Executor
from datetime import datetime
from typing import Protocol

import orjson

from broker.domain import Permit, Reference, SignedToken
from broker.errors import MintRejected, Reason
from broker.jose import base64url
from broker.jose.sign import SigningKey, sign_compact
from broker.minting.claims import build_claims
from broker.oauth import MAX_ISSUED_TOKEN, REFERENCE_BYTES, TYP_ACCESS_TOKEN, TYP_REFERENCE


class SigningKeys(Protocol):
    """Where the key that signs at present comes from."""

    @property
    def executor(self) -> Executor | None:
        """Where to sign; None: wherever it is asked for, and at once."""

    def signing_key(self, algorithm: str) -> SigningKey:
        """Return the active key; raises ``MintRejected``: ``mint.key_unavailable``."""


def mint(
    permit: Permit,
    keys: SigningKeys,
    *,
    issuer: str,
    id: str,  # noqa: A002 — the claim's meaning
    now: datetime,
) -> SignedToken:
    """Return the permitted token, signed, and not yet to be given to anybody.

    ``id`` is a UUIDv7: the ``jti``, and the id of the audit row. ``now`` is cut to whole seconds.

    Raises ``MintRejected``: ``mint.key_unavailable``, or ``mint.token_too_large`` beyond 8 KiB
    (ours: a longer one does not pass through common header limits; of a reference token it bounds
    what is stored).
    """
    # The targets of one token share their format and algorithm: step 4 refused them otherwise.
    target = permit.targets[0]
    key = keys.signing_key(target.algorithm)
    claims = build_claims(permit, issuer=issuer, id=id, now=now)
    # Nothing in a header says where keys are, or asks for an extension.
    header = {"alg": key.algorithm, "kid": key.kid, "typ": TYP_ACCESS_TOKEN}
    token, digest = "", b""
    if target.format == "reference":
        token = secrets.token_urlsafe(REFERENCE_BYTES)
        digest = hashlib.sha256(token.encode("ascii")).digest()
        # Whose record it is (as in RFC 9449 §4.2), so that no copy of it makes another token.
        header |= {"typ": TYP_REFERENCE, "ath": base64url.encode(digest)}
    signed = sign_compact(key, header, orjson.dumps(claims))
    if len(signed) > MAX_ISSUED_TOKEN:
        raise MintRejected(Reason.MINT_TOKEN_TOO_LARGE)
    reference = Reference(digest, id, signed, key.kid, permit.expires_at) if token else None
    return SignedToken(
        permit=permit,
        id=id,
        token=token or signed,
        txn=claims["txn"],
        kid=key.kid,
        issued_at=now.replace(microsecond=0),
        expires_at=permit.expires_at,
        claims=claims,
        reference=reference,
    )
