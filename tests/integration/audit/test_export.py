"""``broker audit export`` as its users run it: what is in the file, and when there is none."""

import asyncio
import csv
import io
import json
import subprocess
import sys
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker.audit.batch import batch_statement
from broker.audit.checkpoint import verify_checkpoint
from broker.audit.export.native import (
    ExportedBatch,
    ExportedRow,
    Footer,
    Header,
    read_native,
)
from broker.audit.merkle import is_included, leaf_hash, merkle_root
from broker.audit.outcome import build_issued, build_refused
from broker.cli.audit import app
from broker.db.engine import Database
from broker.errors import Reason
from tests.audit import attempt, evaluation, event, new_id, running, signed_token
from tests.fixtures.postgres import execute, one_more
from tests.sealing import KEYS, ORIGIN, seal_now

ISSUER = "https://broker.example.com"


async def write(url):
    database = Database(url)
    async with running(database) as first, running(database) as second:
        for number in range(6):
            events = [event(f"n{number}-{n}") for n in range(number * 5 + 1)]
            await asyncio.gather(*(first.append(one) for one in events))
            made = attempt(evaluation=evaluation())
            await second.append(build_issued(made, signed_token(made), issuer=ISSUER))
            await second.append(
                build_refused(
                    attempt(), Reason.POLICY_SCOPE_NOT_GRANTED, id=new_id(), issuer=ISSUER
                )
            )
    await seal_now(database)
    async with running(database) as writer:
        await writer.append(event("late"))
    await database.aclose()


@pytest.fixture(scope="module")
def trail(postgres, template):
    """Two writers whose batches alternate, all sealed, and a third one that is not."""
    with one_more(postgres, template.name) as made:
        asyncio.run(write(made.app_url))
        yield made


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def export(database, *arguments, out="out"):
    options = ("--out", out, "--database-url", database.auditor_url)
    return CliRunner().invoke(app, ["export", *arguments, *options], env={"COLUMNS": "100"})


def files(folder):
    return [path.name for path in folder.iterdir()]


def said(answer):
    return " ".join(answer.stderr.split())


def stored(database, where="true"):
    rows = execute(
        database.auditor_url,
        f"SELECT * FROM audit_event WHERE {where} ORDER BY at DESC, writer, seq DESC",
    )
    return [dict(row) for row in rows]


def verified(raw):
    """The header and, by position, the records of an export; everything in it is verified."""
    lines = read_native(io.BytesIO(raw))
    header = next(lines)
    assert isinstance(header, Header)
    checkpoint = verify_checkpoint(header.checkpoint, KEYS.public, origin=header.origin)
    batches = {}
    for line in lines:
        if isinstance(line, ExportedBatch):
            batch = line.batch
            entry = leaf_hash(batch_statement(batch))
            assert is_included(entry, line.position, checkpoint.size, line.path, checkpoint.root)
            rows = batches[line.position] = (batch, [])
        elif isinstance(line, ExportedRow):
            rows[1].append(line)
    for batch, found in batches.values():
        assert list(range(batch.first_seq, batch.last_seq + 1)) == [row.seq for row in found]
        assert batch.root == merkle_root([leaf_hash(row.record) for row in found])
    assert isinstance(line, Footer)
    return header, {place: [row.record for row in rows] for place, (_, rows) in batches.items()}


def test_a_native_export_verifies_on_its_own(trail, folder):
    """Every sealed row, each in its batch, each batch in the log, the log signed."""
    answer = export(trail, "--format", "native")
    header, found = verified((folder / "out").read_bytes())
    size = execute(trail.auditor_url, "SELECT count(*) FROM audit_tree")[0][0]

    assert 0 == answer.exit_code, answer.stderr
    assert ORIGIN == header.origin
    assert list(range(size)) == list(found)
    sealed = {row["record"] for row in stored(trail, "action IS DISTINCT FROM 'late'")}
    exported = {record.decode() for records in found.values() for record in records}
    assert sealed > exported > {row["record"] for row in stored(trail, "kind = 'exchange'")}
    assert f"{sum(map(len, found.values()))} rows in {size} batches" in said(answer)
    assert "newer rows are not sealed yet" in said(answer)


def test_an_export_is_accepted_without_the_database(trail, folder):
    """The command that verifies a database verifies the file, and finds a row that was changed."""
    (folder / "audit.pub").write_text("\n".join(map(str, KEYS.public)))
    export(trail, "--format", "native")
    verify = ["verify", "--export", "out", "--public-key", "audit.pub"]
    intact = CliRunner().invoke(app, verify)
    raw = (folder / "out").read_bytes()
    *lines, footer = raw.replace(b"n3-7", b"n3-8", 1).splitlines(keepends=True)
    changed = json.loads(footer) | {"sha256": sha256(b"".join(lines)).hexdigest()}
    (folder / "out").write_bytes(b"".join(lines) + json.dumps(changed).encode() + b"\n")
    tampered = CliRunner().invoke(app, verify)
    (folder / "out").write_bytes(raw[:-400])
    cut = CliRunner().invoke(app, verify)

    assert 0 == intact.exit_code, intact.output
    assert 1 == tampered.exit_code, tampered.output
    assert 2 == cut.exit_code, cut.output


def test_a_window_is_a_run_of_the_log_without_a_gap(trail, folder):
    """Whole batches, so that a row of the window cannot have been left out."""
    middle = [row for row in stored(trail) if row["action"] in {"n2-0", "n3-15"}]
    since, until = sorted(row["at"] for row in middle)
    window = (
        "--since",
        since.isoformat(),
        "--until",
        (until + timedelta(microseconds=1)).isoformat(),
    )
    answer = export(trail, "--format", "native", *window)
    header, found = verified((folder / "out").read_bytes())
    size = execute(trail.auditor_url, "SELECT count(*) FROM audit_tree")[0][0]
    positions = list(found)

    assert 0 == answer.exit_code, answer.stderr
    assert (since, until) == (header.since, header.until - timedelta(microseconds=1))
    assert list(range(positions[0], positions[-1] + 1)) == positions
    assert len(positions) < size
    inside = {row["record"] for row in stored(trail) if since <= row["at"] <= until}
    assert inside <= {record.decode() for records in found.values() for record in records}
    assert "not sealed" not in said(answer)


def test_a_window_around_everything_is_everything(trail, folder):
    """Another way to find the rows, and the same rows."""
    found = []
    for window in ((), ("--since", "2020-01-01")):
        export(trail, "--format", "native", *window)
        found.append(list(verified((folder / "out").read_bytes())[1].items()))

    assert found[0] == found[1]


def test_a_window_without_rows_is_an_export_of_none(trail, folder):
    """An empty answer is an answer, signed like any other."""
    answer = export(trail, "--format", "native", "--until", "2020-01-01")

    assert 0 == answer.exit_code, answer.stderr
    assert {} == verified((folder / "out").read_bytes())[1]


def test_csv_has_the_rows_of_the_table(trail, folder):
    """The columns as they are stored, newest first, and what was filtered for."""
    answer = export(trail, "--format", "csv", "--outcome", "issued")
    rows = list(csv.DictReader(io.StringIO((folder / "out").read_bytes().decode(), newline="")))
    expected = stored(trail, "outcome = 'issued'")

    assert 0 == answer.exit_code, answer.stderr
    assert [str(row["id"]) for row in expected] == [row["id"] for row in rows]
    assert [row["record"] for row in expected] == [row["record"] for row in rows]
    assert [row["subject"] for row in expected] == [row["subject"] for row in rows]
    assert [row["leaf"].hex() for row in expected] == [row["leaf"] for row in rows]
    assert "6 rows" in said(answer)


def test_parquet_is_typed(trail, folder):
    """A query engine finds times, numbers and lists, not text."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="not run: pyarrow is not here")
    answer = export(trail, "--format", "parquet", "--kind", "exchange")
    table = parquet.read_table(folder / "out")
    expected = stored(trail, "kind = 'exchange'")

    assert 0 == answer.exit_code, answer.stderr
    assert (
        "zstd"
        == parquet.ParquetFile(folder / "out").metadata.row_group(0).column(0).compression.lower()
    )
    assert [row["at"] for row in expected] == table["at"].to_pylist()
    assert [row["seq"] for row in expected] == table["seq"].to_pylist()
    assert [list(row["actors"]) for row in expected] == table["actors"].to_pylist()
    assert [row["leaf"] for row in expected] == table["leaf"].to_pylist()
    assert [str(row["id"]) for row in expected] == table["id"].to_pylist()


@pytest.mark.parametrize("integrity", [False, True], ids=["released", "record-integrity"])
def test_ocsf_is_an_event_a_line(trail, folder, integrity):
    """Every row of whatever kind; the unit test holds them against the schema."""
    answer = export(trail, "--format", "ocsf", *(("--record-integrity",) if integrity else ()))
    events = [json.loads(line) for line in (folder / "out").read_bytes().splitlines()]
    expected = stored(trail)

    assert 0 == answer.exit_code, answer.stderr
    assert [str(row["id"]) for row in expected] == [one["metadata"]["uid"] for one in events]
    assert {3002, 6002, 6003} == {one["class_uid"] for one in events}
    if integrity:
        places = {
            (row["writer"], row["number"]): row["position"]
            for row in execute(trail.auditor_url, "SELECT * FROM audit_tree")
        }
        for row, one in zip(expected, events, strict=True):
            attestation, log = one["attestation_list"][0], one["unmapped"]["log"]
            sealed = (row["writer"], log["batch"]) in places
            assert row["leaf"].hex() == attestation["fingerprint"]["value"]
            assert places.get((row["writer"], log["batch"])) == log.get("position")
            assert (ORIGIN if sealed else None) == attestation.get("authority_uid")
            assert (len(places) if sealed else None) == log.get("size")


@pytest.mark.parametrize("output", ["native", "csv", "ocsf"])
def test_standard_output_has_the_same_and_nothing_else(trail, output):
    """A pipe gets the file; what is said goes to standard error."""
    answer = export(trail, "--format", output, "--until", "2020-01-01", out="-")

    assert 0 == answer.exit_code, answer.stderr
    assert "rows" in answer.stderr
    assert {"native": 2, "csv": 1, "ocsf": 0}[output] == answer.stdout.count("\n")


def test_only_the_owner_reads_an_export(trail, folder):
    """It may name persons."""
    export(trail, "--format", "csv")

    assert 0o600 == (folder / "out").stat().st_mode & 0o777
    assert ["out"] == files(folder)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(
            ("native", "--client", "a"), "--client: --format native", id="native-filtered"
        ),
        pytest.param(("csv", "--record-integrity"), "profile of --format ocsf", id="csv-integrity"),
        pytest.param(
            ("csv", "--since", "2026-02-01", "--until", "2026-01-01"),
            "--until: write a time after",
            id="backwards",
        ),
        pytest.param(("csv", "--since", "yesterday"), "--since: write", id="no-time"),
        pytest.param(("csv", "--jti", "1"), "--jti", id="no-jti"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(trail, folder, arguments, text):
    """Exit code 2, the option by its name, and no file."""
    answer = export(trail, "--format", *arguments)

    assert (2, "") == (answer.exit_code, answer.stdout)
    assert text in said(answer)
    assert [] == files(folder)


@pytest.mark.parametrize(
    ("out", "text"),
    [
        pytest.param("nowhere/out", "no file in a folder", id="no-folder"),
        pytest.param(".", "no file in a folder", id="a-folder"),
        pytest.param("/dev/full/out", "no file in a folder", id="a-device"),
    ],
)
def test_a_place_that_is_none_is_named(trail, folder, out, text):
    """Before an hour was spent on reading."""
    answer = export(trail, "--format", "csv", out=out)

    assert 2 == answer.exit_code
    assert text in said(answer)


@pytest.mark.parametrize("output", ["csv", "native"])
def test_a_full_disk_is_not_taken_for_a_lost_database(trail, output):
    """Standard output stands in for it: ``/dev/full`` takes no byte."""
    command = [sys.executable, "-m", "broker.cli", "audit", "export", "--format", output]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*command, "--out", "-", "--database-url", trail.auditor_url],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )

    assert 2 == done.returncode, done.stderr
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_cannot_grow_leaves_nothing_half_written(trail, folder):
    """As on a disk that is full after the first rows: no part of it keeps the name of the whole."""
    (folder / "out").write_text("the export of yesterday")
    command = f"{sys.executable} -m broker.cli audit export --format native --out out"
    done = subprocess.run(
        ["bash", "-c", f'ulimit -f 8; exec {command} --database-url "$0"', trail.auditor_url],
        check=False,
        capture_output=True,
        text=True,
    )

    assert 2 == done.returncode, done.stderr
    assert "out cannot be written (File too large)" in " ".join(done.stderr.split())
    assert ["out"] == files(folder)
    assert "the export of yesterday" == (folder / "out").read_text()


def test_whoever_stops_reading_ends_it_in_a_line(trail):
    """``| head -1`` is no failure that needs a traceback."""
    command = f"{sys.executable} -m broker.cli audit export --format csv --out -"
    done = subprocess.run(
        [
            "bash",
            "-c",
            f'{command} --database-url "$0" | true; exit "${{PIPESTATUS[0]}}"',
            trail.auditor_url,
        ],
        check=False,
        capture_output=True,
        text=True,
    )

    assert 2 == done.returncode, done.stderr
    assert "stopped before the end" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        pytest.param("DELETE FROM audit_checkpoint", "nothing is sealed", id="unsealed"),
        pytest.param("DELETE FROM audit_batch WHERE number = 3", "no batch", id="batch-gone"),
        pytest.param("DELETE FROM audit_tree WHERE position = 4", "incomplete", id="tree-hole"),
        pytest.param("UPDATE audit_checkpoint SET note = 'x'", "no checkpoint", id="no-note"),
        pytest.param("DROP TABLE audit_tree", "cannot be asked", id="half-migrated"),
    ],
)
def test_a_log_with_a_hole_gives_no_native_export(trail, postgres, folder, statement, text):
    """Exit code 2 and no file: what is in it could not be proven."""
    with one_more(postgres, trail.name) as copy:
        tables = ("audit_batch", "audit_tree", "audit_checkpoint")
        unlock = [f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in tables]
        execute(copy.superuser_url, *unlock, statement)
        answer = export(copy, "--format", "native")

    assert 2 == answer.exit_code, said(answer)
    assert text in said(answer)
    assert [] == files(folder)


def test_a_changed_row_is_exported_as_it_stands(trail, postgres, folder):
    """Evidence is kept: whoever verifies the export finds the row."""
    change = "UPDATE audit_event SET record = E'{\\n' WHERE action = 'n3-7'"
    with one_more(postgres, trail.name) as copy:
        execute(copy.superuser_url, "ALTER TABLE audit_event DISABLE TRIGGER ALL", change)
        execute(copy.superuser_url, "DELETE FROM audit_event WHERE action = 'n3-9'")
        answer = export(copy, "--format", "native")
        refused = export(copy, "--format", "ocsf", out="ocsf")
    lines = list(read_native(io.BytesIO((folder / "out").read_bytes())))
    short = [
        line
        for line in lines
        if isinstance(line, ExportedBatch)
        and line.rows == line.batch.last_seq - line.batch.first_seq
    ]

    assert 0 == answer.exit_code, answer.stderr
    assert [b"{\n"] == [
        line.record for line in lines if isinstance(line, ExportedRow) and b"\n" in line.record
    ]
    assert 1 == len(short)
    assert 2 == refused.exit_code
    assert "a record that nobody wrote" in said(refused)
    assert ["out"] == files(folder)


def test_a_long_export_is_the_same_as_many_short_ones(trail, folder, monkeypatch):
    """Rows are read by the chunk, for a bounded number of writers: no seam shows."""
    export(trail, "--format", "native")
    whole = (folder / "out").read_bytes().split(b"\n")[1:-2]
    for name, value in (("_CHUNK", 3), ("_WRITERS", 1), ("_TOGETHER", 2)):
        monkeypatch.setattr(f"broker.audit.export.window.{name}", value)
    export(trail, "--format", "native")

    assert whole == (folder / "out").read_bytes().split(b"\n")[1:-2]
