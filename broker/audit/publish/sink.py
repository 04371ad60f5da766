"""What every place outside has in common that checkpoints go to."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from broker.audit.publish.outbox import Outbox


class SinkUnavailable(Exception):  # noqa: N818 — a state of something outside
    """A place outside did not take a checkpoint; it is tried again. ``str()`` is for people."""


@dataclass(frozen=True, slots=True)
class Contradiction(Exception):  # noqa: N818 — an answer to the operator
    """What is outside and the database cannot both be true."""

    text: str

    def __str__(self) -> str:
        return self.text


class Sink(Protocol):
    """A place outside."""

    @property
    def kind(self) -> str:
        """``file``, ``s3`` or ``witness``."""

    @property
    def name(self) -> str:
        """What tells it from the others, and its cursor."""

    async def examine(self, outbox: Outbox) -> None:
        """Compare what is there with the database; raises ``Contradiction``."""

    async def catch_up(self, outbox: Outbox, patience: timedelta) -> int:
        """Bring there what is due and older than ``patience``; returns how many checkpoints.

        Raises ``SinkUnavailable`` or ``Contradiction``. What was brought stays brought; the same
        may come twice.
        """

    async def aclose(self) -> None:
        """Let go of what is open."""
