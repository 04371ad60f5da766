"""How a stream fares, on a terminal: one line that changes; otherwise a line for each change."""

from datetime import UTC, datetime
from types import TracebackType

from rich.console import Console
from rich.text import Text

from broker.audit.follow import Followed, Gap
from broker.cli.progress import StatusLine


class StreamConsole(StatusLine):
    """Prints it to standard error."""

    def __init__(self, console: Console, to: str) -> None:
        super().__init__(console)
        self._to = to
        self._fault: str | None = None
        self._rows = 0
        self._position = 0
        self.begun = False
        self.gaps = 0
        self.refused = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, _)
        if kind is None:
            self._print(
                "✓ ", "good", f"{self._counted()} delivered, up to batch {self._position:,}"
            )

    def began(self, position: int, size: int) -> None:
        """Say where it goes on."""
        self.begun = True
        self._position = position
        where = f"batch {position + 1:,} of {size:,}" if position < size else "what comes next"
        self._print("• ", "quiet", f"streaming to {self._to}, from {where}")
        self.say("waiting for what is sealed next")

    def delivered(self, found: Followed, refused: int) -> None:
        """Show how much arrived, and how far behind it is."""
        if self._fault is not None:
            self._fault = None
            self._print("✓ ", "good", "it is delivered again")
        if refused:
            self.refused += refused
            self._print("✗ ", "bad", f"the receiver has refused {refused:,} rows for good")
        self._rows += len(found.rows) - refused
        self._position = found.next_position
        self.say(f"{self._counted()} delivered, {_render_lag(found)}")

    def missing(self, gap: Gap) -> None:
        """Say what somebody has taken away."""
        self.gaps += 1
        self._print("✗ ", "bad", f"{gap}, and no tombstone says why: run `broker audit verify`")

    def failed(self, text: str, wait: float) -> None:
        """Say what is wrong, once."""
        if text != self._fault:
            self._fault = text
            self._print("✗ ", "bad", f"{text}; it is tried again")
        self.say(f"{text}; again in {wait:.0f} s")

    def idle(self) -> None:
        """Leave standing what was said."""

    def waits(self) -> None:
        """Say that another one is at it, once."""
        self.failed("another process is at it now", 0)

    def _counted(self) -> str:
        return f"{self._rows:,} row{'' if self._rows == 1 else 's'}"

    def _print(self, sign: str, style: str, text: str) -> None:
        self._console.print(Text.assemble((sign, style), text))


def _render_lag(found: Followed) -> str:
    if found.next_position >= found.size:
        return "all that is sealed"
    behind = f"{found.size - found.next_position:,} batches behind"
    if found.at is None:
        return behind
    return f"{behind}, {int((datetime.now(UTC) - found.at).total_seconds()):,} s"
