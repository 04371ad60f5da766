"""The table ``reference_token``, as far as tokens are looked up in it and forgotten.

Rows are written with the audit row of the token, by the audit writer.
"""

from datetime import timedelta
from typing import Any, Final

from broker.db.engine import Database
from broker.db.kept import KeptConnections, NoAnswer

_SWEEP_ROWS: Final = 1000
# Kept beyond the token's life: the clocks that judge ``exp`` are not the one that sweeps, and until
# then a refusal can say that the token has expired.
_KEPT_AFTER: Final = timedelta(minutes=10)

_FIND: Final = "SELECT claims FROM reference_token WHERE hash = $1"
_SWEEP: Final = """
DELETE FROM reference_token WHERE hash IN (
    SELECT hash FROM reference_token WHERE expires_at < now() - $1::interval LIMIT $2
)
"""


class ReferencesUnavailable(Exception):  # noqa: N818 — a state of the database
    """What a reference token stands for cannot be said, so it is not accepted."""


class ReferenceStore:
    """The records of reference tokens, on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._connections = KeptConnections(database)

    async def find(self, digest: bytes) -> str | None:
        """Return the record of the token of this SHA-256, or None.

        Raises ``ReferencesUnavailable`` within a second.
        """
        record = await self._run(lambda c: c.fetchval(_FIND, digest))
        return None if record is None else str(record)

    async def sweep(self) -> int:
        """Delete the records of tokens that have expired for long; return how many they were.

        In batches, each its own transaction, so that no exchange waits for it.
        Raises ``ReferencesUnavailable``.
        """
        swept = 0
        while True:
            status = await self._run(lambda c: c.execute(_SWEEP, _KEPT_AFTER, _SWEEP_ROWS))
            count = int(status.split()[-1])
            swept += count
            if count < _SWEEP_ROWS:
                return swept

    async def aclose(self) -> None:
        """End every connection."""
        await self._connections.aclose()

    async def _run(self, statement: Any) -> Any:  # noqa: ANN401 — of the driver
        try:
            return await self._connections.run(statement)
        except NoAnswer as error:
            raise ReferencesUnavailable("the reference tokens cannot be reached") from error
