"""``broker audit verify``, as an auditor runs it: keys, checkpoints, windows and exports."""

import asyncio
import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from broker.audit.checkpoint_key import derive_keys
from broker.cli.audit import app
from tests.audit import now
from tests.drills.trail import Written, write_trail
from tests.fixtures.postgres import execute, one_more
from tests.sealing import KEYS, ORIGIN

OTHER_LOG = derive_keys(b"c" * 32, "another.test/audit")


@pytest.fixture(scope="module")
def written():
    return Written()


@pytest.fixture(scope="module")
def trail(postgres, template, written):
    """Two writers, each under a checkpoint of its own."""
    with one_more(postgres, template.name) as made:
        for _ in range(2):
            asyncio.run(write_trail(made, written))
        yield made


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "audit.pub"
    path.write_text("".join(f"{key}\n" for key in KEYS.public))
    return path


@pytest.fixture
def kept(tmp_path, written):
    """The checkpoints as the file of ``audit.checkpoints.file`` has them."""
    path = tmp_path / "checkpoints.txt"
    path.write_text("".join(f"{note}\n" for note in written.notes))
    return path


def verify(*arguments):
    answer = CliRunner().invoke(app, ["verify", *map(str, arguments), "--format", "json"])
    found = json.loads(answer.stdout) if answer.stdout else None
    return answer.exit_code, found, answer.stderr


def test_with_key_and_checkpoints_everything_is_checked(trail, key, kept):
    """Nothing is left that the report would have to name as not checked."""
    code, found, _ = verify(
        *("--database-url", trail.auditor_url, "--public-key", key, "--checkpoints", kept)
    )

    assert (0, True, []) == (code, found["intact"], found["not_checked"])
    assert (2, 2) == (found["checkpoints"], found["outside"])
    assert found["batches"] == found["sealed"]


def test_a_folder_of_objects_is_as_good_as_a_file(trail, key, written, tmp_path):
    """As a bucket was copied: one object for each checkpoint."""
    folder = tmp_path / "objects" / "checkpoints"
    folder.mkdir(parents=True)
    for number, note in enumerate(written.notes):
        (folder / f"{number:020}").write_text(note)
    code, found, _ = verify(
        *("--database-url", trail.auditor_url, "--public-key", key),
        *("--checkpoints", tmp_path / "objects"),
    )

    assert (0, 2) == (code, found["outside"])


def test_without_them_the_report_says_what_would_not_show(trail):
    """An auditor must not take silence for an answer."""
    code, found, _ = verify("--database-url", trail.auditor_url)

    assert (0, True) == (code, found["intact"])
    assert ["signatures", "checkpoints from outside"] == [
        text.partition(" of ")[0].partition(":")[0] for text in found["not_checked"]
    ]


def test_a_window_reads_the_batches_in_it_and_the_whole_log(trail, key):
    """The rows outside are not read; that the log is whole is known all the same."""
    url = ("--database-url", trail.auditor_url, "--public-key", key)
    later = (now() + timedelta(days=1)).isoformat()
    _, whole, _ = verify(*url, "--from", "1h", "--to", later)
    code, nothing, _ = verify(*url, "--from", later)
    middle = execute(trail.owner_url, "SELECT at FROM audit_batch ORDER BY at OFFSET 3 LIMIT 1")
    _, some, _ = verify(*url, "--from", middle[0]["at"].isoformat())

    assert (14, 22) == (whole["batches"], whole["rows"])
    assert (0, 0, 0, 2) == (code, nothing["batches"], nothing["rows"], nothing["checkpoints"])
    assert 11 == some["batches"]
    assert some["intact"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("--from", "yesterday"), "--from: write 24h", id="no-time"),
        pytest.param(("--from", "1h", "--to", "2h"), "--to: write a time after", id="backwards"),
        pytest.param(("--public-key", "nothing"), "there is no text file", id="no-key-file"),
        pytest.param(("--checkpoints", "nothing"), "No such file", id="no-checkpoints"),
        pytest.param(("--export", "nothing"), "No such file", id="no-export"),
    ],
)
def test_what_cannot_be_looked_at_is_said_in_a_line(trail, arguments, said):
    """Exit code 2: neither good nor bad."""
    code, found, stderr = verify("--database-url", trail.auditor_url, *arguments)

    assert (2, None) == (code, found)
    assert said in " ".join(stderr.split())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "there is no checkpoint", id="empty"),
        pytest.param("hello\n\nworld\n\n", "without signatures", id="no-checkpoints"),
        pytest.param("\0" * 100, "too long", id="zeros"),
    ],
)
def test_a_file_of_something_else_is_no_evidence(trail, tmp_path, key, text, said):
    """Whoever gives the wrong file must not be told that all is well."""
    path = tmp_path / "other.txt"
    path.write_text(text)
    code, found, stderr = verify(
        *("--database-url", trail.auditor_url, "--public-key", key, "--checkpoints", path)
    )

    assert (2, None) == (code, found)
    assert said in " ".join(stderr.split()) or "no checkpoint" in stderr


def test_checkpoints_of_another_log_are_refused(trail, tmp_path, kept):
    """The key decides which log it is."""
    path = tmp_path / "other.pub"
    path.write_text("".join(f"{key}\n" for key in OTHER_LOG.public))
    code, found, stderr = verify(
        *("--database-url", trail.auditor_url, "--public-key", path, "--checkpoints", kept)
    )

    assert (2, None) == (code, found)
    assert "no key of its log was given" in " ".join(stderr.split())


def test_a_database_of_another_log_does_not_pass(trail, tmp_path):
    """Its checkpoints are signed, and not by this key."""
    path = tmp_path / "other.pub"
    path.write_text("".join(f"{key}\n" for key in derive_keys(b"y" * 32, ORIGIN).public))
    code, found, _ = verify("--database-url", trail.auditor_url, "--public-key", path)

    assert 1 == code
    assert {"the checkpoint is not signed by the key of the log"} == {
        problem["fault"] for problem in found["problems"]
    }


def test_a_database_in_the_middle_of_a_migration_is_not_judged(postgres, trail):
    """Exit code 2, and what to do."""
    with one_more(postgres, trail.name) as made:
        execute(made.superuser_url, "DROP TABLE audit_checkpoint")
        code, found, stderr = verify("--database-url", made.auditor_url)

    assert (2, None) == (code, found)
    assert "broker migrate" in stderr


def test_an_export_verifies_without_the_database(trail, key, kept, tmp_path):
    """With the key and the checkpoints that were kept; cut short it is no export."""
    out = tmp_path / "trail.jsonl"
    done = CliRunner().invoke(
        app,
        ["export", "--format", "native", "--out", str(out), "--database-url", trail.app_url],
    )
    assert 0 == done.exit_code, done.stderr
    code, found, _ = verify("--export", out, "--public-key", key, "--checkpoints", kept)
    short = tmp_path / "short.jsonl"
    short.write_bytes(out.read_bytes()[:-200])
    cut, nothing, _ = verify("--export", short, "--public-key", key)
    changed = tmp_path / "changed.jsonl"
    changed.write_bytes(out.read_bytes().replace(b'"alone.1"', b'"alone.7"', 1))
    bad, _, stderr = verify("--export", changed, "--public-key", key)

    assert (0, True, 22) == (code, found["intact"], found["rows"])
    assert (2, None) == (cut, nothing)
    # Its last line has the hash of what was before.
    assert (2, True) == (bad, "another hash" in " ".join(stderr.split()))
