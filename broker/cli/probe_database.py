"""What the outside says of the database: reachable, durable, migrated, entered rightly."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Final

from broker.cli.findings import Finding, bad, good, warning
from broker.cli.inspection import read_problems
from broker.cli.probe_audit import probe_audit
from broker.cli.probe_detect import probe_detect
from broker.cli.probe_issuers import judge_skew
from broker.cli.probe_policy import probe_policy
from broker.cli.probe_trail import probe_trail
from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database
from broker.db.examine import CannotEnter, Role, examine_role, examine_server
from broker.db.migrate import partition_days_left, pending
from broker.errors import ConfigurationError
from broker.keys.envelope import Unsealable
from broker.keys.load import load_providers
from broker.keys.provider import ProviderUnavailable, Unopenable
from broker.keys.rotation import KeyRecord, KeyState
from broker.keys.store import KeyStore, StoreUnavailable
from broker.settings import Settings

_FEW_DAYS: Final = 7
_MAX_SKEW: Final = timedelta(seconds=30)
_MIGRATE: Final = "run: broker migrate, as the owner of the tables (database.owner_url)"


async def probe_database(settings: Settings) -> list[Finding]:
    """Return what is to be said of the database that the configuration names."""
    url = settings.database.url
    if url is None:
        embedded = EmbeddedPostgres(settings.database.data_dir)
        if not embedded.running:
            text = f"embedded in {settings.database.data_dir}, and not running now"
            return [good("database", f"{text}: it starts with the broker")]
        await asyncio.to_thread(embedded.start)  # joins the one that runs
        database = Database(embedded.app_url)
    else:
        database = Database(url.get_secret_value())
    async with aclosing(database):
        try:
            server = await examine_server(database)
        except CannotEnter as cannot:
            return [bad("database", cannot.text, cannot.remedy)]
        text = f"{server.where} answers, PostgreSQL {server.version}, commits are durable"
        findings = [
            good("database", text),
            judge_skew("clock of the database", server.skew, allowed=_MAX_SKEW),
        ]
        missing = await pending(database)
        if missing:
            # Without the tables there is nothing more to look at.
            count = "1 migration is" if len(missing) == 1 else f"{len(missing)} migrations are"
            text = f"{count} not applied: {', '.join(missing)}"
            return [*findings, bad("migrations", text, _MIGRATE)]
        findings += [good("migrations", "all are applied"), await _partitions(database)]
        findings += _judge_role(await examine_role(database))
        findings += await _keys(settings, database)
        findings += await probe_trail(settings, database)
        findings += await probe_detect(settings, database)
        findings += await probe_policy(settings, database)
        return [*findings, *await probe_audit(settings, database)]


async def _partitions(database: Database) -> Finding:
    days = await partition_days_left(database)
    if days < 1:
        return bad("audit partitions", "there is none for tomorrow", _MIGRATE)
    text = f"they last for {days} more days"
    if days < _FEW_DAYS:
        return warning("audit partitions", text, _MIGRATE)
    return good("audit partitions", text)


def _judge_role(role: Role) -> Iterator[Finding]:
    name = f"role {role.name}"
    mend = "connect as broker_app; deploy/postgres/roles.sh makes the roles"
    if role.is_superuser:
        yield bad(name, "is a superuser, so it could change what is recorded", mend)
    elif role.is_owner:
        yield bad(name, "owns the audit tables, so it could change what is recorded", mend)
    elif role.excessive:
        yield bad(name, f"may change what is recorded: {', '.join(role.excessive)}", mend)
    elif role.lacking:
        yield bad(name, f"lacks {', '.join(role.lacking)}", _MIGRATE)
    else:
        yield good(name, "can add to the audit trail and not change it")


async def _keys(settings: Settings, database: Database) -> list[Finding]:
    store = KeyStore(database)
    try:
        records, stored = await store.records(), await store.published()
    except StoreUnavailable:
        return [bad("signing keys", "they cannot be read", _MIGRATE)]
    findings = []
    if stored:
        kek_file = settings.keys.kek_file or settings.database.data_dir / "kek"
        beside = kek_file if settings.database.url is None else None
        try:
            providers = load_providers(settings.keys, kek_file=beside)
            for row in stored:
                await providers.open(row.custody, row.record.kid, row.record.algorithm)
        except ConfigurationError as error:
            # What is wrong with a key-encryption key file is said by the inspection.
            findings += [f for f in read_problems(error) if "pkcs11" in f.subject]
        except ProviderUnavailable as error:
            findings.append(
                bad("keys.pkcs11", str(error), "see that the token is there and takes the PIN")
            )
        except Unopenable as error:
            sealed = isinstance(error, Unsealable)
            findings.append(
                bad(
                    "keys.kek_file" if sealed else "keys.pkcs11",
                    "does not open the signing keys in this database",
                    "name the file that the other processes use, or the one from the backup"
                    if sealed
                    else "name the token that the other processes use",
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
