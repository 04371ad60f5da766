"""How far a matrix is, in a line of a terminal that changes; elsewhere nothing."""

import time

from rich.console import Console

from broker.cli.progress import StatusLine

_EVERY = 0.2  # seconds


class MatrixProgress(StatusLine):
    """Prints to standard error, and is gone at the end."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._shown = 0.0

    def show(self, done: int, size: int, asked: int) -> None:
        """Show how many cells of how many are done."""
        now = time.monotonic()
        if now - self._shown >= _EVERY:
            self._shown = now
            self.say(f"{done:,} of {size:,} cells, asked {asked:,} times …")
