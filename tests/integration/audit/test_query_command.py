"""``broker audit query``: by the page, in a zone, for a spreadsheet, and what is no question."""

import asyncio
import csv
import io
import json
import re
import stat
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from broker.audit.page import parse_cursor, position_of, render_cursor
from broker.audit.query import Filter, find_rows
from broker.cli.audit import app
from broker.db.engine import Database
from broker.db.loop import run_apart
from tests.audit import event, running
from tests.configuration import write_keys
from tests.fixtures.postgres import one_more

FIRST = datetime(2026, 11, 27, tzinfo=UTC)
INSERT = """
INSERT INTO audit_event (writer, seq, at, id, kind, outcome, txn, actor_issuers, actors, targets,
                         scopes, record, leaf)
VALUES ($1, $2, $3, gen_random_uuid(), 'exchange', 'issued', $4, '{}', '{}', '{}', '{}', '{}',
        sha256('a row'))
"""


async def write(url: str, *actions: str) -> None:
    database = Database(url)
    async with running(database) as writer:
        for action in actions:
            await writer.append(event(action))
    await database.aclose()


@pytest.fixture(scope="module")
def written(postgres, template):
    """A trail of nine rows by action, and the two of the writer itself."""
    with one_more(postgres, template.name) as made:
        asyncio.run(write(made.app_url, *(f"n{number}" for number in range(8)), "=1+1"))
        yield made


@pytest.fixture(scope="module")
def growing(postgres, template):
    """A trail to which rows are added."""
    with one_more(postgres, template.name) as made:
        yield made


@pytest.fixture
def ask(written, tmp_path):
    """Runs the command, with folders of its own."""

    def run(*arguments: str, url: str = written.auditor_url):
        environment = {
            "COLUMNS": "110",
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
        }
        return CliRunner().invoke(
            app, ["query", *arguments, "--database-url", url], env=environment
        )

    return run


def actions(answer) -> list[str]:
    return [json.loads(line)["action"] for line in answer.stdout.splitlines()]


def cursor_in(text: str) -> str | None:
    found = re.search(r"^more: the same with --after (\S+)$", text, re.MULTILINE)
    return None if found is None else found[1]


def test_pages_follow_each_other_to_the_end(ask):
    """Each says how to go on, beside what a program reads; the last one does not."""
    paged, cursor = [], None
    for _ in range(4):
        after = () if cursor is None else ("--after", cursor)
        page = ask("--format", "jsonl", "--limit", "3", *after)
        paged.append(actions(page))
        cursor = cursor_in(page.stderr)

    assert cursor is None
    assert [3, 3, 3, 2] == [len(page) for page in paged]
    assert actions(ask("--format", "jsonl")) == [one for page in paged for one in page]


def test_rows_that_come_meanwhile_are_on_no_later_page(ask, fresh):
    """The newest stand in front, so nothing is seen twice."""
    asyncio.run(write(fresh.app_url, "a", "b"))
    asked = ("--kind", "administration", "--format", "jsonl", "--limit", "1")
    first = ask(*asked, url=fresh.auditor_url)
    asyncio.run(write(fresh.app_url, "c"))
    second = ask(*asked, "--after", cursor_in(first.stderr), url=fresh.auditor_url)

    assert (["b"], ["a"]) == (actions(first), actions(second))


def test_a_table_ends_with_how_to_go_on(ask):
    """On a line that can be copied, also where lines are narrow."""
    first = ask("--limit", "6")
    second = ask("--limit", "6", "--after", cursor_in(first.stdout))

    assert "The newest 6; there are more." in first.stdout
    assert second.stdout.splitlines()[-1] == "The last 5."


def test_the_key_of_cursors_is_made_once_and_for_oneself(ask, tmp_path):
    """Without the audit key it is a file; whoever else asks has another."""
    cursor = cursor_in(ask("--limit", "1").stdout)
    path = tmp_path / "state" / "token-exchange-broker" / "cursor.key"
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    answer = ask("--limit", "1", "--after", cursor)

    assert 0o600 == mode
    assert (2, "") == (answer.exit_code, answer.stdout)


def test_a_key_that_others_may_read_is_not_used(ask, tmp_path):
    """They could forge places; it says what to do, and questions are answered all the same."""
    cursor = cursor_in(ask("--limit", "1").stdout)
    (tmp_path / "state" / "token-exchange-broker" / "cursor.key").chmod(0o644)
    answer = ask("--limit", "1", "--after", cursor)

    assert (2, "") == (answer.exit_code, answer.stdout)
    assert "remove it" in answer.stderr
    assert cursor_in(ask("--limit", "1").stdout) is None


def test_by_the_audit_key_a_cursor_is_good_for_all_who_have_it(ask, tmp_path):
    """On another machine, and with no file of one's own."""
    write_keys(tmp_path)
    asked = ("--limit", "1", "--key-file", str(tmp_path / "audit.key"))
    cursor = cursor_in(ask(*asked).stdout)

    assert 0 == ask(*asked, "--after", cursor).exit_code
    assert not (tmp_path / "state").exists()
    assert 2 == ask("--limit", "1", "--after", cursor).exit_code


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda cursor: cursor[:-8], id="cut"),
        pytest.param(lambda cursor: "B" + cursor[1:], id="changed"),
        pytest.param(lambda _: "x", id="none"),
        pytest.param(lambda cursor: cursor * 10_000, id="oversized"),
    ],
)
def test_what_is_no_cursor_leads_nowhere(ask, spoil):
    """Exit code 2, one sentence, and what to do."""
    cursor = cursor_in(ask("--limit", "1").stdout)
    answer = ask("--limit", "1", "--after", spoil(cursor))

    assert (2, "") == (answer.exit_code, answer.stdout)
    assert "--after: that is no cursor" in answer.stderr


def test_a_cursor_of_another_question_leads_nowhere(ask):
    """It would skip what is newer and was never shown."""
    cursor = cursor_in(ask("--limit", "1").stdout)
    answer = ask("--limit", "1", "--kind", "writer", "--after", cursor)

    assert (2, "") == (answer.exit_code, answer.stdout)


def test_csv_computes_nothing_in_a_spreadsheet(ask):
    """What callers wrote is text there, and the table is whole."""
    answer = ask("--format", "csv", "--kind", "administration")
    rows = list(csv.DictReader(io.StringIO(answer.stdout)))

    assert ["'=1+1", *(f"n{number}" for number in range(7, -1, -1))] == [
        row["action"] for row in rows
    ]


def test_times_are_of_the_zone_that_is_named(ask):
    """In the table, and where one is asked for without an offset."""
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    answer = ask("--timezone", "Asia/Kathmandu", "--until", f"{tomorrow:%Y-%m-%d %H:%M}")

    assert "Asia/Kathmandu" in "".join(answer.stdout.split())
    assert "11 in all." in answer.stdout


def test_administration_is_found_by_its_action(ask):
    """Exactly, like everything else."""
    assert ["n3"] == actions(ask("--format", "jsonl", "--action", "n3"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("--since", "1h", "--until", "2h"), "--until: write a time", id="backwards"),
        pytest.param(("--since", "9999-12-31"), "--since: nothing was recorded", id="year-9999"),
        pytest.param(("--since", "99999999999d"), "--since: write 24h", id="longer-than-time"),
        pytest.param(("--client", "a\0b"), "--client: write at most", id="nul"),
        pytest.param(("--client", "a" * 10_000), "--client: write at most", id="ten-thousand"),
        pytest.param(("--client", "\udcff"), "--client: write at most", id="no-utf-8"),
        pytest.param(("--client", " "), "--client: is empty", id="empty"),
        pytest.param(("--outcome", "maybe"), "--outcome: is one of", id="no-outcome"),
        pytest.param(("--kind", "'; DROP TABLE x"), "--kind: is one of", id="injection"),
        pytest.param(("--jti", "1"), "--jti: tokens issued here", id="no-uuid"),
        pytest.param(("--timezone", "../UTC"), "--timezone: no such", id="zone-of-a-path"),
        pytest.param(
            ("--timezone", "Europe/Berlin", "--since", "2026-10-25 02:30"),
            "--since: in Europe/Berlin that was twice",
            id="hour-that-was-twice",
        ),
        pytest.param(("--limit", "100000"), "--limit: nobody reads", id="endless-table"),
        pytest.param(("--limit", "9" * 30), "--limit", id="limit-beyond-numbers"),
        pytest.param(("--limit", "0"), "--limit", id="limit-of-nothing"),
        pytest.param(("--open",), "--open: takes the audit key", id="open-without-key"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_read(ask, arguments, said):
    """Exit code 2, the option by its name, and nothing on standard output."""
    answer = ask(*arguments)

    assert (2, "") == (answer.exit_code, answer.stdout)
    assert said in " ".join(answer.stderr.split())


def test_an_injection_finds_nothing(ask):
    """It is a value like any other."""
    answer = ask("--format", "json", "--client", "' OR 1=1 --")

    assert (0, []) == (answer.exit_code, json.loads(answer.stdout))


# Few times and few writers, so that rows share them.
PLACES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12)


@given(PLACES, st.lists(PLACES, max_size=3), st.integers(1, 5))
@settings(
    max_examples=30,
    deadline=None,
)
def test_pages_joined_are_the_whole(growing, places, later, size):
    """Whatever shares a time or a writer, and whatever is added in front meanwhile: none twice."""
    run_apart(lambda: page_through(growing, places, later, size))


async def page_through(made, places, later, size) -> None:
    run, key, seq = uuid4(), b"k" * 32, iter(range(1, 1000))
    txn = str(run)
    wanted = Filter(txn=txn)
    owner = await asyncpg.connect(made.owner_url)
    database = Database(made.auditor_url, pool_size=1)

    async def add(rows, first: datetime) -> None:
        for writer, second in rows:
            at = first + timedelta(seconds=second)
            await owner.execute(INSERT, UUID(int=run.int >> 8 << 8 | writer), next(seq), at, txn)

    async def read(**options):
        return [position_of(row) async for row in find_rows(database, wanted, **options)]

    try:
        await add(places, FIRST)
        whole, pages = await read(), []
        after = None
        while page := await read(limit=size, after=after):
            pages += page
            after = parse_cursor(render_cursor(page[-1], key, b""), key, b"")
            if later:
                await add(later.pop(), FIRST + timedelta(hours=1))
    finally:
        await owner.close()
        await database.aclose()

    assert whole == pages
