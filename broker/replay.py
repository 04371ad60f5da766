"""One-time use: whoever claims a token's ``jti`` first has it, across all processes.

RFC 7523 §3 (7), RFC 7519 §4.1.7. The claim is one INSERT, so the database decides; nothing is
looked up first. A claim outlives the token that it is of, and is swept some time after.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final

from broker.db.engine import Database
from broker.db.kept import KeptConnections, NoAnswer
from broker.telemetry import meter

_claims = meter.create_counter(
    "broker.replay.claims", unit="1", description="One-time claims, by outcome."
)

_SWEEP_ROWS: Final = 1000
# Kept beyond the token's life: the clocks that judge ``exp`` are not the one that sweeps.
_KEPT_AFTER: Final = timedelta(minutes=10)

_CLAIM: Final = """
INSERT INTO replay_claim (key, expires_at) VALUES ($1, $2)
ON CONFLICT (key) DO NOTHING RETURNING true
"""
_SWEEP: Final = """
DELETE FROM replay_claim WHERE key IN (
    SELECT key FROM replay_claim WHERE expires_at < now() - $1::interval LIMIT $2
)
"""


class ReplayUnavailable(Exception):  # noqa: N818 — a state of the database
    """Whether it was used before cannot be said, so it is not accepted."""


def claim_key(kind: str, issuer: str, jti: str) -> bytes:
    """Return what a claim is stored under: SHA-256 over all three, each with its length.

    Exact code points: a ``jti`` that differs in case or in its Unicode form is another one.
    """
    digest = hashlib.sha256()
    for part in (kind, issuer, jti):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.digest()


class ReplayStore:
    """The table ``replay_claim``."""

    def __init__(self, database: Database) -> None:
        self._connections = KeptConnections(database)

    async def claim(self, kind: str, issuer: str, jti: str, expires_at: datetime) -> bool:
        """Return whether this is the first claim of that ``jti``; true once, and durable then.

        Raises ``ReplayUnavailable`` within a second. The claim may have been made all the same:
        a token that was spent for nothing is better than one that is accepted twice.
        """
        key = claim_key(kind, issuer, jti)
        first = bool(await self._execute(lambda c: c.fetchval(_CLAIM, key, expires_at)))
        _claims.add(1, {"outcome": "first" if first else "replayed"})
        return first

    async def sweep(self) -> int:
        """Delete the claims of tokens that have expired for long; return how many they were.

        In batches, each its own transaction, so that no claim waits for it.
        Raises ``ReplayUnavailable``.
        """
        swept = 0
        while True:
            status = await self._execute(lambda c: c.execute(_SWEEP, _KEPT_AFTER, _SWEEP_ROWS))
            count = int(status.split()[-1])
            swept += count
            if count < _SWEEP_ROWS:
                return swept

    async def aclose(self) -> None:
        """End every connection."""
        await self._connections.aclose()

    async def _execute(self, statement: Any) -> Any:  # noqa: ANN401 — of the driver
        try:
            return await self._connections.run(statement)
        except NoAnswer as error:
            _claims.add(1, {"outcome": "unavailable"})
            raise ReplayUnavailable("the claims cannot be reached") from error
