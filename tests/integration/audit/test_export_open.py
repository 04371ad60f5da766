"""Exports and persons: pseudonyms for everybody, names for whoever holds the audit key."""

import asyncio
import base64
import csv
import io
import json

import pytest
from pyarrow import parquet
from typer.testing import CliRunner

from broker.audit.outcome import build_issued
from broker.cli.audit import app
from broker.db.engine import Database
from tests.audit import VAULT, attempt, evaluation, running, signed_token
from tests.builders import BROKER, IDP
from tests.fixtures.postgres import execute, one_more
from tests.sealing import seal_now

NAME = "alice"  # the subject of the tests' exchanges


async def write(url):
    database = Database(url)
    async with running(database) as writer:
        for vault in (None, VAULT):  # version 1, and version 2
            made = attempt(evaluation=evaluation())
            await writer.append(build_issued(made, signed_token(made), issuer=BROKER, vault=vault))
    await seal_now(database)
    await database.aclose()


@pytest.fixture(scope="module")
def trail(postgres, template):
    """The same exchange twice: recorded by an earlier version, and by this one."""
    with one_more(postgres, template.name) as made:
        asyncio.run(write(made.app_url))
        yield made


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the audit key, and one with another."""
    for name, key in (("audit.key", b"a" * 32), ("other.key", b"b" * 32)):
        (tmp_path / name).write_text(base64.b64encode(key).decode())
        (tmp_path / name).chmod(0o600)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def export(database, *arguments):
    options = ("--kind", "exchange", "--out", "out", "--database-url", database.auditor_url)
    return CliRunner().invoke(app, ["export", "--format", *arguments, *options])


def rows(folder):
    """The exported rows by version of their record: the newer one is sealed."""
    read = csv.DictReader(io.StringIO((folder / "out").read_text(), newline=""))
    return {json.loads(row["record"])["version"]: row for row in read}


def test_without_the_key_persons_are_pseudonyms(trail, folder):
    """What an earlier version wrote in plain stays so; nothing else names anybody."""
    answer = export(trail, "csv")
    found = rows(folder)

    assert 0 == answer.exit_code, answer.output
    assert (NAME, IDP) == (found[1]["subject"], found[1]["subject_issuer"])
    assert (VAULT.pseudonym(NAME), IDP) == (found[2]["subject"], found[2]["subject_issuer"])
    assert NAME not in json.dumps(found[2])
    assert "personal" not in found[2]


def test_with_the_key_they_are_found_by_name(trail, folder):
    """The file has pseudonyms still: who may find is not always who may show."""
    codes = [
        export(trail, "csv", "--subject", NAME, "--key-file", "audit.key").exit_code,
        len(rows(folder)),
        export(trail, "csv", "--subject", NAME).exit_code,
        len(rows(folder)),
    ]

    assert [0, 2, 0, 1] == codes


def test_opened_csv_has_names_and_the_record_as_it_was_hashed(trail, folder):
    """The columns in plain, what else is personal beside them, and a record that has its leaf."""
    answer = export(trail, "csv", "--open", "--key-file", "audit.key")
    found = rows(folder)
    stored = execute(trail.auditor_url, "SELECT record FROM audit_event WHERE kind = 'exchange'")

    assert 0 == answer.exit_code, answer.output
    assert found[1]["subject"] == found[2]["subject"] == NAME
    assert found[1]["actors"] == found[2]["actors"]
    assert json.loads(found[1]["personal"]) == json.loads(found[2]["personal"])
    assert {row["record"] for row in stored} == {row["record"] for row in found.values()}


def test_opened_parquet_and_ocsf_have_names_too(trail, folder):
    """The same in each format for reading."""
    options = ("--open", "--key-file", "audit.key")
    export(trail, "parquet", *options)
    table = parquet.read_table(folder / "out")
    export(trail, "ocsf", *options)
    events = [json.loads(line) for line in (folder / "out").read_text().splitlines()]

    assert [NAME, NAME] == table["subject"].to_pylist()
    assert [NAME, NAME] == [event["user"]["uid"] for event in events]
    assert events[0]["src_endpoint"] == events[1]["src_endpoint"]


def test_sealed_ocsf_has_a_pseudonym_where_the_user_is(trail, folder):
    """A SIEM counts by person and learns no name."""
    export(trail, "ocsf")
    newest, _ = [json.loads(line) for line in (folder / "out").read_text().splitlines()]

    assert VAULT.pseudonym(NAME) == newest["user"]["uid"]
    assert NAME not in json.dumps(newest)
    assert "src_endpoint" not in newest


def test_what_was_erased_stays_so(trail, postgres, folder):
    """No key of the auditor's opens what nobody can open; the export goes on."""
    with one_more(postgres, trail.name) as copy:
        execute(copy.superuser_url, "DELETE FROM audit_person_key")
        answer = export(copy, "csv", "--open", "--key-file", "audit.key")
    found = rows(folder)

    assert 0 == answer.exit_code, answer.output
    assert VAULT.pseudonym(NAME) == found[2]["subject"]
    assert {"erased": True} == json.loads(found[2]["personal"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        pytest.param(("csv", "--open"), "takes the audit key", id="no-key"),
        pytest.param(("csv", "--open", "--key-file", "other.key"), "does not open", id="wrong-key"),
        pytest.param(
            ("csv", "--subject", NAME, "--key-file", "other.key"), "does not open", id="a-name"
        ),
        pytest.param(
            ("native", "--open", "--key-file", "audit.key"), "--open: --format", id="native"
        ),
    ],
)
def test_what_cannot_be_opened_is_said_and_leaves_no_file(trail, folder, arguments, text):
    """Exit code 2, and what to name instead."""
    answer = CliRunner().invoke(
        app,
        ["export", "--format", *arguments, "--out", "out", "--database-url", trail.auditor_url],
    )

    assert 2 == answer.exit_code
    assert text in " ".join(answer.stderr.split())
    assert ["audit.key", "other.key"] == sorted(path.name for path in folder.iterdir())
