"""What the outside says of the database: reachable, durable, migrated, entered rightly."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg

from broker.cli.findings import Finding, bad, good, warning
from broker.cli.probe_issuers import judge_skew
from broker.db.durability import NotDurable
from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import DATABASE_ERRORS, Database
from broker.db.migrate import partition_days_left, pending
from broker.errors import ConfigurationError
from broker.keys.envelope import Envelope, Unsealable, load_kek
from broker.keys.rotation import KeyRecord, KeyState
from broker.keys.store import KeyStore, StoreUnavailable
from broker.settings import Settings

_FEW_DAYS: Final = 7
_MAX_SKEW: Final = timedelta(seconds=30)
_MIGRATE: Final = "run: broker migrate, as the owner of the tables (database.owner_url)"

# What the broker does with each table, and what it must not be able to do.
_NEEDED: Final = {
    "audit_event": ("SELECT", "INSERT"),
    "audit_batch": ("SELECT", "INSERT"),
    "replay_claim": ("SELECT", "INSERT", "DELETE"),
    "signing_key": ("SELECT", "INSERT", "UPDATE"),
    "key_generation": ("SELECT", "INSERT", "UPDATE"),
}
_FORBIDDEN: Final = dict.fromkeys(
    ("audit_event", "audit_batch"), ("UPDATE", "DELETE", "TRUNCATE", "TRIGGER")
)
_RIGHTS: Final = """
SELECT current_user AS role,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
       EXISTS (SELECT FROM pg_class WHERE relname = 'audit_event'
               AND pg_has_role(current_user, relowner, 'USAGE')) AS owner
"""


async def probe_database(settings: Settings) -> list[Finding]:
    """Return what is to be said of the database that the configuration names."""
    url = settings.database.url
    if url is None:
        embedded = EmbeddedPostgres(settings.database.data_dir)
        if not embedded.running:
            text = f"embedded in {settings.database.data_dir}, and not running now"
            return [good("database", f"{text}: it starts with the broker")]
        embedded.start()  # joins the one that runs
        database = Database(embedded.app_url)
    else:
        database = Database(url.get_secret_value())
    async with aclosing(database):
        findings = await _connected(database)
        if any(finding.mark for finding in findings):
            return findings
        async for finding in _schema(database):
            findings.append(finding)
        if not any(finding.mark for finding in findings):
            findings += await _rights(database)
            findings += await _keys(settings, database)
        return findings


async def _connected(database: Database) -> list[Finding]:
    host = database.url.host or database.url.query.get("host", "?")
    where = f"{host}/{database.url.database}"
    before = datetime.now(UTC)
    try:
        connection = await database.connect()
    except NotDurable as error:
        return [bad("database", str(error), "set it in postgresql.conf, or for the role")]
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError):
        return [
            bad("database", f"{where} refuses this role or password", "check both in database.url")
        ]
    except asyncpg.InvalidCatalogNameError:
        return [bad("database", f"{where} does not exist", "create it, then run: broker migrate")]
    except DATABASE_ERRORS as error:
        return [
            bad(
                "database",
                f"{where} does not answer ({type(error).__name__})",
                "check host and port in database.url, that PostgreSQL runs, and the firewall",
            )
        ]
    try:
        version = connection.get_server_version()
        before = datetime.now(UTC)
        theirs = await connection.fetchval("SELECT clock_timestamp()")
        after = datetime.now(UTC)
    finally:
        await connection.close()
    # Read between the two, so it is compared with the middle.
    skew = theirs - (before + (after - before) / 2)
    return [
        good("database", f"{where} answers, PostgreSQL {version.major}, commits are durable"),
        judge_skew("clock of the database", skew, allowed=_MAX_SKEW),
    ]


async def _schema(database: Database) -> AsyncIterator[Finding]:
    missing = await pending(database)
    if missing:
        count = "1 migration is" if len(missing) == 1 else f"{len(missing)} migrations are"
        yield bad("migrations", f"{count} not applied: {', '.join(missing)}", _MIGRATE)
        return
    yield good("migrations", "all are applied")
    days = await partition_days_left(database)
    if days < 1:
        yield bad("audit partitions", "there is none for tomorrow", _MIGRATE)
    elif days < _FEW_DAYS:
        yield warning("audit partitions", f"they last for {days} more days", _MIGRATE)
    else:
        yield good("audit partitions", f"they last for {days} more days")


async def _rights(database: Database) -> list[Finding]:
    connection = await database.connect()
    try:
        role = dict(await connection.fetchrow(_RIGHTS) or {})
        lacking = await _held(connection, _NEEDED, held=False)
        excessive = await _held(connection, _FORBIDDEN, held=True)
    finally:
        await connection.close()
    return list(_judge_rights(role, lacking, excessive))


async def _held(
    connection: "asyncpg.Connection[Any]", rights: Mapping[str, tuple[str, ...]], *, held: bool
) -> list[str]:
    found = []
    for table, privileges in rights.items():
        for privilege in privileges:
            has = await connection.fetchval(
                "SELECT has_table_privilege(current_user, $1, $2)", table, privilege
            )
            if has is held:
                found.append(f"{privilege} on {table}")
    return found


def _judge_rights(
    role: dict[str, Any], lacking: list[str], excessive: list[str]
) -> Iterator[Finding]:
    name = f"role {role['role']}"
    mend = "connect as broker_app; deploy/postgres/roles.sh makes the roles"
    if role["superuser"]:
        yield bad(name, "is a superuser, so it could change what is recorded", mend)
        return
    if role["owner"]:
        yield bad(name, "owns the audit tables, so it could change what is recorded", mend)
        return
    if excessive:
        yield bad(name, f"may change what is recorded: {', '.join(excessive)}", mend)
    if lacking:
        yield bad(name, f"lacks {', '.join(lacking)}", _MIGRATE)
    if not excessive and not lacking:
        yield good(name, "can add to the audit trail and not change it")


async def _keys(settings: Settings, database: Database) -> list[Finding]:
    store = KeyStore(database)
    try:
        records, stored = await store.records(), await store.published()
    except StoreUnavailable:
        return [bad("signing keys", "they cannot be read", _MIGRATE)]
    findings = []
    kek_file = settings.keys.kek_file
    if stored and kek_file is not None:
        try:
            envelope = Envelope(load_kek(kek_file))
            for row in stored:
                envelope.open(row.sealed, row.record.kid, row.record.algorithm)
        except ConfigurationError:
            pass  # said by the inspection
        except Unsealable:
            findings.append(
                bad(
                    "keys.kek_file",
                    "does not open the signing keys in this database",
                    "name the file that the other processes use, or the one from the backup",
                )
            )
    used = {settings.keys.algorithm, *(target.algorithm for target in settings.targets)}
    for algorithm in sorted(used):
        own = [record for record in records if record.algorithm == algorithm]
        findings.append(_judge_keys(settings, algorithm, own))
    return findings


def _judge_keys(settings: Settings, algorithm: str, records: list[KeyRecord]) -> Finding:
    name = f"signing keys {algorithm}"
    by_state = {record.state: record for record in records}
    active, standby = by_state.get(KeyState.ACTIVE), by_state.get(KeyState.PREPARED)
    if active is None:
        if not records:
            return good(name, "there is none yet: the broker makes them when it starts")
        return bad(name, "none is active, so nothing is signed", "run: broker keys rotate")
    age = datetime.now(UTC) - (active.activated_at or active.created_at)
    since = f"active for {_days(age)}"
    if standby is None:
        remedy = (
            "start a broker: it makes the standby; see docs/reference/operations.md if it does not"
        )
        return warning(name, f"{since}, and no standby is published", remedy)
    if age > settings.keys.rotate_every + timedelta(days=1):
        remedy = "a broker that runs rotates by itself: see its log for what keeps it from that"
        return warning(name, f"{since}, though keys.rotate_every is shorter", remedy)
    return good(name, f"{since}, with a standby published")


def _days(age: timedelta) -> str:
    if age < timedelta(hours=1):
        return f"{age // timedelta(minutes=1)} min"
    return f"{age // timedelta(hours=1)} h" if age < timedelta(days=2) else f"{age.days} days"
