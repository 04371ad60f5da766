"""Where pages read, by what they open and judge it, and where they say that they did."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from broker.audit.access import Look, NotRecorded, record_access
from broker.audit.note import VerifierKey
from broker.audit.reader import RecordReader
from broker.audit.vault import Vault
from broker.db.engine import Database
from broker.explorer.pages import Trouble, Troubled

_PATIENCE: Final = timedelta(seconds=5)  # of whoever waits for a page


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
        # By the audit key a link to older rows also works for colleagues who have it.
        self.cursor_key = os.urandom(32) if means.vault is None else means.vault.cursor_key

    @property
    def pseudonym(self) -> Callable[[str], str] | None:
        """What makes of a name the pseudonym that rows have."""
        return None if self.vault is None else self.vault.pseudonym

    async def record(self, action: Look, details: Mapping[str, Any]) -> None:
        """Have on record what is about to be shown. Raises ``Troubled``: then it is not shown."""
        try:
            await record_access(
                self.recording, action, details, by=self._by, pseudonym=self.pseudonym
            )
        except NotRecorded as error:
            said = str(error)
            raise Troubled(
                Trouble(
                    503,
                    "Nothing is shown that cannot be recorded",
                    f"{said[:1].upper()}{said[1:]}.",
                    "Try again once the database can be written to.",
                )
            ) from error

    def now(self) -> datetime:
        """Return the time."""
        return datetime.now(UTC)

    async def aclose(self) -> None:
        """Close every connection."""
        for database in (self.reading, self.streaming, self.recording):
            await database.aclose()
