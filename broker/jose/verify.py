"""Whether a key of this issuer made this signature. RFC 7515 §5.2, RFC 8725 §3.1.

Only the signature: who may have issued it, for whom and until when is judged by the caller.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from broker.jose.algorithms import ALGORITHMS
from broker.jose.compact import UnverifiedJws
from broker.jose.errors import AlgorithmNotAllowed, KeyUnknown, SignatureInvalid
from broker.jose.jwk import KeySet


@dataclass(frozen=True, slots=True)
class VerifiedJws:
    """A JWS whose signature is the issuer's. Made only by ``broker.jose.verify``."""

    header: dict[str, Any] = field(repr=False)
    claims: dict[str, Any] = field(repr=False)
    typ: str | None  # in its short form and lower case
    kid: str | None  # of the key, whether the header names it or not
    thumbprint: str  # of the key, RFC 7638


def verify_signature(jws: UnverifiedJws, keys: KeySet, algorithms: Collection[str]) -> VerifiedJws:
    """Return header and claims once a key of ``keys`` has verified them.

    ``algorithms`` are the issuer's, by name and exact: ``Ed25519`` and ``EdDSA`` are listed apart.

    Raises ``AlgorithmNotAllowed``; ``KeyUnknown`` if no key fits, so that fresh keys may help;
    ``SignatureInvalid`` if one fits and it was not this one.
    """
    # A name that is listed but unknown here is not allowed either, so no configuration makes
    # ``none`` or an HMAC pass.
    if jws.alg not in algorithms or jws.alg not in ALGORITHMS:
        raise AlgorithmNotAllowed("the algorithm is not allowed")
    candidates = keys.candidates(jws.kid, jws.alg)
    if not candidates:
        raise KeyUnknown("no key fits")
    signing_input = jws.signing_input
    for candidate in candidates:
        # The model is the key's, not the header's: the two were joined when the key was loaded.
        if candidate.algorithm.verify(signing_input, jws.signature, candidate.key):
            return VerifiedJws(
                header=jws.unverified_header,
                claims=jws.unverified_claims,
                typ=jws.typ,
                kid=candidate.kid,
                thumbprint=candidate.thumbprint,
            )
    raise SignatureInvalid("the signature is not valid")
