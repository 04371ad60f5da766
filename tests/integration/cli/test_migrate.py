"""``broker migrate``: as an operator and a deployment run it."""

import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from broker.cli import build_app
from broker.db.embedded import EmbeddedPostgres
from tests.configuration import AUDIT_KEYS
from tests.fixtures.postgres import execute


def run(*arguments: str):
    return CliRunner().invoke(build_app({"migrate"}), ["migrate", *arguments])


@pytest.fixture
def configure(tmp_path):
    """Write a configuration with this section ``database``."""

    def write(**database: str) -> str:
        path = tmp_path / "broker.yaml"
        document = {
            "issuer": "http://localhost:8080",
            "database": database,
            "keys": {"kek_file": "kek"},
            "audit": AUDIT_KEYS,
        }
        path.write_text(yaml.safe_dump(document))
        return str(path)

    return write


def test_it_says_what_is_missing_then_does_it_then_has_nothing_to_do(empty, configure):
    """``--check`` before and after, and twice is once."""
    config = configure(url=empty.app_url, owner_url=empty.owner_url)
    steps = [
        run("--config", config, "--check"),
        run("--config", config),
        run("--config", config, "--check"),
        run("--config", config),
    ]

    assert [1, 0, 0, 0] == [step.exit_code for step in steps]
    assert "0001 is not applied" in steps[0].stdout
    assert "applied 0001" in steps[1].stdout
    assert "All 2 are well." in steps[2].stdout
    assert "applied" not in steps[3].stdout
    assert "partitions for the next 90 days" in steps[3].stdout


def test_days_that_run_out_are_to_be_made(fresh, configure):
    """The same exit code as a migration that is missing: the remedy is the same."""
    names = execute(
        fresh.owner_url,
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits"
        " WHERE inhparent = 'audit_event'::regclass AND inhrelid::regclass::text ~ 'p[0-9]{8}$'"
        " ORDER BY 1",
    )
    execute(fresh.owner_url, *(f"DROP TABLE {row['name']}" for row in names[5:]))
    result = run("--config", configure(url=fresh.owner_url), "--check")

    assert 1 == result.exit_code
    assert "they last for 3 more days" in result.stdout


def test_the_broker_s_own_role_is_told_whom_to_connect_as(empty, configure):
    """Exit code 2, a line and no traceback."""
    result = run("--config", configure(url=empty.app_url))

    assert 2 == result.exit_code
    assert "set database.owner_url" in result.stderr
    assert "Traceback" not in result.output


def test_a_database_that_is_away_is_told_without_its_url(configure, tmp_path):
    """It holds a password."""
    url = f"postgresql://broker_owner:hunter2@/broker?host={tmp_path}"
    results = [run("--config", configure(url=url), *more) for more in ((), ("--check",))]

    assert [2, 2] == [result.exit_code for result in results]
    assert all("cannot be reached" in result.stderr for result in results)
    assert not any("hunter2" in result.output for result in results)


def test_an_embedded_database_is_started_for_it(tmp_path):
    """By the real command: it makes the cluster, migrates, and leaves nothing running."""
    (tmp_path / "broker.yaml").write_text("issuer: http://localhost:8080\n")
    command = [sys.executable, "-m", "broker.cli", "migrate", "--config", "broker.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    assert "applied 0001" in done.stdout
    assert not EmbeddedPostgres(tmp_path / ".broker").running
