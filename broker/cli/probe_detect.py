"""What the database says of detection: whether somebody looks through the trail."""

from datetime import timedelta
from typing import Final

from broker.audit.detect.past import find_unseen
from broker.audit.query import CannotRead
from broker.cli.findings import Finding, bad, good, warning
from broker.db.engine import Database
from broker.settings import Settings

_NAME: Final = "alerts"
_LATE: Final = timedelta(minutes=10)
_LOOK: Final = "see that a broker runs, and detecting in GET /admin/status"


async def probe_detect(settings: Settings, database: Database) -> list[Finding]:
    """Return whether the rules have seen what is sealed."""
    if not settings.audit.alerts.enabled:
        return []
    try:
        age = await find_unseen(database)
    except CannotRead as error:
        return [bad(_NAME, str(error), "run: broker migrate, as the owner of the tables")]
    if age is None or age < _LATE:
        return [good(_NAME, "the rules have seen what is sealed")]
    minutes = int(age.total_seconds() // 60)
    return [warning(_NAME, f"no rule has seen what was sealed {minutes:,} minutes ago", _LOOK)]
