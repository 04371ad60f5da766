"""What the outside says of the audit trail: whether the audit key opens what is recorded in it."""

from typing import Final

from broker.audit.query import CannotRead
from broker.audit.reader import UNREADABLE, OtherAuditKey, RecordReader
from broker.audit.vault import load_vault
from broker.cli.findings import Finding, bad, good
from broker.db.engine import Database
from broker.errors import ConfigurationError
from broker.settings import Settings

_NAME: Final = "audit trail"
_ONE_KEY: Final = "give all brokers of this database one audit.key_file"
_NEWEST: Final = 100  # rows


async def probe_trail(settings: Settings, database: Database) -> list[Finding]:
    """Return whether the newest rows open: each broker seals its own, with its own file."""
    try:
        vault = load_vault(settings)
    except ConfigurationError:
        return []  # the inspection says what is wrong with the file
    try:
        opened = await RecordReader(database, vault).open_newest(_NEWEST)
    except OtherAuditKey:
        return [bad(_NAME, "does not open with the audit.key_file of this configuration", _ONE_KEY)]
    except CannotRead:
        return [bad(_NAME, "cannot be read", "verify it: broker audit verify")]
    closed = sum(record.get("personal") == UNREADABLE for record in opened)
    if closed:
        told = f"{closed} of its newest {len(opened)} rows do not open with audit.key_file"
        return [bad(_NAME, told, f"{_ONE_KEY}; if they have it, verify: broker audit verify")]
    return [good(_NAME, f"its newest {len(opened)} rows open with audit.key_file")]
