"""Drill 15: a person is erased, the trail verifies, and nothing in the database names anybody."""

import asyncio
import base64
import json

import pytest
import yaml
from typer.testing import CliRunner

from broker.audit.budget import RefusalBudget
from broker.audit.commit import AuditTrail
from broker.audit.erase import erase
from broker.audit.query import Filter, find_rows
from broker.audit.reader import RecordReader
from broker.audit.vault import LIFE, Vault
from broker.audit.verify import verify_trail
from broker.cli import build_app
from broker.db.engine import Database
from broker.domain import Attempt, Principal
from broker.errors import Reason
from tests import builders
from tests.audit import VAULT, attempt, evaluation, new_id, new_vault, now, running, signed_token
from tests.configuration import AUDIT_KEYS, KEY_FILES, write_keys
from tests.fixtures.postgres import execute

# What must be found in no byte of the database: names, claims, addresses, who administers.
CANARIES = ("alice-canary", "claim-canary", "192.0.2.77", "carol-canary", "bob-canary")
TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' ORDER BY relname
"""


def exchange_of(subject: str):
    """An exchange on behalf of somebody, with all that policy was told of her."""
    token = builders.verified_token(principal=Principal(builders.IDP, subject))
    made = attempt(
        exchange=builders.exchange(subject=token),
        source="192.0.2.77",
        evaluation=evaluation(input=json.dumps({"claims": {"n": "claim-canary"}}).encode()),
    )
    return made, signed_token(made)


@pytest.fixture
def operator(fresh, tmp_path):
    """Who has the configuration of a broker on this database."""
    write_keys(tmp_path)
    path = tmp_path / "broker.yaml"
    document = {
        "issuer": builders.BROKER,
        "database": {"url": fresh.app_url},
        "keys": {"kek_file": "kek"},
        "audit": AUDIT_KEYS,
    }
    path.write_text(yaml.safe_dump(document))

    def run(*arguments: str, stdin: str | None = None):
        app = build_app({"audit"})
        command = ["audit", *arguments, "--config", str(path)]
        return CliRunner().invoke(app, command, input=stdin)

    return run


@pytest.fixture
async def written(fresh):
    """Rows of alice, of bob, of both, of a refusal, and of who administers."""
    database = Database(fresh.app_url)
    async with running(database) as writer:
        trail = AuditTrail(
            writer, issuer=builders.BROKER, vault=new_vault(), clock=now, build_id=new_id
        )
        for name in ("alice-canary", "bob-canary", "alice-canary"):
            await trail.commit(*exchange_of(name))
        await trail.refuse(exchange_of("alice-canary")[0], Reason.POLICY_SCOPE_NOT_HELD)
        await trail.record("test", {}, by="operator carol-canary")
    await database.aclose()
    return fresh


def dump(made) -> str:
    """Every row of every table, as text."""
    tables = [row["relname"] for row in execute(made.superuser_url, TABLES)]
    return "\n".join(
        str(row["line"])
        for table in tables
        for row in execute(made.superuser_url, f'SELECT t::text AS line FROM "{table}" AS t')
    )


def found_in(text: str) -> list[str]:
    """What must not be there and is, as text or as bytes."""
    return [one for one in CANARIES if one in text or one.encode().hex() in text]


async def read(made, vault=VAULT):
    """Whom each exchange on record was for, oldest first, as far as it can be read."""
    database = Database(made.auditor_url)
    try:
        rows = [row async for row in find_rows(database, Filter(kind="exchange"))]
        records = await RecordReader(database, vault).open_all(
            [json.loads(row["record"]) for row in reversed(rows)]
        )
        return [record["personal"].get("subject", record["personal"]) for record in records]
    finally:
        await database.aclose()


async def intact(made) -> bool:
    database = Database(made.auditor_url, timeout=None)
    try:
        return (await verify_trail(database)).intact
    finally:
        await database.aclose()


ALICE, BOB = ({"issuer": builders.IDP, "subject": name} for name in ("alice-canary", "bob-canary"))


async def test_nothing_personal_is_in_the_database(written):
    """Before anybody is erased: not in a column, not in a record, not in a key."""
    text = await asyncio.to_thread(dump, written)

    assert [] == found_in(text)
    assert VAULT.pseudonym("alice-canary") in text
    assert [ALICE, BOB, ALICE, ALICE] == await read(written)
    assert [{"sealed": True}] * 4 == await read(written, vault=None)


@pytest.mark.row("DRILL-15")
async def test_an_erased_person_can_be_read_no_more_and_the_trail_verifies(written, operator):
    """Nobody else is touched; the rows are still there, and still found by the pseudonym."""
    arguments = ("--subject", "alice-canary", "--issuer", builders.IDP, "--reason", "asked to")
    done = await asyncio.to_thread(operator, "erase", *arguments, "--yes", "--format", "json")
    again = await asyncio.to_thread(operator, "erase", *arguments, "--yes", "--format", "json")
    found = await asyncio.to_thread(operator, "query", "--subject", "alice-canary")
    text = await asyncio.to_thread(dump, written)

    assert (0, 0, 0) == (done.exit_code, again.exit_code, found.exit_code)
    person = VAULT.pseudonym("alice-canary")
    assert [{"person": person, "keys": keys, "revocations": 0} for keys in (1, 0)] == [
        json.loads(answer.stdout) for answer in (done, again)
    ]
    erased = {"erased": True}
    assert [erased, BOB, erased, erased] == await read(written)
    assert "3 in all" in found.stdout
    assert await intact(written)
    assert [] == found_in(text)
    rows = execute(
        written.auditor_url,
        "SELECT record::json->'details' AS details FROM audit_event"
        " WHERE action = 'subject.erased' ORDER BY at",
    )
    assert [(person, 1), (person, 0)] == [
        (details["person"], details["keys"])
        for details in (json.loads(row["details"]) for row in rows)
    ]


async def test_nobody_is_erased_without_a_yes(written, operator):
    """It cannot be undone."""
    arguments = ("--subject", "alice-canary", "--issuer", builders.IDP, "--reason", "asked to")
    answer = await asyncio.to_thread(operator, "erase", *arguments, stdin="n\n")

    assert 1 == answer.exit_code
    assert ALICE == (await read(written))[0]


async def test_a_namesake_of_another_issuer_is_somebody_else(written, operator):
    """Invariant 9: the same ``sub`` elsewhere has keys of its own."""
    arguments = ("--subject", "alice-canary", "--issuer", "https://other.test", "--reason", "x")
    answer = await asyncio.to_thread(operator, "erase", *arguments, "--yes")

    assert 0 == answer.exit_code
    assert [ALICE, BOB, ALICE, ALICE] == await read(written)


async def test_without_the_audit_key_a_reader_sees_pseudonyms(written, operator, tmp_path):
    """And whoever has it sees names; the lines themselves stay as they were hashed."""
    url = ("--database-url", written.auditor_url)
    app = build_app({"audit"})
    blind = await asyncio.to_thread(CliRunner().invoke, app, ["audit", "query", *url])
    key = ("--key-file", str(tmp_path / "audit.key"))
    seeing = await asyncio.to_thread(CliRunner().invoke, app, ["audit", "query", *url, *key])
    lines = await asyncio.to_thread(operator, "query", "--format", "jsonl")
    plain = await asyncio.to_thread(operator, "query", "--format", "jsonl", "--open")

    assert ("canary" in blind.stdout, "canary" in seeing.stdout) == (False, True)
    assert ("canary" in lines.stdout, "canary" in plain.stdout) == (False, True)


async def test_an_address_is_erased_where_nobody_was_known(written, operator):
    """Of requests before authentication, the ones that were only counted too."""
    stranger = Attempt(new_id(), "192.0.2.77", now())
    database = Database(written.app_url)
    async with running(database) as writer:
        trail = AuditTrail(
            writer,
            issuer=builders.BROKER,
            vault=new_vault(),
            clock=now,
            build_id=new_id,
            budget=RefusalBudget(rows=1),
        )
        for _ in range(2):
            await trail.refuse(stranger, Reason.CLIENT_UNKNOWN)
        await trail.summarise()
    await database.aclose()
    arguments = ("--subject", "192.0.2.77", "--issuer", "source", "--reason", "asked to")
    answer = await asyncio.to_thread(operator, "erase", *arguments, "--yes", "--format", "json")
    lines = await asyncio.to_thread(operator, "query", "--format", "jsonl", "--open")

    assert (0, 1) == (answer.exit_code, json.loads(answer.stdout)["keys"])
    records = [json.loads(line) for line in lines.stdout.splitlines()]
    refused = [one for one in records if one["outcome"] == "refused" and not one.get("subject")]
    assert [{"erased": True}] * 2 == [one["personal"] for one in refused]
    assert [ALICE, BOB, ALICE, ALICE] == (await read(written))[:4]


async def test_a_process_that_knew_the_person_writes_what_is_erased_for_five_minutes(fresh):
    """It asks nobody whether a key is still there; then it makes another one."""
    clock = [0.0]
    vault = Vault(KEY_FILES["audit.key"], issuer=builders.BROKER, monotonic=lambda: clock[0])
    database = Database(fresh.app_url)
    async with running(database) as writer:
        trail = AuditTrail(writer, issuer=builders.BROKER, vault=vault, clock=now, build_id=new_id)
        person = {"issuer": builders.IDP, "person": vault.pseudonym("alice-canary")}
        await trail.commit(*exchange_of("alice-canary"))
        await erase(database, trail, **person, reason="asked to", by="operator carol-canary")
        clock[0] = LIFE - 1
        await trail.commit(*exchange_of("alice-canary"))
        clock[0] = LIFE
        await trail.commit(*exchange_of("alice-canary"))
    await database.aclose()

    erased = {"erased": True}
    assert [erased, erased, ALICE] == await read(fresh)


async def test_a_revocation_that_names_the_person_is_told(written, operator):
    """It stays in plain, for the broker has to know whom to refuse: nobody shall believe else."""
    execute(
        written.app_url,
        "INSERT INTO revocation (scope, issuer, key, not_before, reason, by, at)"
        f" VALUES ('subject', '{builders.IDP}', 'alice-canary', now(), 'x', 'x', now())",
    )
    arguments = ("--subject", "alice-canary", "--issuer", builders.IDP, "--reason", "asked to")
    answer = await asyncio.to_thread(operator, "erase", *arguments, "--yes")

    assert 0 == answer.exit_code
    assert "1 key was destroyed" in answer.stdout
    assert "1 revocation names this person still" in answer.stdout


async def test_with_another_audit_key_nobody_is_said_not_to_be_there(written, operator, tmp_path):
    """Everybody has another pseudonym then, and "nothing on record" would be a lie."""
    (tmp_path / "audit.key").write_text(base64.b64encode(b"o" * 32).decode())
    arguments = ("--subject", "alice-canary", "--issuer", builders.IDP, "--reason", "asked to")
    answer = await asyncio.to_thread(operator, "erase", *arguments, "--yes")

    found = await asyncio.to_thread(operator, "query", "--subject", "alice-canary")

    assert (2, 2) == (answer.exit_code, found.exit_code)
    assert all("audit.key_file" in said.stderr for said in (answer, found))
    assert [ALICE, BOB, ALICE, ALICE] == await read(written)
