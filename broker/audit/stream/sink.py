"""What every receiver of a stream has in common."""

from collections.abc import Sequence
from typing import Protocol

from broker.audit.stream.message import Message


class Undelivered(Exception):  # noqa: N818 — a state of something outside
    """A receiver did not take messages; they are sent again. ``str()`` is for people."""

    def __init__(self, text: str, *, after: float | None = None) -> None:
        """``after``: seconds for which the receiver wants to be left alone."""
        super().__init__(text)
        self.after = after


class Sink(Protocol):
    """A receiver."""

    @property
    def kind(self) -> str:
        """``file``, ``syslog`` or ``otlp``."""

    async def deliver(self, messages: Sequence[Message]) -> int:
        """Return once the receiver has all of them, as far as its protocol tells.

        What is returned is how many of them it has refused for good. Raises ``Undelivered``: then
        it may have some of them, and all are to be sent again.
        """

    async def aclose(self) -> None:
        """Let go of what is open, at once."""
