"""Whether the tables of the trail refuse UPDATE, DELETE and TRUNCATE, each partition as well.

PostgreSQL clones row triggers to partitions and statement triggers not, so a partition that was
made by hand could be truncated. Only ``ENABLE ALWAYS`` holds against
``session_replication_role = replica``.
"""

from typing import Any, Final

# ``tgtype`` has a bit for each event: DELETE 8, UPDATE 16, TRUNCATE 32.
_ALL: Final = 8 | 16 | 32
_QUERY: Final = """
SELECT c.relname AS name
FROM pg_class AS c
LEFT JOIN pg_trigger AS t ON t.tgrelid = c.oid AND t.tgenabled = 'A'
WHERE c.oid IN (
    SELECT 'audit_event'::regclass UNION ALL SELECT 'audit_batch'::regclass
    UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = 'audit_event'::regclass
)
GROUP BY c.relname
HAVING coalesce(bit_or(t.tgtype), 0::int2) & $1::int2 <> $1::int2
ORDER BY c.relname
"""


async def find_unprotected(connection: Any) -> list[str]:  # noqa: ANN401 — the driver's
    """Return the tables of the trail that lack such a trigger."""
    return [row["name"] for row in await connection.fetch(_QUERY, _ALL)]
