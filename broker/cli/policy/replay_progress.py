"""How far a replay is, in a line of a terminal that changes; elsewhere nothing."""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.status import Status
from rich.text import Text

from broker.workbench.replay.tally import Tally

_EVERY: Final = 0.2  # seconds


class ReplayProgress:
    """Prints to standard error, and is gone at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = Status("", console=console, spinner_style="link")
        self._began: float | None = None
        self._shown = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._status.stop()

    def say(self, text: str) -> None:
        """Show what is being done."""
        self._status.update(Text(f"{text} …"))

    def show(self, tally: Tally) -> None:
        """Show how much was replayed, and how old what is replayed is by now."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        if now - self._shown < _EVERY or tally.first is None:
            return
        self._shown = now
        rate = tally.decisions / max(now - self._began, _EVERY)
        at = tally.first[:16].replace("T", " ")
        self.say(
            f"{tally.decisions:,} replayed, {rate:,.0f}/s, back to {at}:"
            f" {tally.changed:,} change, {tally.widening:,} widen"
        )
