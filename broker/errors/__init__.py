"""Why something was refused, and what the caller is told about it.

``Reason`` is closed and stable: audit rows, metrics, policies and docs carry it. ``PUBLIC`` gives
each reason its OAuth ``error``, status and fixed text, so no text ever comes from a request.

    Rejected                     one request is refused
    ├── ParseRejected            step 0
    ├── AuthenticationRejected   step 1
    ├── VerificationRejected     step 2
    ├── DelegationRejected       step 3
    ├── DecisionRejected         step 4
    ├── MintRejected             step 5
    ├── CommitRejected           step 6
    ├── IntrospectionRejected    nothing is said about a token
    ├── RevocationRejected       a token is not revoked
    ├── ProxyRejected            no token of an upstream is handed on
    └── LimitRejected            somebody asks for more than its share
    ConfigurationError           the broker cannot start, or keep, with this configuration
"""

from dataclasses import dataclass

from broker.errors.public import PUBLIC, PublicError
from broker.errors.reason import Reason

__all__ = [
    "PUBLIC",
    "AuthenticationRejected",
    "CommitRejected",
    "ConfigurationError",
    "DecisionRejected",
    "DelegationRejected",
    "IntrospectionRejected",
    "LimitReached",
    "LimitRejected",
    "MintRejected",
    "ParseRejected",
    "ProxyRejected",
    "PublicError",
    "Reason",
    "Rejected",
    "RevocationRejected",
    "VerificationRejected",
]


class Rejected(Exception):  # noqa: N818 — a refusal is an outcome, not an error of ours
    """A request is refused for a ``Reason``; the library's own error is the ``__cause__``."""

    def __init__(self, reason: Reason, *, retry_after: int | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.retry_after = retry_after  # seconds; overrides the table's


class ParseRejected(Rejected):
    """Step 0: the request is not a token exchange request."""


class AuthenticationRejected(Rejected):
    """Step 1: the client is not who it says, or may not use this grant."""


class VerificationRejected(Rejected):
    """Step 2: the subject or actor token is not acceptable."""


class DelegationRejected(Rejected):
    """Step 3: the chain may not be extended in this way."""


class DecisionRejected(Rejected):
    """Step 4: the target, the scopes or the policy says no."""


class MintRejected(Rejected):
    """Step 5: the permitted token cannot be made."""


class CommitRejected(Rejected):
    """Step 6: no durable audit row, so no token."""


class IntrospectionRejected(Rejected):
    """The caller gets no answer about a token, whatever the token is. RFC 7662 §2.3."""


class RevocationRejected(Rejected):
    """The token is not revoked, and the client is told so. RFC 7009 §2.2.1."""


class ProxyRejected(Rejected):
    """The token proxy has no token for the client, and it is not the upstream that says so."""


@dataclass(frozen=True, slots=True)
class LimitReached:
    """Which limit it is that somebody has reached."""

    name: str
    count: int  # what there is
    seconds: int  # in how long; 0: at the same time
    reset: int  # seconds until something is left


class LimitRejected(Rejected):
    """The caller asks for more than its share, or all together for more than there is."""

    def __init__(self, reason: Reason, reached: LimitReached | None = None) -> None:
        super().__init__(reason, retry_after=None if reached is None else reached.reset)
        self.reached = reached


class ConfigurationError(Exception):
    """The configuration is unusable. ``str()`` names the key and says what to write instead."""
