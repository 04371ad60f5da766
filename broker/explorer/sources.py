"""Where pages read, by what they open and judge it, and where they say that they did."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from broker.audit.note import VerifierKey
from broker.audit.query import CannotRead
from broker.audit.reader import RecordReader
from broker.audit.vault import Vault
from broker.db.engine import Database
from broker.explorer.pages import Trouble, Troubled

_PATIENCE: Final = timedelta(seconds=5)  # of whoever waits for a page

Recorder = Callable[[str, Mapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Means:
    """What somebody who looks has at hand."""

    url: str = field(repr=False)  # of the database, best as ``broker_auditor``
    zone: ZoneInfo
    by: str  # who looks, for the record
    vault: Vault | None = None  # none: persons are pseudonyms
    keys: Sequence[VerifierKey] = ()  # none: signatures are not judged
    checkpoints: Path | None = None  # that were kept outside


class Sources:
    """The database as pages see it. Reading is read only by the database's own word."""

    def __init__(self, means: Means) -> None:
        self.zone, self.vault, self.keys = means.zone, means.vault, means.keys
        self.checkpoints = means.checkpoints
        self.reading = Database(means.url, timeout=_PATIENCE, read_only=True)
        # What is read by the chunk takes as long as there are chunks.
        self.streaming = Database(means.url, timeout=None, read_only=True, pool_size=2)
        self.recording = Database(means.url, timeout=_PATIENCE, pool_size=1)
        self.reader = RecordReader(self.reading, means.vault)
        self.streaming_reader = RecordReader(self.streaming, means.vault)
        self._by = means.by
        self._recorder: Recorder = _unrecorded

    @property
    def pseudonym(self) -> Callable[[str], str] | None:
        """What makes of a name the pseudonym that rows have."""
        return None if self.vault is None else self.vault.pseudonym

    async def record(self, action: str, details: Mapping[str, Any]) -> None:
        """Have on record what is about to be shown. Raises ``Troubled``: then it is not shown."""
        try:
            await self._recorder(action, details)
        except CannotRead as error:
            raise Troubled(
                Trouble(
                    503,
                    "Not shown, for it cannot be recorded",
                    f"Who looks at the trail is on record, and that failed: {error}.",
                    "Try again when the database accepts writes.",
                )
            ) from error

    def now(self) -> datetime:
        """Return the time."""
        return datetime.now(UTC)

    async def aclose(self) -> None:
        """Close every connection."""
        for database in (self.reading, self.streaming, self.recording):
            await database.aclose()


async def _unrecorded(_action: str, _details: Mapping[str, Any]) -> None:
    """Stand in until there is a place to record it."""
