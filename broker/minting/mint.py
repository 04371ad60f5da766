"""Step 5, mint: the only place where a ``SignedToken`` is made. RFC 9068 §2."""

from datetime import datetime
from typing import Protocol

import orjson

from broker.domain import Permit, SignedToken
from broker.errors import MintRejected, Reason
from broker.jose.sign import SigningKey, sign_compact
from broker.minting.claims import build_claims
from broker.oauth import MAX_ISSUED_TOKEN, TYP_ACCESS_TOKEN


class SigningKeys(Protocol):
    """Where the key that signs at present comes from."""

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
    (ours: a longer one does not pass through common header limits).
    """
    # The targets of one token share their algorithm: step 4 refused them otherwise.
    key = keys.signing_key(permit.targets[0].algorithm)
    claims = build_claims(permit, issuer=issuer, id=id, now=now)
    # Exactly these three members: nothing here says where keys are, or asks for an extension.
    header = {"alg": key.algorithm, "kid": key.kid, "typ": TYP_ACCESS_TOKEN}
    token = sign_compact(key, header, orjson.dumps(claims))
    if len(token) > MAX_ISSUED_TOKEN:
        raise MintRejected(Reason.MINT_TOKEN_TOO_LARGE)
    return SignedToken(
        permit=permit,
        id=id,
        token=token,
        txn=claims["txn"],
        kid=key.kid,
        issued_at=now.replace(microsecond=0),
        expires_at=permit.expires_at,
        claims=claims,
    )
