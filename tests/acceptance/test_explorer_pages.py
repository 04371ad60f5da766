"""Rows, transactions and the state of the trail, to somebody without a script."""

import pytest

from broker.db.engine import Database
from tests.audit import event, new_vault, running
from tests.browser.story import EVERYDAY
from tests.exploring import exploring, links_of, rows_of, text_of
from tests.fixtures.postgres import execute
from tests.hostile import HOSTILE
from tests.sealing import as_superuser


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


async def test_a_row_names_the_command_that_explains_it(visitor, told):
    """To be copied into a terminal: the page itself evaluates nothing."""
    text = text_of(await visitor.get(f"/rows/{told.first}"))

    assert f"broker policy explain {told.first}" in text


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


async def test_a_zone_goes_on_from_page_to_page(visitor, told):
    """Whoever looks in Tokyo time follows rows and trees in Tokyo time."""
    page = await visitor.get("/?client=inventory&tz=Asia/Tokyo")
    row = await visitor.get(next(link for link in links_of(page) if told.second in link))
    tree = await visitor.get(next(link for link in links_of(row) if "transaction" in link))
    card = next(link for link in links_of(tree) if told.first in link)

    assert f"/rows/{told.first}?tz=Asia%2FTokyo" == card
    for answer in (page, row, tree):
        assert "Asia/Tokyo" in text_of(answer)
    assert 400 == (await visitor.get(f"/rows/{told.first}?tz=Mars")).status_code


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
