"""Questions that are saved: what is asked by their names, and what becomes of their file."""

import json
import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from broker.cli.audit import app, saved


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where it is saved."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "110")
    return tmp_path / "token-exchange-broker"


@pytest.fixture
def run(folder, migrated):
    """Runs ``broker audit …``; queries are of a trail without rows."""

    def audit(command: str, *arguments: str):
        where = ("--database-url", migrated.auditor_url) if command == "query" else ()
        return CliRunner().invoke(app, [command, *arguments, *where])

    return audit


def listed(run) -> list[dict[str, str]]:
    return json.loads(run("filters", "--format", "json").stdout)


def test_what_is_saved_is_what_was_written(run):
    """A day ago stays a day ago, in the zone that was named."""
    asked = ("--since", "24h", "--outcome", "refused", "--timezone", "Europe/Berlin")
    answer = run("query", *asked, "--save", "refusals")

    assert 0 == answer.exit_code, answer.output
    assert [
        {"name": "refusals", "since": "24h", "outcome": "refused", "tz": "Europe/Berlin"}
    ] == listed(run)


def test_what_is_said_besides_goes_before_it(run):
    """So that one question serves for several clients; the saved one stays as it is."""
    run("query", "--client", "a", "--outcome", "refused", "--save", "one")
    run("query", "--saved", "one", "--client", "b", "--save", "two")

    assert [
        {"name": "one", "client": "a", "outcome": "refused"},
        {"name": "two", "client": "b", "outcome": "refused"},
    ] == listed(run)


def test_a_deleted_one_is_gone(run):
    """And only that one."""
    for name in ("one", "two"):
        run("query", "--save", name)
    answer = run("filters", "--delete", "one")

    assert 0 == answer.exit_code
    assert [{"name": "two"}] == listed(run)


def test_a_table_writes_the_options(run):
    """As they would be said."""
    run("query", "--subject-issuer", "https://idp.test", "--save", "ours")

    assert "ours  --subject-issuer https://idp.test\n" == run("filters").stdout


def test_the_file_is_for_nobody_else(run, folder):
    """It may name persons; one that others may read is not read."""
    run("query", "--subject", "alice", "--save", "alice")
    path = folder / "filters.json"
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(0o640)
    answer = run("query", "--saved", "alice")

    assert 0o600 == mode
    assert (2, "") == (answer.exit_code, answer.stdout)
    assert "chmod 600" in answer.stderr


def test_one_whose_time_has_passed_keeps_nobody_from_the_others(run):
    """What a question means is found when it is asked."""
    soon = datetime.now(UTC) + timedelta(days=1)
    run("query", "--since", "24h", "--until", f"{soon:%Y-%m-%d}", "--save", "passed")
    run("query", "--save", "other")
    passed = {"since": "24h", "until": "2020-01-01"}
    saved.save("passed", passed)

    assert 0 == run("query", "--saved", "other").exit_code
    assert 2 == run("query", "--saved", "passed").exit_code
    assert 0 == run("query", "--saved", "passed", "--since", "2019-12-31").exit_code


def test_of_many_that_save_at_once_nothing_is_lost(folder):
    """Each waits for the one before, and keeps what it wrote."""
    threads = [
        threading.Thread(target=saved.save, args=(f"n{number}", {"client": "a"}))
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {f"n{number}" for number in range(20)} == saved.load_saved().keys()
    assert {"filters.json", "filters.lock"} == {path.name for path in folder.iterdir()}


def test_there_are_never_more_than_a_hundred(run):
    """It says how to make room, and the file stays as it was."""
    for number in range(100):
        saved.save(f"n{number}", {})
    answer = run("query", "--save", "one-more")

    assert (2, "") == (answer.exit_code, answer.stdout)
    assert "delete one" in answer.stderr
    assert 100 == len(listed(run))


@pytest.mark.parametrize("name", ["", "../up", "A", "a b", "a\n", "a" * 65, ".hidden", "-x"])
def test_a_name_is_a_plain_word(run, folder, name):
    """It is told before anything is asked."""
    answer = run("query", f"--save={name}")

    assert (2, "") == (answer.exit_code, answer.stdout)
    assert not (folder / "filters.json").exists()


def test_what_was_never_saved_is_told(run):
    """And where to see what was."""
    assert "broker audit filters" in run("query", "--saved", "nothing").stderr
    assert 2 == run("filters", "--delete", "nothing").exit_code


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("{", id="cut"),
        pytest.param("[]", id="list"),
        pytest.param('{"version": 2, "filters": {}}', id="version"),
        pytest.param('{"version": 1, "filters": {}, "more": 1}', id="member"),
        pytest.param('{"version": 1, "filters": []}', id="filters"),
        pytest.param('{"version": 1, "filters": {"../a": {}}}', id="name"),
        pytest.param('{"version": 1, "filters": {"a": {"limit": "1"}}}', id="field"),
        pytest.param('{"version": 1, "filters": {"a": {"client": 1}}}', id="number"),
        pytest.param('{"version": 1, "filters": {"a": {"client": "\\u0000"}}}', id="nul"),
        pytest.param('{"version": 1, "filters": {"a": "client"}}', id="text"),
        pytest.param(" " * (1024 * 1024 + 1), id="oversized"),
    ],
)
def test_a_file_that_was_never_saved_is_not_guessed_at(run, folder, text):
    """Nor written over: somebody may want to mend it."""
    folder.mkdir()
    path = folder / "filters.json"
    path.write_text(text)
    path.chmod(0o600)
    answers = [run("filters"), run("query", "--saved", "a"), run("query", "--save", "a")]

    assert [(2, "")] * 3 == [(answer.exit_code, answer.stdout) for answer in answers]
    assert text == path.read_text()
