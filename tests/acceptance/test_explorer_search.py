"""The search of an explorer, to somebody without a script."""

import json

import pytest

from tests.audit import VAULT
from tests.browser.story import EVERYDAY
from tests.exploring import exploring, links_of, rows_of, text_of


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


@pytest.mark.parametrize(("vault", "status"), [(VAULT, 200), (None, 400)], ids=["key", "none"])
async def test_a_link_to_older_rows_is_for_who_has_the_audit_key(visitor, told, vault, status):
    """A colleague's explorer has the same key then; without it a place is of one explorer."""
    page = await visitor.get("/?client=batch")
    onward = next(link for link in links_of(page) if "after=" in link)
    async with exploring(told.database, vault=vault) as colleague:
        theirs = await colleague.get(onward)
    expected = rows_of(await visitor.get(onward)) if vault else []

    assert (status, expected) == (theirs.status_code, rows_of(theirs))


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
