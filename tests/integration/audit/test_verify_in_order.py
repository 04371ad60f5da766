"""A trail is verified as it is read: nothing of it is gathered first, by nobody."""

import asyncio

from broker.audit.verify import verify_trail
from broker.db.engine import Database
from tests.audit import event, running
from tests.fixtures.postgres import execute, one_more

ROWS = 400


async def test_postgresql_puts_no_rows_aside_to_sort_them(postgres, template):
    """With nothing to sort on, and knowing how many rows there are, it reads them in order."""
    with one_more(postgres, template.name) as made:
        database = Database(made.app_url)
        async with running(database) as writer:
            await asyncio.gather(*(writer.append(event(text="x" * 1500)) for _ in range(ROWS)))
        await database.aclose()
        role = f"ALTER ROLE broker_auditor IN DATABASE {made.name} SET"
        limits = [f"{role} work_mem = '64kB'", f"{role} temp_file_limit = 0"]
        execute(made.superuser_url, "ANALYZE", *limits)
        auditor = Database(made.auditor_url, timeout=None)
        report = await verify_trail(auditor)
        await auditor.aclose()

    assert ([], ROWS + 2) == (report.problems, report.rows)
