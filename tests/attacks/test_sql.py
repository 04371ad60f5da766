"""Attack: put SQL where a value belongs, into a request and into a question to the audit trail."""

from contextlib import aclosing
from dataclasses import fields

import pytest

from broker.audit.query import Filter, build_query, find_rows
from broker.db.engine import Database
from tests.wire import assert_issued, assert_refused, exchange_form

HOSTILE = "' OR '1'='1'; DROP TABLE audit_event; --"
TEXTS = [field.name for field in fields(Filter) if field.name not in {"since", "until", "jti"}]


@pytest.mark.row("GHSA-r9w3-57w2-gch2")
@pytest.mark.parametrize("name", TEXTS)
async def test_a_filter_is_a_value_and_never_sql(broker, broker_postgres, name):
    """Nothing fits such a value, and what was there is still there."""
    assert_issued(await broker.exchange())
    async with aclosing(Database(broker_postgres.auditor_url)) as database:
        found = [row async for row in find_rows(database, Filter(**{name: HOSTILE}))]
        all_rows = [row async for row in find_rows(database, Filter(), limit=1)]

    assert [] == found
    assert 1 == len(all_rows)
    assert HOSTILE not in str(build_query(Filter(**{name: HOSTILE})))


@pytest.mark.row("GHSA-r9w3-57w2-gch2", "ATK-LOG-01")
async def test_sql_in_a_request_is_recorded_as_it_was_sent(broker):
    """It is refused for what it is, a scope of the wrong form, and stands in the record as text."""
    response = await broker.exchange(exchange_form(scope=HOSTILE, purpose=HOSTILE))
    (record,) = await broker.records()

    assert_refused(response, "invalid_scope")
    assert (HOSTILE, HOSTILE) == (record["asked"]["scope"], record["asked"]["purpose"])
