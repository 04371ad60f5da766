"""One revocation: what it is of, and from when tokens are good again."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

_MAX_NAME: Final = 2048  # bytes; no claim that it is compared with is longer
_MAX_TEXT: Final = 1024  # bytes


class Scope(StrEnum):
    """What is revoked. The names are in the ledger and in the audit trail, so they stay."""

    SUBJECT = "subject"
    ACTOR = "actor"
    CLIENT = "client"
    ISSUER = "issuer"
    KID = "kid"
    TXN = "txn"
    JTI = "jti"
    ALL = "all"


# What there is once and never again is revoked outright; whoever can come back, up to a time.
OUTRIGHT: Final = frozenset({Scope.KID, Scope.TXN, Scope.JTI})
WITH_ISSUER: Final = frozenset({Scope.SUBJECT, Scope.ACTOR, Scope.ISSUER, Scope.KID, Scope.JTI})
WITHOUT_KEY: Final = frozenset({Scope.ISSUER, Scope.ALL})


class RuleInvalid(ValueError):  # noqa: N818 — an answer to whoever revokes
    """This revokes nothing that there could be. ``str()`` says what to write instead."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the ledger.

    ``issuer`` and ``key`` are a ``Principal`` for ``subject`` and ``actor``; ``key`` is a client's
    id, a ``kid``, a ``txn`` or a ``jti`` otherwise, and empty where the scope has none.
    """

    seq: int  # from 1, in the order of commits
    scope: Scope
    issuer: str
    key: str
    not_before: datetime | None  # what was issued earlier is dead; None: whatever there is
    reason: str
    by: str
    at: datetime  # by the database's clock

    def outlives(self, moment: datetime) -> bool:
        """Whether a token that this rule is about can still be presented after ``moment``.

        ``moment`` is the longest life of anything ago. A key is never forgotten: who has stolen
        it can go on signing for as long as its issuer publishes it.
        """
        if self.scope is Scope.KID or self.at >= moment:
            return True
        return self.not_before is not None and self.not_before >= moment

    def describe(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "seq": self.seq,
            "scope": self.scope.value,
            "issuer": self.issuer or None,
            "key": self.key or None,
            "not_before": None if self.not_before is None else self.not_before.isoformat(),
            "reason": self.reason,
            "by": self.by,
            "at": self.at.isoformat(),
        }


def check_rule(
    scope: Scope, issuer: str, key: str, not_before: datetime | None, reason: str, by: str
) -> None:
    """Raise ``RuleInvalid`` for a rule that the ledger would not take."""
    if (scope in WITH_ISSUER) != bool(issuer):
        raise RuleInvalid(f"{scope}: {'say' if scope in WITH_ISSUER else 'leave out'} the issuer")
    if (scope in WITHOUT_KEY) == bool(key):
        raise RuleInvalid(f"{scope}: {'leave out' if scope in WITHOUT_KEY else 'say'} which one")
    if (scope in OUTRIGHT) != (not_before is None):
        raise RuleInvalid(f"{scope}: {'leave out' if scope in OUTRIGHT else 'say'} not_before")
    if not_before is not None and not_before.tzinfo is None:
        raise RuleInvalid("not_before: say of which time zone it is")
    if not reason or not by:
        raise RuleInvalid("say why, and who revokes")
    for text, most in ((issuer, _MAX_NAME), (key, _MAX_NAME), (reason, _MAX_TEXT), (by, _MAX_TEXT)):
        # PostgreSQL has no NUL, and no claim that is compared with it has one that matters.
        if "\0" in text or len(text.encode("utf-8", "surrogatepass")) > most:
            raise RuleInvalid(f"at most {most} bytes of text, without NUL")
