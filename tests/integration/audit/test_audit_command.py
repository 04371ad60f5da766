"""``broker audit`` as its users run it: another process, the auditor's role, exit codes."""

import asyncio
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from broker.db.engine import Database
from tests.audit import event, running
from tests.configuration import document
from tests.fixtures.postgres import execute, one_more


async def write(url: str, count: int) -> None:
    database = Database(url)
    async with running(database) as writer:
        for number in range(count):
            await writer.append(event(f"n{number}"))
    await database.aclose()


@pytest.fixture(scope="module")
def written(postgres, template):
    """A trail of 120 rows, and the two of the writer itself."""
    with one_more(postgres, template.name) as made:
        asyncio.run(write(made.app_url, 120))
        yield made


def audit(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "broker.cli", "audit", *arguments],
        check=False,
        capture_output=True,
        text=True,
        # No file of whoever runs the tests: nothing can be kept there.
        env={
            "COLUMNS": "110",
            "PATH": "/usr/bin:/bin",
            "XDG_STATE_HOME": "/dev/null",
            **environment,
        },
        timeout=60,
    )


def test_a_table_shows_the_newest_hundred(written):
    """Design 9: and says that there are more."""
    answer = audit("query", "--database-url", written.auditor_url)

    assert 0 == answer.returncode, answer.stderr
    assert "The newest 100; there are more." in answer.stdout
    assert "• n119" in answer.stdout
    assert "• n1\n" not in answer.stdout


def test_json_lines_are_whole_records_as_they_were_hashed(written):
    """Design 9: everything that matches, newest first; each line hashes to its leaf."""
    answer = audit("query", "--format", "jsonl", "--database-url", written.auditor_url)
    lines = answer.stdout.splitlines()
    leaves = {row["leaf"] for row in execute(written.auditor_url, "SELECT leaf FROM audit_event")}

    assert 122 == len(lines)
    assert leaves == {hashlib.sha256(b"\0" + line.encode()).digest() for line in lines}
    assert "stop" == json.loads(lines[0])["action"]


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        pytest.param(("--kind", "writer"), 2, id="some"),
        pytest.param(("--txn", "none"), 0, id="none"),
        pytest.param(("--limit", "3"), 3, id="limited"),
        pytest.param(("--since", "1h"), 122, id="since-a-duration"),
        pytest.param(("--until", "2020-01-01"), 0, id="until-a-time"),
    ],
)
def test_json_is_one_document(written, arguments, count):
    """Design 9: also when nothing fits."""
    answer = audit("query", "--format", "json", *arguments, "--database-url", written.auditor_url)

    assert count == len(json.loads(answer.stdout))


def test_an_intact_trail_exits_with_0(written):
    """Promises 2.5: with read access, and no running broker."""
    answer = audit("verify", "--database-url", written.auditor_url)

    assert 0 == answer.returncode
    assert answer.stdout.startswith("✓ intact: 122 rows in 122 batches of 1 writers")


def test_a_tampered_trail_exits_with_1_and_names_the_row(fresh):
    """Drill 14: for a script by the exit code, for a person by the place."""
    asyncio.run(write(fresh.app_url, 5))
    partitions = execute(
        fresh.superuser_url,
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
        " WHERE inhparent = 'audit_event'::regclass",
    )
    execute(
        fresh.superuser_url,
        *(f"ALTER TABLE {row['name']} DISABLE TRIGGER ALL" for row in partitions),
        "UPDATE audit_event SET client = 'mallory' WHERE seq = 4",
    )
    told = audit("verify", "--database-url", fresh.auditor_url)
    report = json.loads(
        audit("verify", "--format", "json", "--database-url", fresh.auditor_url).stdout
    )

    assert 1 == told.returncode
    assert "a column is not what the record says (client)" in told.stdout
    assert "switched off" in told.stdout
    assert not report["intact"]
    assert (4, 4, "client") == tuple(
        report["problems"][0][name] for name in ("first_seq", "last_seq", "column")
    )


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("query", "--since", "yesterday"), id="no-time"),
        pytest.param(("query", "--jti", "not-a-uuid"), id="no-uuid"),
        pytest.param(("query",), id="no-database"),
        pytest.param(("verify",), id="no-database-to-verify"),
    ],
)
def test_what_cannot_be_looked_at_exits_with_2(arguments):
    """Ours: in a line, without a traceback or a password."""
    url = "postgresql://broker:secret@127.0.0.1:1/broker"
    answer = audit(*arguments, "--database-url", url)

    assert 2 == answer.returncode
    assert 1 == len(answer.stderr.splitlines())
    assert "secret" not in answer.stderr + answer.stdout


def test_the_configuration_names_the_database(written, tmp_path: Path):
    """Design 5: the same file that the broker runs with, its secrets in the environment."""
    kek = tmp_path / "kek"
    kek.write_text("x")
    config = tmp_path / "broker.yaml"
    made = document(
        database={"url": "${BROKER_DATABASE_URL}"},
        keys={"kek_file": str(kek)},
        listen={"host": "127.0.0.1", "port": 1},
        admin={"host": "127.0.0.1", "port": 2},
    )
    config.write_text(yaml.safe_dump(made))
    answer = audit(
        *("query", "--format", "json", "--limit", "1"),
        BROKER_CONFIG=str(config),
        BROKER_DATABASE_URL=written.app_url,
    )

    assert 0 == answer.returncode, answer.stderr
    assert 1 == len(json.loads(answer.stdout))


def test_a_folder_in_which_nothing_was_recorded_is_named(tmp_path: Path):
    """Ours: asking must not make an empty database."""
    config = tmp_path / "broker.yaml"
    config.write_text("issuer: https://broker.test\n")
    answer = audit("verify", "--config", str(config))

    assert 2 == answer.returncode
    assert "nothing was recorded" in answer.stderr
    assert [config] == [*tmp_path.iterdir()]
