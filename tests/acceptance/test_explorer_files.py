"""Files of an explorer, and answers that take a while."""

import csv
import io
import json
from hashlib import sha256

import httpx
import pytest

from broker.audit.proof import check_proof, parse_proof
from tests.audit import new_vault
from tests.browser.story import EVERYDAY
from tests.exploring import exploring
from tests.fixtures.postgres import OneDatabase, execute, make_database
from tests.sealing import KEYS
from tests.server import eventually


async def test_the_record_and_its_proof_are_what_a_third_party_checks(visitor, told):
    """The record byte for byte, and a proof that holds by the public key alone."""
    record = await visitor.get(f"/rows/{told.second}/record")
    proof = await visitor.get(f"/rows/{told.second}/proof")

    assert told.second == record.json()["id"]
    assert (
        sha256(b"\0" + record.content).hexdigest()
        in (await visitor.get(f"/rows/{told.second}")).text
    )
    check_proof(parse_proof(proof.text), KEYS.public, record=record.content)
    assert "attachment" in proof.headers["content-disposition"]


async def test_an_export_has_all_that_was_found_and_names_only_if_asked(visitor, told):
    """CSV with pseudonyms, CSV with names, and the records themselves."""
    wanted = {"client": "inventory"}
    plain = await visitor.get("/export.csv", params=wanted)
    named = await visitor.get("/export.csv", params={**wanted, "names": "yes"})
    lines = await visitor.get("/export.jsonl", params=wanted)

    subjects = [
        [row["subject"] for row in csv.DictReader(io.StringIO(answer.text))]
        for answer in (plain, named)
    ]
    pseudonym = new_vault().pseudonym("alice")
    assert [[pseudonym, pseudonym], ["alice", "alice"]] == subjects
    assert [told.refused, told.second] == [
        json.loads(line)["id"] for line in lines.text.splitlines()
    ]
    assert "alice" not in lines.text


async def test_an_export_has_more_than_a_page(visitor):
    """All of it, not what fits on the screen."""
    answer = await visitor.get("/export.csv", params={"client": "batch"})

    assert EVERYDAY == len(list(csv.DictReader(io.StringIO(answer.text))))


TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"


ROWS = """
INSERT INTO audit_event (writer, seq, at, id, kind, outcome, actor_issuers, actors, targets, scopes,
                         record, leaf)
SELECT '00000000-0000-4000-8000-000000000000', n, now(), gen_random_uuid(), 'exchange', 'refused',
       '{{}}', '{{}}', '{{}}', '{{}}', json_build_object('said', repeat('a', 500)),
       decode(repeat('00', 32), 'hex')
FROM generate_series(1, {}) AS n
"""


def _lay_rows(database: OneDatabase, count: int) -> None:
    """Rows that nobody wrote: what reading them takes is all that matters."""
    execute(database.superuser_url, ROWS.format(count))


async def test_a_file_that_breaks_off_is_seen_to_be_broken_off(postgres, template):
    """The connection is cut: a part is never taken for the whole."""
    database = make_database(postgres, template.name)
    _lay_rows(database, 40_000)

    async def download(client: httpx.AsyncClient) -> None:
        async with client.stream("GET", "/export.csv") as answer:
            assert 200 == answer.status_code
            async for _ in answer.aiter_raw():
                execute(database.server.superuser_url, TERMINATE.format(database.name))

    async with exploring(database, vault=None) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await download(client)


async def test_a_file_that_cannot_be_begun_is_a_page(own):
    """503, and nothing that is kept as if it were a file."""
    execute(own.database.superuser_url, "REVOKE SELECT ON audit_event FROM broker_auditor")
    async with exploring(own.database) as client:
        answer = await client.get("/export.jsonl")

    assert 503 == answer.status_code
    assert "content-disposition" not in answer.headers


async def test_whoever_leaves_ends_the_verification(postgres, template):
    """One look at a time; nobody reads on for nobody, and then the next one can begin."""
    database = make_database(postgres, template.name)
    _lay_rows(database, 40_000)
    async with exploring(database) as client:
        async with client.stream("GET", "/trail/verify") as answer:
            await anext(answer.aiter_raw())
            assert 409 == (await client.get("/trail/verify")).status_code

        async def verifies() -> bool:
            return 200 == (await client.get("/trail/verify?until=2000-01-01")).status_code

        await eventually(verifies)
