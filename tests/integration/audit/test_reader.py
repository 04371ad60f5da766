"""Records in plain: for how long they open, and what one that does not open does to the others."""

import json
import time

import pytest

from broker.audit.commit import AuditTrail
from broker.audit.query import CannotRead, Filter, find_rows
from broker.audit.reader import ERASED, UNREADABLE, RecordReader
from broker.audit.vault import Vault
from broker.db.engine import Database
from tests import builders
from tests.audit import VAULT, new_id, new_vault, now, running
from tests.fixtures.postgres import execute

CAROL, DAVE = "operator carol", "operator dave"


@pytest.fixture
async def written(fresh):
    """What two operators did."""
    database = Database(fresh.app_url)
    async with running(database) as writer:
        trail = AuditTrail(
            writer, issuer=builders.BROKER, vault=new_vault(), clock=now, build_id=new_id
        )
        for by in (CAROL, DAVE):
            await trail.record("test", {}, by=by)
    await database.aclose()
    return fresh


@pytest.fixture
async def database(written):
    made = Database(written.auditor_url)
    yield made
    await made.aclose()


@pytest.fixture
async def unasked():
    """A database that is not there: nobody asks it where there is nothing to look for."""
    made = Database("postgresql://127.0.0.1:1/nowhere")
    yield made
    await made.aclose()


async def by_whom(reader: RecordReader) -> list[object]:
    """Who did it, oldest first, or why that cannot be read."""
    rows = [row async for row in find_rows(reader.database, Filter(kind="administration"))]
    opened = await reader.open_all([json.loads(row["record"]) for row in reversed(rows)])
    return [one["personal"].get("by", one["personal"]) for one in opened]


def destroy(made, name: str) -> None:
    """As an erasure does."""
    change(made, "DELETE FROM audit_person_key", name)


def change(made, statement: str, name: str) -> None:
    execute(made.superuser_url, f"{statement} WHERE person = '{VAULT.pseudonym(name)}'")


async def test_what_is_erased_opens_no_more_also_for_who_has_read_it(written, database):
    """A page that is open for weeks keeps no keys."""
    reader = RecordReader(database, VAULT)

    assert [CAROL, DAVE] == await by_whom(reader)
    destroy(written, CAROL)
    assert [ERASED, DAVE] == await by_whom(reader)


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("wrapped = wrapped || '\\x00'", id="changed"),
        pytest.param("wrapped = ''", id="emptied"),
        pytest.param("issuer = 'https://other.test'", id="moved"),
    ],
)
async def test_a_key_that_was_tampered_with_hides_only_its_own_record(written, database, what):
    """Else whoever spoils one row would keep auditors from all of them."""
    change(written, f"UPDATE audit_person_key SET {what}", CAROL)

    assert [UNREADABLE, DAVE] == await by_whom(RecordReader(database, VAULT))


@pytest.mark.parametrize("persons", [[], None, "all", ["*"], [1], [["a"]]])
async def test_a_record_of_nobody_is_not_believed(unasked, persons):
    """What is sealed under no key, anyone could have made."""
    record = {"id": new_id(), "personal": "AQ==", "persons": persons}

    assert UNREADABLE == (await RecordReader(unasked, VAULT).open(record))["personal"]


async def test_another_audit_key_is_told_from_records_that_do_not_open(database):
    """By its name: whoever named the wrong file must not take the trail for tampered."""
    other = Vault(b"o" * 32, issuer=builders.BROKER, monotonic=time.monotonic)

    with pytest.raises(CannotRead, match=r"audit\.key_file"):
        await by_whom(RecordReader(database, other))


@pytest.mark.parametrize("count", [0, 1, 500, 501, 1000])
async def test_of_many_records_each_is_given_back_in_its_order(unasked, count):
    """However many are opened together."""

    async def records():
        for number in range(count):
            yield json.dumps({"number": number})

    opened = [one["number"] async for one in RecordReader(unasked, VAULT).open_each(records())]

    assert list(range(count)) == opened
