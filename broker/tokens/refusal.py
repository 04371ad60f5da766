"""Why a token is refused, before it is said whether it was the subject's or the actor's."""

from enum import StrEnum
from typing import Literal

from broker.errors import Reason, VerificationRejected

Role = Literal["subject", "actor"]


class Cause(StrEnum):
    """What both kinds of token are refused for: the second part of the ``Reason``."""

    MALFORMED = "malformed"
    TYPE_NOT_ACCEPTED = "type_not_accepted"
    ISSUER_UNKNOWN = "issuer_unknown"
    ALGORITHM_NOT_ALLOWED = "algorithm_not_allowed"
    KEY_UNKNOWN = "key_unknown"
    SIGNATURE_INVALID = "signature_invalid"
    CLAIM_MISSING = "claim_missing"
    CLAIM_INVALID = "claim_invalid"
    CLAIM_NOT_BELIEVED = "claim_not_believed"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    TOO_OLD = "too_old"
    AUDIENCE_MISMATCH = "audience_mismatch"
    ISSUER_NOT_FOR_CLIENT = "issuer_not_for_client"
    SUBJECT_IS_CLIENT = "subject_is_client"
    REFERENCE_UNKNOWN = "reference_unknown"
    CLIENT_UNKNOWN = "client_unknown"
    INACTIVE = "inactive"
    REVOKED = "revoked"


class TokenRefused(Exception):  # noqa: N818 — a refusal is an outcome, not an error of ours
    """A token is not acceptable. Stays within this package; ``rejection`` is what leaves it."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.value)
        self.cause = cause

    def rejection(self, role: Role) -> VerificationRejected:
        """Return the refusal of the exchange, in the words of the closed set of reasons."""
        return VerificationRejected(Reason(f"{role}_token.{self.cause.value}"))
