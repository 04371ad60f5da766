"""``broker audit retain`` as operators run it: exit codes, words, files."""

import asyncio
import json
from datetime import UTC, datetime

import pytest
import yaml
from typer.testing import CliRunner

from broker.audit.checkpoint import Checkpoint, sign_checkpoint
from broker.audit.export.native import ExportedRow, read_native
from broker.cli.audit import app
from tests.audit import open_records
from tests.fixtures.postgres import execute, one_more
from tests.retaining import FIRST, ROWS, SECOND, TABLES, days_left, write_days
from tests.sealing import KEYS
from tests.server import write_configuration


@pytest.fixture(scope="module")
def written(postgres, template):
    """The two old days, to copy; nobody is connected to it."""
    with one_more(postgres, template.name) as made:
        asyncio.run(write_days(made))
        yield made


@pytest.fixture(scope="module")
def unchanged(postgres, written):
    """The two old days, for what changes nothing."""
    with one_more(postgres, written.name) as made:
        yield made


@pytest.fixture
def old(postgres, written):
    """The two old days in a database of the test's own."""
    with one_more(postgres, written.name) as made:
        yield made


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def config(old, folder):
    """A configuration that names the owner as well."""
    return configure(folder, old.app_url, owner_url=old.owner_url)


@pytest.fixture
def config_unchanged(unchanged, folder):
    """The same, for what changes nothing."""
    return configure(folder, unchanged.app_url, owner_url=unchanged.owner_url)


def configure(folder, url, **database):
    return write_configuration(folder, url, database={"url": url} | database)


def retain(config, *arguments, older_than="400d"):
    return CliRunner().invoke(
        app,
        ["retain", "--older-than", older_than, "--config", str(config), *arguments],
        env={"COLUMNS": "110"},
    )


def test_old_days_are_shown_before_they_go(unchanged, config_unchanged):
    """--dry-run: which days, how many rows and bytes, from when to when; nothing is changed."""
    answer = retain(config_unchanged, "--dry-run")

    assert 0 == answer.exit_code, answer.stderr
    assert f"{FIRST}" in answer.stdout
    assert "23:59:00" in answer.stdout
    assert [FIRST, SECOND] == days_left(unchanged)
    assert not (config_unchanged.parent / "audit-retained").exists()


def test_a_program_reads_the_same(config_unchanged):
    """--format json: one document, also when nothing was removed."""
    document = json.loads(retain(config_unchanged, "--dry-run", "--format", "json").stdout)

    assert [(str(day), ROWS[day], False) for day in TABLES] == [
        (one["day"], one["rows"], one["removed"]) for one in document["partitions"]
    ]
    assert 0 == document["unprepared_rows"]


def test_what_is_removed_is_in_files_that_only_their_owner_reads(old, config):
    """400 days later: gone from the database, kept in a folder, told by name."""
    answer = retain(config, "--yes", "--export-to", "kept", "--format", "json")
    folder = config.parent / "kept"
    document = json.loads(answer.stdout or "{}")

    assert 0 == answer.exit_code, answer.stderr
    assert [] == days_left(old)
    assert [f"kept/audit-{day}.jsonl" for day in TABLES] == [
        one["file"] for one in document["partitions"]
    ]
    assert {0o600} == {file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert 0o700 == folder.stat().st_mode & 0o777
    assert "2025-01-01 dropped" in answer.stderr


def test_nothing_to_do_is_done(config_unchanged):
    """For a timer: no day is that old, so it ends well and asks nothing."""
    answer = retain(config_unchanged, older_than="4000d")

    assert (0, "No day's partition is that old.\n") == (answer.exit_code, answer.stdout)


def test_rows_of_unprepared_days_stay_and_are_told(old, config):
    """The default partition holds many days: none of them can be dropped as a whole."""
    execute(
        old.superuser_url,
        "INSERT INTO audit_event SELECT (json_populate_record(x,"
        ' \'{"at": "2024-01-01"}\')).* FROM audit_event AS x WHERE seq = 5',
    )
    answer = retain(config, "--dry-run")

    assert 0 == answer.exit_code
    assert "rows as old are in the default partition" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("--older-than", "nonsense"), "write a duration like 400d", id="no-duration"),
        pytest.param(("--older-than", "1d"), "younger than 2d is still in use", id="too-young"),
        pytest.param((), "--yes: add it to remove them", id="not-confirmed"),
        pytest.param(("--yes", "--export-to", "broker.yaml"), "--export-to", id="no-folder"),
    ],
)
def test_what_cannot_be_done_is_told_with_what_to_write(
    unchanged, config_unchanged, arguments, said
):
    """Exit code 2, one line, nothing changed."""
    answer = retain(config_unchanged, *arguments)

    assert 2 == answer.exit_code, answer.stdout
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr
    assert [FIRST, SECOND] == days_left(unchanged)


def test_without_the_owner_it_says_which_setting_is_missing(unchanged, folder):
    """The broker's own role cannot drop what it has recorded."""
    answer = retain(configure(folder, unchanged.app_url), "--yes")

    assert 2 == answer.exit_code
    assert "database.owner_url: broker_app may not drop partitions" in answer.stderr


def test_a_day_that_was_tampered_with_is_refused(old, config):
    """Exit code 1, and which row it is."""
    execute(
        old.superuser_url,
        f"ALTER TABLE {TABLES[FIRST]} DISABLE TRIGGER ALL",
        f"UPDATE {TABLES[FIRST]} SET record = record || ' ' WHERE seq = 7",
    )
    answer = retain(config, "--yes")

    assert 1 == answer.exit_code, answer.stdout
    assert "row 7 of writer" in answer.stderr
    assert [FIRST, SECOND] == days_left(old)


def test_a_file_that_is_there_already_is_never_replaced(old, config):
    """It may be the only copy of another trail's day."""
    folder = config.parent / "kept"
    folder.mkdir()
    (folder / f"audit-{FIRST}.jsonl").write_text("somebody's\n")
    answer = retain(config, "--yes", "--export-to", "kept")

    assert 2 == answer.exit_code, answer.stderr
    assert "move it away" in answer.stderr
    assert "somebody's\n" == (folder / f"audit-{FIRST}.jsonl").read_text()
    assert [FIRST, SECOND] == days_left(old)


def test_a_log_that_is_contradicted_outside_is_not_built_upon(old, folder):
    """Exit code 1: the database is an older copy, or somebody's; nothing goes from it."""
    head = Checkpoint(KEYS.name, 999, bytes(32))
    note = sign_checkpoint(head, KEYS, datetime.now(UTC))
    (folder / "checkpoints").write_text(f"{note}\n")
    config = configure(folder, old.app_url, owner_url=old.owner_url)
    document = yaml.safe_load(config.read_text())
    document["audit"]["checkpoints"]["file"] = "checkpoints"
    config.write_text(yaml.safe_dump(document))
    answer = retain(config, "--yes")

    assert 1 == answer.exit_code, answer.output
    assert "has a checkpoint of size 999" in answer.stderr
    assert [FIRST, SECOND] == days_left(old)
    assert not tombstones(old)


def tombstones(made):
    return execute(made.owner_url, "SELECT 1 FROM audit_event WHERE action = 'audit.retain'")


def age_keys(made):
    """Let the keys of persons be as old as the rows; one of today is added."""
    execute(
        made.superuser_url,
        "UPDATE audit_person_key SET at = '2025-01-02'",
        "INSERT INTO audit_person_key (id, issuer, person, wrapped, at)"
        " VALUES (decode(repeat('00', 16), 'hex'), 'i', 'p', 'w', now())",
    )
    return execute(made.app_url, "SELECT count(*) FROM audit_person_key")[0]["count"] - 1


def keys_left(made):
    return [row["person"] for row in execute(made.app_url, "SELECT person FROM audit_person_key")]


def test_keys_of_persons_stay_with_the_files(old, config):
    """Whoever has to read them one day can."""
    count = age_keys(old)

    assert 0 == retain(config, "--yes").exit_code
    assert count > 0
    assert count < len(keys_left(old))


def test_persons_of_whom_no_row_is_left_are_forgotten_if_that_is_asked(old, config):
    """On record, and no key goes that a row which stays may need."""
    count = age_keys(old)

    looked = json.loads(retain(config, "--dry-run", "--forget-persons", "--format", "json").stdout)
    answer = retain(config, "--yes", "--forget-persons", "--format", "json")

    assert 0 == answer.exit_code, answer.stderr
    assert {"forgettable": count, "destroyed": 0} == looked["person_keys"]
    assert {"forgettable": count, "destroyed": count} == json.loads(answer.stdout)["person_keys"]
    (row,) = execute(old.app_url, "SELECT record FROM audit_event WHERE action = 'audit.forget'")
    assert count == json.loads(row["record"])["details"]["keys"]
    # Those of whoever ran this are new, like the one of today.
    assert "p" in keys_left(old)
    assert (
        0
        == execute(old.app_url, "SELECT count(*) FROM audit_person_key WHERE at < '2025-02-01'")[0][
            "count"
        ]
    )


def personal_in(file, made):
    """What is personal in the records of a file, for whoever has the audit key."""
    with file.open("rb") as lines:
        rows = [one for one in read_native(lines) if isinstance(one, ExportedRow)]
    records = open_records(made.auditor_url, [row.record.decode() for row in rows])
    return [one["personal"] for one in records if "personal" in one]


def test_files_of_persons_who_are_forgotten_verify_and_name_nobody(old, config):
    """What is personal in them is gone as if each had been erased, and no hash has changed."""
    assert 0 == retain(config, "--yes").exit_code
    file = config.parent / "audit-retained" / f"audit-{FIRST}.jsonl"
    named = personal_in(file, old)
    age_keys(old)
    assert 0 == retain(config, "--yes", "--forget-persons").exit_code

    assert {"by": "somebody"} in named
    assert [{"erased": True}] * len(named) == personal_in(file, old)
    verified = CliRunner().invoke(app, ["verify", "--export", str(file)])
    assert 0 == verified.exit_code, verified.stdout


def test_nobody_is_forgotten_while_rows_of_unprepared_days_are_left(old, config):
    """They stay where they are, and may be of anybody."""
    execute(
        old.superuser_url,
        "INSERT INTO audit_event SELECT (json_populate_record(x,"
        ' \'{"at": "2024-01-01"}\')).* FROM audit_event AS x WHERE seq = 5',
    )
    age_keys(old)
    looked = json.loads(retain(config, "--dry-run", "--forget-persons", "--format", "json").stdout)

    assert 0 == looked["person_keys"]["forgettable"]
