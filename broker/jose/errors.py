"""What can be wrong with a token or a key set. No text of the token is in any of these.

JoseError                a token or key set is not acceptable
├── Malformed            it is not what RFC 7515 §7.1 or RFC 7517 §5 describes, or breaks a bound
├── AlgorithmNotAllowed  ``alg`` is not one that the issuer is configured to sign with
├── KeyUnknown           no key of this issuer has that ``kid`` and ``alg``; fresh keys may
└── SignatureInvalid     none of the issuer's keys that fit has made this signature
"""


class JoseError(Exception):
    """A token or key set is not acceptable."""


class Malformed(JoseError):  # noqa: N818 — an outcome, as the seam between packages names it
    """It is not a compact JWS, a JWK set or strict JSON, or it is larger than allowed."""


class AlgorithmNotAllowed(JoseError):  # noqa: N818 — likewise
    """The header names an algorithm that is not on the list. RFC 8725 §3.1."""


class KeyUnknown(JoseError):  # noqa: N818 — likewise
    """No key fits ``kid`` and ``alg``: the caller may fetch the keys anew, once."""


class SignatureInvalid(JoseError):  # noqa: N818 — likewise
    """The signature is none of the issuer's."""
