"""How far a replay is, in a line of a terminal that changes; elsewhere nothing."""

import time
from typing import Final

from rich.console import Console

from broker.cli.progress import StatusLine
from broker.workbench.replay.tally import Tally

_EVERY: Final = 0.2  # seconds


class ReplayProgress(StatusLine):
    """Prints to standard error, and is gone at the end."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._began: float | None = None
        self._shown = 0.0

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
            f" {tally.changed:,} change, {tally.widening:,} widen …"
        )
