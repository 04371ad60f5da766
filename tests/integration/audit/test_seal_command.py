"""``broker audit seal`` and ``public-key`` as users run them: what is printed, and exit codes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from broker.audit.checkpoint import verify_checkpoint
from broker.audit.note import parse_vkeys
from broker.cli.audit import app
from broker.db.migrate import downgrade, migrate
from broker.errors import ConfigurationError
from tests.fixtures.postgres import OneDatabase
from tests.sealing import go_back, sizes_in, write_rows
from tests.server import write_configuration


def audit(config: Path, *arguments: str) -> Result:
    """Run the command, in a thread of its own: a test may have a loop."""
    with ThreadPoolExecutor(1) as thread:
        command = [*arguments, "--config", str(config)]
        return thread.submit(CliRunner().invoke, app, command, env={"COLUMNS": "100"}).result()


@pytest.fixture
def config(base: OneDatabase, tmp_path: Path) -> Path:
    return write_configuration(
        tmp_path, base.app_url, audit={"checkpoints": {"key_file": "checkpoint.key", "file": "c"}}
    )


async def test_what_it_prints_verifies_with_the_public_keys(log, config, tmp_path):
    """Issue: a checkpoint now, on standard output, for whoever has the two lines of the keys."""
    keys = parse_vkeys(audit(config, "public-key").stdout)
    await write_rows(log)

    answer = audit(config, "seal")

    assert 0 == answer.exit_code, answer.stderr
    assert 12 == verify_checkpoint(answer.stdout, keys, "broker.test/audit").size
    assert "✓ 3 batches sealed; the log has 12\n✓ brought to file\n" == answer.stderr
    assert [3, 6, 9, 12] == sizes_in(tmp_path / "c")


async def test_a_restored_backup_is_not_sealed_on_by_hand_either(log, config, base, tmp_path):
    """Issue: exit code 1, by the file that is ahead; nothing is sealed and nothing is written."""
    assert 0 == audit(config, "seal").exit_code
    go_back(base, 3)
    await write_rows(log)
    before = (tmp_path / "c").read_bytes()

    answer = audit(config, "seal")

    assert 1 == answer.exit_code
    assert "" == answer.stdout
    assert "has a checkpoint of size 9, and the database only 3" in " ".join(answer.stderr.split())
    assert before == (tmp_path / "c").read_bytes()


def test_a_checkpoint_that_could_not_be_brought_out_is_told(log, config, tmp_path):
    """Ours: exit code 2, for a script; the checkpoint itself is there."""
    (tmp_path / "c").mkdir()

    answer = audit(config, "seal")

    assert 2 == answer.exit_code
    assert answer.stdout.startswith("broker.test/audit\n9\n")
    assert "Is a directory" in " ".join(answer.stderr.split())


def test_nothing_is_sealed_where_nothing_is(config, base):
    """Ours: exit code 0, and it says so."""
    answer = audit(config, "seal")

    assert (0, "", "• there is nothing to seal yet\n") == (
        answer.exit_code,
        answer.stdout,
        answer.stderr,
    )


def test_a_database_of_yesterday_is_told_to_be_migrated(config, base):
    """Issue: a database in the middle of a migration: exit code 2, and what to run."""
    downgrade(base.owner_url, "0004")
    try:
        answer = audit(config, "seal")
    finally:
        migrate(base.owner_url)

    assert isinstance(answer.exception, ConfigurationError)  # which ends with 2
    assert "run: broker migrate" in str(answer.exception)


def test_a_database_that_is_not_there_is_told(tmp_path):
    """Ours: exit code 2 in a line, without its address."""
    url = "postgresql://broker_app:a-password@127.0.0.1:1/nowhere"

    answer = audit(write_configuration(tmp_path, url), "seal")

    assert 2 == answer.exit_code
    assert "a-password" not in answer.stderr
    assert 3 > len(answer.stderr.splitlines())


def test_a_wrong_name_of_a_log_is_told(config):
    """Ours: it is the first line of a checkpoint, and no address."""
    answer = audit(config, "public-key", "--origin", "two words")

    assert (2, "") == (answer.exit_code, answer.stdout)
    assert "--origin: write the first line of a checkpoint" in answer.stderr
