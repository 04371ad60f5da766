"""``broker audit stream``: what scripts and operators see of it."""

import asyncio
import json
import os
import signal
import sys
from base64 import b64encode
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker.cli.audit import app
from broker.settings.streams import parse_destination
from tests.configuration import KEY_FILES
from tests.fixtures.postgres import execute
from tests.loopback import certificate
from tests.sealing import as_superuser
from tests.server import eventually
from tests.streaming import first_times, ids_in_order, lines_of, syslog_receiver

ROOT = Path(__file__).parents[4]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.jsonl"


def stream(*arguments):
    return CliRunner().invoke(app, ["stream", *(str(one) for one in arguments)])


def ids_of(path):
    return [json.loads(line)["id"] for line in lines_of(path)]


def test_once_ends_when_all_is_delivered(log, base, out):
    """Issue: scripts; run again it brings what is new, and exits 0 both times."""
    arguments = ("--to", f"file:{out}", "--once", "--database-url", base.app_url)
    answers = [stream(*arguments), stream(*arguments)]

    assert [0, 0] == [one.exit_code for one in answers]
    assert ids_in_order(base.auditor_url) == ids_of(out)
    assert "9 rows delivered, up to batch 9" in answers[0].stderr
    assert "from what comes next" in answers[1].stderr
    assert "" == answers[0].stdout


def test_that_rows_leave_is_on_record(log, base, out):
    """Issue: what auditors take is in the trail as well: where to, in which form, opened or not."""
    stream("--to", f"file:{out}", "--once", "--as", "ocsf", "--database-url", base.app_url)

    (row,) = execute(
        base.app_url,
        "SELECT action, details FROM audit_access ORDER BY id DESC LIMIT 1",
    )
    details = {"to": f"file:{out}", "name": f"file:{out}", "format": "ocsf", "open": False}
    assert ("audit.stream", details) == (row["action"], json.loads(row["details"]))


def test_an_auditor_keeps_the_place_in_a_file(log, base, out, tmp_path):
    """Issue: broker_auditor reads; without a file for its place nothing is begun."""
    arguments = ("--to", f"file:{out}", "--once", "--database-url", base.auditor_url)
    without = stream(*arguments)
    answers = [stream(*arguments, "--cursor", tmp_path / "cursor") for _ in range(2)]

    assert 2 == without.exit_code
    assert "--cursor: this role may not keep in the database" in " ".join(without.stderr.split())
    assert [0, 0] == [one.exit_code for one in answers]
    assert ids_in_order(base.auditor_url) == ids_of(out)


def test_a_gap_is_an_exit_code(log, base, out):
    """Issue: 1 is tampered; the rows that are left have arrived."""
    expected = ids_in_order(base.auditor_url)
    as_superuser(base, ["audit_event"], f"DELETE FROM audit_event WHERE id = '{expected[4]}'")
    answer = stream("--to", f"file:{out}", "--once", "--database-url", base.app_url)

    assert 1 == answer.exit_code
    assert "run `broker audit verify`" in " ".join(answer.stderr.split())
    assert [*expected[:4], *expected[5:]] == ids_of(out)


def test_persons_are_opened_with_the_audit_key_alone(log, base, out, tmp_path):
    """Issue: never a plain person without ``--open --key-file``."""
    key = tmp_path / "key"
    key.write_text(b64encode(KEY_FILES["audit.key"]).decode())
    key.chmod(0o600)
    arguments = ("--to", f"file:{out}", "--once", "--open", "--database-url", base.app_url)
    without = stream(*arguments)
    opened = stream(*arguments, "--key-file", key)

    assert (2, 0) == (without.exit_code, opened.exit_code)
    assert "--open: takes the audit key" in without.stderr
    assert b'"by":"broker"' in out.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(["--to", "syslog://siem"], "--to: write syslog+tls://", id="to"),
        pytest.param(["--to", "file:a", "--from", "soon"], "--from: write 24h", id="from"),
        pytest.param(["--to", "file:a", "--name", "a b"], "--name: write 1 to 64", id="name"),
        pytest.param(["--to", "file:a", "--ca", "a"], "a file has no TLS", id="tls-of-a-file"),
        pytest.param(
            ["--to", "syslog+tls://a", "--cert", "a"], "write both or neither", id="cert-alone"
        ),
        pytest.param(["--to", "syslog+tls://a", "--ca", "none"], "--ca: none has no", id="ca"),
        pytest.param(["--to", "file:/nowhere/a", "--once"], "No such file", id="nowhere"),
        pytest.param(
            ["--to", "syslog+tls://127.0.0.1:1", "--once"], "Connection refused", id="nobody"
        ),
        pytest.param(["--to", "file:a", "--cursor", "/nowhere/a"], "in a folder that", id="cursor"),
    ],
)
def test_what_cannot_be_done_says_why(log, base, arguments, text, tmp_path, monkeypatch):
    """Issue: a clear error, exit code 2, nothing half-written."""
    monkeypatch.chdir(tmp_path)
    answer = stream(*arguments, "--database-url", base.app_url)

    assert 2 == answer.exit_code
    assert text in " ".join(answer.stderr.split())
    assert [] == list(tmp_path.iterdir())


def test_a_database_that_is_not_there_is_exit_code_2(out):
    """Ours: also without ``--once``: what could never be read is no stream."""
    url = "postgresql://broker_app@127.0.0.1:1/broker"
    answer = stream("--to", f"file:{out}", "--database-url", url)

    assert 2 == answer.exit_code
    assert not out.exists()


def test_where_it_goes_is_its_name_unless_it_has_one(log, base, out):
    """Ours: two receivers never share a place by default."""
    stream("--to", f"file:{out}", "--once", "--database-url", base.app_url)
    stream("--to", f"file:{out}", "--name", "siem", "--once", "--database-url", base.app_url)

    rows = execute(base.app_url, "SELECT name FROM audit_cursor WHERE name LIKE 'stream:%'")
    names = {f"stream:{parse_destination(f'file:{out}')}", "stream:siem"}
    assert names == {row["name"] for row in rows}
    assert 18 == len(ids_of(out))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_told_to_end_it_ends_in_good_order(log, base, tmp_path, number):
    """Issue: SIGTERM finishes what is under way, keeps the place, exits 0. SIGHUP is nothing."""
    tls, anchor = certificate(tmp_path, "127.0.0.1")
    async with syslog_receiver(tls) as receiver:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "broker.cli", "audit", "stream", "--name", "told"),
            *("--to", f"syslog+tls://127.0.0.1:{receiver.port}", "--ca", str(anchor)),
            *("--database-url", base.app_url),
            cwd=ROOT,
            env=os.environ | {"NO_COLOR": "1"},
            stderr=asyncio.subprocess.PIPE,
        )
        try:

            async def arrived():
                return len(receiver.messages) == 9

            await eventually(arrived)
            process.send_signal(signal.SIGHUP)

            async def moved():
                rows = execute(
                    base.app_url, "SELECT position FROM audit_cursor WHERE name = 'stream:told'"
                )
                return rows and rows[0]["position"] == 9

            await eventually(moved)
            process.send_signal(number)
            _, said = await asyncio.wait_for(process.communicate(), 20)
        finally:
            if process.returncode is None:
                process.kill()

    assert 0 == process.returncode, said
    assert b"9 rows delivered, up to batch 9" in said
    assert ids_in_order(base.auditor_url) == first_times(receiver.ids)
