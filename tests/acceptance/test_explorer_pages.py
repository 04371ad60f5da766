"""What the pages of an explorer say, whole, to somebody without a script."""

import asyncio
import csv
import io
import json
from hashlib import sha256

import pytest

from broker.audit.proof import check_proof, parse_proof
from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database
from broker.db.loop import run_apart
from tests.audit import event, new_vault, running
from tests.browser.story import EVERYDAY, Told, tell
from tests.exploring import exploring, links_of, rows_of, text_of
from tests.fixtures.postgres import OneDatabase, execute, make_database
from tests.hostile import HOSTILE
from tests.sealing import KEYS, as_superuser


@pytest.fixture(scope="module")
def told(postgres: EmbeddedPostgres, migrated: OneDatabase) -> Told:
    """A sealed trail that these tests look at."""
    database = make_database(postgres, migrated.name)
    return run_apart(lambda: tell(database))


@pytest.fixture
async def visitor(told: Told):
    async with exploring(told.database) as client:
        yield client


async def test_a_search_shows_what_fits_the_newest_first(visitor, told):
    """Rows, their parties and outcomes, a timeline, and links to each."""
    page = await visitor.get("/", params={"client": "inventory"})

    assert 200 == page.status_code
    assert [told.refused, told.second] == rows_of(page)
    text = text_of(page)
    assert "2 rows" in text
    assert "✗ refused policy.scope_not_held inventory → ledger alice" in text
    assert "✓ issued inventory → ledger alice https://idp.test by checkout by inventory" in text
    assert "<svg" in page.text
    assert "2 rows, 1 refused" in text


async def test_empty_fields_of_a_form_leave_no_trace_in_the_address(visitor):
    """What is sent to a colleague says what was asked, and nothing else."""
    sent = await visitor.get("/?subject=&client=batch&since=&tz=")

    assert (303, "/?client=batch") == (sent.status_code, sent.headers["location"])


@pytest.mark.parametrize(
    ("query", "said"),
    [
        pytest.param("since=yesterday", "write 24h for a day ago", id="no-time"),
        pytest.param("since=99999999d", "write 24h for a day ago", id="longer-than-time"),
        pytest.param("since=0001-01-01", "nothing was recorded then", id="before-time"),
        pytest.param("since=2026-01-02&until=2026-01-01", "write a time after", id="backwards"),
        pytest.param("tz=Mars/Olympus", "no such time zone", id="zone-nowhere"),
        pytest.param("tz=../../etc/passwd", "no such time zone", id="zone-a-path"),
        pytest.param("outcome=won", "is one of issued, refused, done", id="no-outcome"),
        pytest.param("kind=all", "is one of exchange", id="no-kind"),
        pytest.param("jti=1", "tokens issued here have UUIDs", id="no-id"),
        pytest.param("client=a&client=b", "is there twice", id="twice"),
        pytest.param("cliemt=a", "do not know", id="unknown"),
        pytest.param("client=%00", "none that controls", id="nul"),
        pytest.param("client=a%0Ab", "none that controls", id="line-break"),
        pytest.param("client=%ff", "is cut", id="not-utf-8"),
        pytest.param("client=" + "a" * 1025, "at most 1024", id="too-long"),
        pytest.param("&".join(f"x{n}=1" for n in range(70)), "is cut", id="too-many"),
        pytest.param("client", "is cut", id="no-value"),
        pytest.param("after=forged", "of another search", id="forged-cursor"),
    ],
)
async def test_what_is_not_understood_is_said_at_its_field(visitor, query, said):
    """A filter that is left out would answer another question than the one that was asked."""
    page = await visitor.get(f"/?{query}")

    assert 400 == page.status_code
    assert said in text_of(page)
    assert [] == rows_of(page)
    assert 'id="search"' in page.text


async def test_pages_lead_through_all_rows_once(visitor):
    """By the row that was last, so that rows which are added meanwhile move nothing."""
    seen, page = [], await visitor.get("/?client=batch")
    while True:
        seen.append(rows_of(page))
        onward = [link for link in links_of(page) if "after=" in link]
        if not onward:
            break
        page = await visitor.get(onward[0])

    assert [50, 50, EVERYDAY - 100] == [len(one) for one in seen]
    whole = await visitor.get("/export.jsonl?client=batch")
    assert [json.loads(line)["id"] for line in whole.text.splitlines()] == [
        id_ for one in seen for id_ in one
    ]


@pytest.mark.parametrize("fault", ["another-search", "changed", "cut", "padded"])
async def test_a_place_in_the_pages_is_of_its_search_alone(visitor, fault):
    """Signed with what was asked: changed, or moved to another search, it leads nowhere."""
    page = await visitor.get("/?client=batch")
    after = next(link for link in links_of(page) if "after=" in link).partition("after=")[2]
    asked = {
        "another-search": f"/?after={after}",
        "changed": f"/?client=batch&after={'A' if after[0] != 'A' else 'B'}{after[1:]}",
        "cut": f"/?client=batch&after={after[:-4]}",
        "padded": f"/?client=batch&after={after}=",
    }[fault]
    answer = await visitor.get(asked)

    assert (400, []) == (answer.status_code, rows_of(answer))
    assert "this place in the pages is of another search" in text_of(answer)


ACCESS = "SELECT role, by, action, details FROM audit_access ORDER BY id"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/?client=inventory", ("audit.explore", {"client": "inventory"})),
        (
            "/?subject=alice&tz=Asia/Tokyo",
            ("audit.explore", {"subject": "alice", "tz": "Asia/Tokyo"}),
        ),
        ("/timeline?outcome=issued", ("audit.explore", {"outcome": "issued"})),
        ("/rows/{id}", ("audit.explore", {"row": "{id}"})),
        ("/rows/{id}/transaction", ("audit.explore", {"transaction": "{id}"})),
        ("/rows/{id}/proof", ("audit.prove", {"row": "{id}"})),
        ("/rows/{id}/record", ("audit.export", {"row": "{id}", "format": "record"})),
        (
            "/export.csv?client=a&names=yes",
            ("audit.export", {"client": "a", "format": "csv", "names": True}),
        ),
        (
            "/export.jsonl?client=a",
            ("audit.export", {"client": "a", "format": "jsonl", "names": False}),
        ),
        ("/trail", ("audit.explore", {"page": "trail"})),
        ("/trail/verify?since=2020-01-01", ("audit.verify", {"since": "2020-01-01"})),
    ],
)
async def test_whoever_looks_is_on_record(own, path, expected):
    """One row for each look, with the role as the database knows it; none for a style sheet."""
    action, details = expected
    async with exploring(own.database) as client:
        await client.get("/static/style.css")
        await client.get("/?outcome=nonsense")
        response = await client.get(path.format(id=own.second))
    rows = execute(own.database.superuser_url, ACCESS)

    assert 200 == response.status_code
    assert [("broker_auditor", "an auditor", action)] == [
        (row["role"], row["by"], row["action"]) for row in rows
    ]
    assert {
        name: value.format(id=own.second) if isinstance(value, str) else value
        for name, value in details.items()
    } == json.loads(rows[0]["details"])


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/timeline", "/rows/{id}", "/rows/{id}/transaction", "/rows/{id}/proof"),
        *("/rows/{id}/record", "/export.csv", "/export.jsonl", "/trail", "/trail/verify"),
    ],
)
async def test_nothing_is_shown_that_cannot_be_recorded(own, path):
    """Fail closed: the same pages with the table away are a page that says so."""
    execute(own.database.superuser_url, "REVOKE INSERT ON audit_access FROM broker_auditor")
    execute(
        own.database.superuser_url,
        "REVOKE INSERT (id, by, action, details) ON audit_access FROM broker_auditor",
    )
    async with exploring(own.database) as client:
        page = await client.get(path.format(id=own.second))

    assert 503 == page.status_code
    assert "Nothing is shown that cannot be recorded" in text_of(page)
    assert [] == rows_of(page)


async def test_injections_are_values(visitor):
    """Whatever it says, it is compared."""
    for value in ("' OR 1=1 --", "%' ; DROP TABLE audit_event; --", "{alice}", "a" * 1024):
        page = await visitor.get("/", params={"client": value, "actor": value, "target": value})
        assert (200, []) == (page.status_code, rows_of(page))


async def test_times_are_of_the_zone_that_was_asked_for(visitor, told):
    """Named in the address, so a colleague reads the same; without an offset, input is of it."""
    page = await visitor.get("/", params={"client": "inventory", "tz": "Asia/Kathmandu"})
    utc = await visitor.get("/", params={"client": "inventory"})

    assert "Asia/Kathmandu" in text_of(page)
    assert rows_of(page) == rows_of(utc)
    shown = [page.text.split("<time")[1].split(">")[1][:19] for page in (page, utc)]
    assert shown[0] != shown[1]


async def test_a_row_says_what_was_decided_why_and_from_what(visitor, told):
    """The decision, the chain, both tokens, where it came from, and that it is unchanged."""
    page = await visitor.get(f"/rows/{told.second}")
    text = text_of(page)

    assert 200 == page.status_code
    for words in (
        "✓ issued inventory → ledger on behalf of alice",
        "✓ Unchanged. The record hashes to its leaf",
        "signed by the key of the log",
        "Policy revision sha256:9f31ab77",
        "subject alice https://idp.test acted checkout https://broker.test acts now inventory",
        "orders.read kept",
        "inventory.read cut",
        "Made of",
    ):
        assert words in text
    assert f"/rows/{told.first}" in links_of(page)
    assert "<s>inventory.read</s>" in page.text


async def test_a_refusal_says_its_reasons_and_what_they_mean(visitor, told):
    """In the words that the client was answered."""
    text = text_of(await visitor.get(f"/rows/{told.refused}"))

    assert "policy.scope_not_held" in text
    assert "The token that was presented" in text
    assert "and the one that was issued" not in text


async def test_a_row_leads_down_to_what_was_made_of_it(visitor, told):
    """One hop further, refused or not."""
    page = await visitor.get(f"/rows/{told.first}")

    assert {told.second, told.refused} <= set(rows_of(page))


async def test_a_transaction_is_a_picture_and_a_list(visitor, told):
    """Each card leads to its row; so does the list, in the order of time."""
    page = await visitor.get(f"/rows/{told.second}/transaction")

    assert [told.first, told.second, told.refused] == rows_of(page)
    tree = page.text[page.text.index("<svg") : page.text.rindex("</svg>")]
    for id_ in (told.first, told.second, told.refused):
        assert f'href="/rows/{id_}"' in tree


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/rows/none",
        "/rows/019a0000-0000-7000-8000-000000000000",
        "/rows/019a0000-0000-7000-8000-000000000000/transaction",
        "/rows/019a0000-0000-7000-8000-000000000000/record",
        "/trail/",
    ],
)
async def test_what_is_not_there_is_said_in_a_page(visitor, path):
    """No trace of a stack, whatever is asked for."""
    page = await visitor.get(path)

    assert 404 == page.status_code
    assert "There is no such page." in text_of(page)
    assert "Traceback" not in page.text


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


async def test_without_the_audit_key_persons_are_pseudonyms(told):
    """And who asks for a file with names is told what it takes."""
    async with exploring(told.database, vault=None) as client:
        page = await client.get("/", params={"client": "inventory"})
        row = await client.get(f"/rows/{told.second}")
        export = await client.get("/export.csv?names=yes")

    pseudonym = new_vault().pseudonym("alice")
    assert "alice" not in page.text
    assert pseudonym in page.text
    assert "alice" not in row.text
    assert "Start the explorer with the audit key" in text_of(row)
    assert (400, True) == (export.status_code, "takes the audit key" in text_of(export))


async def test_without_a_public_key_it_is_said_that_nobody_judged_it(told):
    """Consistent is less than proven."""
    async with exploring(told.database, keys=()) as client:
        row = text_of(await client.get(f"/rows/{told.second}"))
        trail = text_of(await client.get("/trail"))

    assert "No public key was given, so who signed that was not judged." in row
    assert "not judged No public key was given." in trail


async def test_the_state_of_the_trail_is_told(visitor):
    """The newest checkpoint, who signed it, and what waits."""
    text = text_of(await visitor.get("/trail"))

    assert "Newest checkpoint" in text
    assert "✓ valid by the key of the log" in text
    assert "✓ nothing Every batch is under the newest checkpoint." in text
    assert "No checkpoint has left this database" in text


async def test_the_trail_is_verified_on_the_spot(visitor):
    """All of it, or a window; and what was not checked is said."""
    whole = text_of(await visitor.get("/trail/verify"))
    window = text_of(await visitor.get("/trail/verify?since=1h&until="))
    never = text_of(await visitor.get("/trail/verify?since=2020-01-01&until=2020-01-02"))

    assert f"✓ Intact Rows read {EVERYDAY + 6}" in whole
    assert f"✓ Intact Rows read {EVERYDAY + 6}" in window
    assert "✓ Intact Rows read 0" in never
    assert "Not checked: checkpoints from outside" in whole


@pytest.fixture
async def own(postgres: EmbeddedPostgres, migrated: OneDatabase):
    """A trail that a test may change, or lose."""
    database = make_database(postgres, migrated.name)
    return await tell(database)


async def test_a_row_that_was_changed_is_called_so(own):
    """On its page, and with its place by the verification."""
    as_superuser(
        own.database,
        ("audit_event",),
        f"UPDATE audit_event SET client = 'somebody' WHERE id = '{own.second}'",
    )
    async with exploring(own.database) as client:
        row = text_of(await client.get(f"/rows/{own.second}"))
        report = await client.get("/trail/verify")

    assert "✗ Tampered with: a column is not what the record says (client)" in row
    assert "✗ Tampered with: 1 problem" in text_of(report)
    assert f"/rows/{own.second}" in links_of(report)


async def test_an_erased_person_is_shown_as_erased(own):
    """The row stays, verifies, and names nobody."""
    person = new_vault().pseudonym("alice")
    execute(own.database.superuser_url, f"DELETE FROM audit_person_key WHERE person = '{person}'")
    async with exploring(own.database) as client:
        page = await client.get(f"/rows/{own.second}")

    assert "erased" in text_of(page)
    assert "cannot be read by anybody any more" in text_of(page)
    assert "✓ Unchanged." in text_of(page)
    assert ">alice<" not in page.text


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_text_is_text(own, name):
    """What callers sent is shown, and runs nowhere, in lists, rows, trees, fields and chips."""
    value = HOSTILE[name]
    database = Database(own.database.app_url)
    try:
        async with running(database) as writer:
            written = event("test", said=value, **{"a<b>": value})
            await writer.append(written)
    finally:
        await database.aclose()
    async with exploring(own.database) as client:
        for page in (
            await client.get(f"/rows/{written.id}"),
            await client.get("/", params={"request_id": value.replace("\n", " ")}),
        ):
            assert page.status_code in {200, 400}
            assert "<script>" not in page.text
            assert "<img src=x" not in page.text
            assert "</svg><svg" not in page.text
            assert ' onmouseover="' not in page.text


async def test_the_database_keeps_it_from_writing(own):
    """Even to a role that may write: its connections are read only by the server's word."""
    async with exploring(own.database, vault=None) as client:
        assert 200 == (await client.get("/")).status_code
    reading = Database(own.database.owner_url, read_only=True)
    try:
        connection = await reading.connect()
        with pytest.raises(Exception, match="read-only transaction"):
            await connection.execute("DELETE FROM audit_person_key")
    finally:
        await reading.aclose()


async def test_a_database_that_is_away_is_a_page_that_says_so(own):
    """503, what to do, and no trace."""
    async with exploring(own.database) as client:
        execute(
            own.database.server.superuser_url,
            f"DROP DATABASE {own.database.name} WITH (FORCE)",
        )
        pages = [await client.get(path) for path in ("/", "/trail", f"/rows/{own.first}")]

    for page in pages:
        assert 503 == page.status_code
        assert "Traceback" not in page.text
        assert own.database.name not in page.text


async def test_one_verification_at_a_time(visitor):
    """A second one is told to wait, and the first one ends well."""
    first, second = await asyncio.gather(
        visitor.get("/trail/verify"), visitor.get("/trail/verify?since=1h")
    )

    assert [200, 200] == [first.status_code, second.status_code] or 409 in {
        first.status_code,
        second.status_code,
    }
