"""One thing that is wrong with a policy's data."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from broker.settings.problems import Path, render_path

Place = Callable[[Path], str]  # of a member of some part of the data: ``file:line``


class Weight(IntEnum):
    """How bad it is."""

    HINT = 0  # may well be meant
    DOUBT = 1  # worth a look
    FAULT = 2  # a request will be refused for it


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong, where, and what to do about it."""

    place: str  # file:line as the operator knows it; empty for a policy that was built elsewhere
    subject: str  # what it is about, as ``grants checkout.inventory.scopes[0]``
    text: str  # one sentence, without its subject
    remedy: str
    weight: Weight

    @property
    def fails(self) -> bool:
        """Whether a request will be refused for it."""
        return self.weight is Weight.FAULT


def fault(place: str, subject: str, text: str, remedy: str) -> Flaw:
    """Return what a request will be refused for."""
    return Flaw(place, subject, text, remedy, Weight.FAULT)


def doubt(place: str, subject: str, text: str, remedy: str) -> Flaw:
    """Return what is worth a look."""
    return Flaw(place, subject, text, remedy, Weight.DOUBT)


def note(place: str, subject: str, text: str, remedy: str) -> Flaw:
    """Return what may well be meant."""
    return Flaw(place, subject, text, remedy, Weight.HINT)


def in_grants(*path: str | int) -> str:
    """Return what a part of the grants is called."""
    return f"grants {render_path(path)}" if path else "grants"
