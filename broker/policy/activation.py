"""Which policy is in force, and which is tried beside it: what all activations add up to.

What is enforced lies on a stack: to enforce another one puts it on top, to roll back takes the top
away again. At the bottom is what ``policy.path`` says. A candidate is at most one; to enforce
anything, or to roll back, ends its trial.

The ledger is read from its newest rows on; of very long ones the beginning is left out, and then
the way back ends there.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

MAX_CLIENTS: Final = 1000
CONFIGURED: Final = ""  # stands for a revision: what ``policy.path`` says
_PARTS: Final = 10_000  # that clients are divided into


class Action(StrEnum):
    """What was done."""

    ACTIVATE = "activate"
    ROLLBACK = "rollback"


class Mode(StrEnum):
    """What a bundle is there for."""

    ENFORCE = "enforce"  # it decides
    OBSERVE = "observe"  # it is asked as well, and what it says is only counted
    CANARY = "canary"  # it decides for some clients


@dataclass(frozen=True, slots=True)
class Share:
    """Whose exchanges a candidate decides."""

    percent: int = 0  # of all clients
    clients: frozenset[str] = frozenset()  # these in any case

    def includes(self, client: str) -> bool:
        """Whether this client is one of them: always the same ones, and more if it grows."""
        if client in self.clients:
            return True
        digest = hashlib.sha256(client.encode()).digest()
        return int.from_bytes(digest[:8]) % _PARTS < self.percent * (_PARTS // 100)


@dataclass(frozen=True, slots=True)
class Activation:
    """One row of the ledger."""

    seq: int
    action: Action
    mode: Mode
    revision: str  # or ``CONFIGURED``, after a rollback
    share: Share
    by: str
    reason: str
    at: datetime

    def describe(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "seq": self.seq,
            "action": self.action.value,
            "mode": self.mode.value,
            "revision": self.revision or None,
            "percent": self.share.percent,
            "clients": sorted(self.share.clients),
            "by": self.by,
            "reason": self.reason,
            "at": self.at.isoformat().replace("+00:00", "Z"),
        }


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate, and what it is tried with."""

    revision: str
    mode: Mode  # never ``ENFORCE``
    share: Share = Share()


@dataclass(frozen=True, slots=True)
class State:
    """What is in force after the row ``seq``; 0: nothing was ever activated."""

    seq: int = 0
    enforced: tuple[str, ...] = (CONFIGURED,)  # the last one decides, those before lead back
    trial: Trial | None = None

    @property
    def live(self) -> str:
        """The revision that decides, or ``CONFIGURED``."""
        return self.enforced[-1]

    def after(self, activation: Activation) -> "State":
        """Return what is in force once this happened as well."""
        revision, mode = activation.revision, activation.mode
        if activation.action is Action.ROLLBACK:
            kept = self.enforced
            while kept and kept[-1] != revision:
                kept = kept[:-1]
            return State(activation.seq, kept or (revision,))
        if mode is not Mode.ENFORCE:
            return State(activation.seq, self.enforced, Trial(revision, mode, activation.share))
        if revision == self.live:
            return State(activation.seq, self.enforced)
        return State(activation.seq, (*self.enforced, revision))

    def way_back(self) -> str | None:
        """Return what a rollback puts in force: what was, before the newest change; None: nothing.

        A trial is the newest change if there is one, and ending it leaves the rest as it is.
        """
        if self.trial is not None:
            return self.live
        return self.enforced[-2] if len(self.enforced) > 1 else None

    def needed(self) -> frozenset[str]:
        """Return the revisions that are in force, tried, or that a way leads back to."""
        tried = () if self.trial is None else (self.trial.revision,)
        return frozenset((*self.enforced, *tried)) - {CONFIGURED}


def add_up(activations: Iterable[Activation]) -> State:
    """Return what is in force after all of these, which are in order."""
    state = State()
    for activation in activations:
        state = state.after(activation)
    return state
