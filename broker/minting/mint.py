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
    payload, reference = orjson.dumps(claims), None
    if target.format == "reference":
        token, reference = _make_reference(key, payload, id=id, expires_at=permit.expires_at)
    else:
        token = _sign(key, payload, typ=TYP_ACCESS_TOKEN)
    return SignedToken(
        permit=permit,
        id=id,
        token=token,
        txn=claims["txn"],
        kid=key.kid,
        issued_at=now.replace(microsecond=0),
        expires_at=permit.expires_at,
        claims=claims,
        reference=reference,
    )


def _make_reference(
    key: SigningKey,
    payload: bytes,
    *,
    id: str,  # noqa: A002 — the claim's meaning
    expires_at: datetime,
) -> tuple[str, Reference]:
    """Return a text that says nothing, and what it stands for."""
    token = secrets.token_urlsafe(REFERENCE_BYTES)
    digest = hashlib.sha256(token.encode("ascii")).digest()
    # Whose record it is (as in RFC 9449 §4.2), so that no copy of it makes another token.
    record = _sign(key, payload, typ=TYP_REFERENCE, ath=base64url.encode(digest))
    return token, Reference(digest, id, record, key.kid, expires_at)


def _sign(key: SigningKey, payload: bytes, **header: str) -> str:
    # Nothing in a header of ours says where keys are, or asks for an extension.
    signed = sign_compact(key, {"alg": key.algorithm, "kid": key.kid, **header}, payload)
    if len(signed) > MAX_ISSUED_TOKEN:
        raise MintRejected(Reason.MINT_TOKEN_TOO_LARGE)
    return signed
