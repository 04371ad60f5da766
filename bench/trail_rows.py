"""Fill the embedded database in ``--data`` with a large trail, for what reads one.

The rows are made by PostgreSQL itself, in the broker's own schema and days: 200 clients and
200,000 persons, a few of them far busier than the rest; chains of three exchanges each; one in
twelve refused; records of version 2, as readers without the audit key see them, and leaves that
fit them. They end now. There are no batches, so such a trail does not verify.
"""

import argparse
import asyncio
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from broker.db.embedded import EmbeddedPostgres
from broker.db.migrate import migrate
from broker.errors import Reason

DAY = timedelta(days=1)
CHUNK = 25_000
AT_ONCE = 2
WRITERS = 4
CHAIN = 3
REFUSALS = (
    Reason.POLICY_SCOPE_NOT_HELD,
    Reason.POLICY_TARGET_NOT_GRANTED,
    Reason.SUBJECT_TOKEN_EXPIRED,
    Reason.DELEGATION_MAY_ACT_MISMATCH,
)

# A number that is always the same for the same two, between 0 and 1.
CHANCE = """
CREATE FUNCTION pg_temp.chance(n bigint, what bigint) RETURNS double precision
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (hashint8extended(n, what) & 1048575) / 1048576.0
"""
# As brokers make them (RFC 9562 §5.7), with the hash of the number for chance.
UUID7 = """
CREATE FUNCTION pg_temp.uuid7(n bigint, at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7'
    || substr(md5(n::text), 1, 3) || 'b' || substr(md5(n::text), 4, 15))::uuid
"""
# $1, $2: the first number and the one behind the last; $3: the time of number 0; $4: a step.
ROWS = f"""
INSERT INTO audit_event (
    writer, seq, at, id, kind, outcome, reason, request_id, client, subject_issuer, subject,
    actor_issuers, actors, targets, scopes, txn, parent, kid, policy_revision, record, leaf
)
SELECT
    ('01890000-0000-7000-8000-00000000000' || n % {WRITERS})::uuid, n / {WRITERS} + 1,
    at, id, 'exchange', outcome, reason, request_id, client, 'https://idp.example', subject,
    ARRAY['https://broker.example'], ARRAY[client], ARRAY[target],
    CASE WHEN issued THEN ARRAY['orders.read'] ELSE '{{}}' END, txn, parent,
    CASE WHEN issued THEN 'kid-1' END, CASE WHEN issued THEN 'sha256:00' END, record,
    sha256('\\x00'::bytea || convert_to(record, 'UTF8'))
FROM (
    SELECT n % {CHAIN} AS step, n, $3::timestamptz + n * $4::interval AS at
    FROM generate_series($1::bigint, $2::bigint - 1) AS n
) AS numbered
CROSS JOIN LATERAL (SELECT
    pg_temp.uuid7(n, at) AS id,
    pg_temp.chance(n, 1) >= 1 / 12.0 AS issued,
    'hmac:' || translate(substr(encode(sha256(
        int8send((200000 * pg_temp.chance(n / {CHAIN}, 2) ^ 3)::bigint)
    ), 'base64'), 1, 24), '+/', '-_') AS subject,
    'svc-' || (200 * pg_temp.chance(n, 3) ^ 2)::int AS client,
    'svc-' || (200 * pg_temp.chance(n, 4) ^ 2)::int AS target,
    pg_temp.uuid7(-n, at)::text AS request_id,
    pg_temp.uuid7(n - step, $3::timestamptz + (n - step) * $4::interval)::text AS txn,
    CASE WHEN step = 0 THEN 'idp-' || md5(n::text)
         ELSE pg_temp.uuid7(n - 1, $3::timestamptz + (n - 1) * $4::interval)::text END AS parent,
    $5::text[] AS reasons
) AS made
CROSS JOIN LATERAL (SELECT
    CASE WHEN issued THEN 'issued' ELSE 'refused' END AS outcome,
    CASE WHEN NOT issued THEN reasons[1 + n % cardinality(reasons)] END AS reason
) AS told
CROSS JOIN LATERAL (SELECT format(
    '{{"actors":[{{"issuer":"https://broker.example","subject":"%s"}}],"at":"%s",'
    '"client":{{"id":"%s"}},"depth":%s,"id":"%s","kind":"exchange","outcome":"%s","parent":"%s",'
    '"personal":"","persons":[],%s"request_id":"%s","scopes":[%s],'
    '"subject":{{"issuer":"https://idp.example","subject":"%s"}},"targets":["%s"],"txn":"%s",'
    '"version":2}}',
    client, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), client, step + 1, id,
    outcome, parent, CASE WHEN NOT issued THEN '"reasons":["' || reason || '"],' ELSE '' END,
    request_id, CASE WHEN issued THEN '"orders.read"' ELSE '' END, subject, target, txn
) AS record) AS recorded
"""


async def lay(owner: str, rows: int, days: int) -> None:
    """Make the days and fill them, several at once."""
    now = datetime.now(UTC)
    first, step = now - days * DAY, days * DAY / rows
    connection = await asyncpg.connect(owner)
    for number in range(days + 1):
        await connection.execute("SELECT audit_event_partition($1)", (first + number * DAY).date())
    starts = iter(range(0, rows, CHUNK))
    done = 0

    async def fill() -> None:
        nonlocal done
        writing = await asyncpg.connect(owner)
        for function in (CHANCE, UUID7):
            await writing.execute(function)
        # What is measured afterwards is reading; it may all go if the machine does.
        await writing.execute("SET synchronous_commit = off")
        for start in starts:
            end = min(start + CHUNK, rows)
            reasons = [str(reason.value) for reason in REFUSALS]
            await writing.execute(ROWS, start, end, first, step, reasons)
            done += end - start
            if done % (20 * CHUNK) == 0:
                print(f"{done:,} rows", file=sys.stderr)
        await writing.close()

    await asyncio.gather(*(fill() for _ in range(AT_ONCE)))
    await connection.execute("VACUUM (ANALYZE) audit_event")
    await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the embedded database")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--days", type=int, default=40)
    given = parser.parse_args()
    began = time.perf_counter()
    with EmbeddedPostgres(given.data) as postgres:
        migrate(postgres.owner_url)
        asyncio.run(lay(postgres.owner_url, given.rows, given.days))
    took = round(time.perf_counter() - began)
    print(json.dumps({"rows": given.rows, "days": given.days, "seconds": took}))


if __name__ == "__main__":
    main()
