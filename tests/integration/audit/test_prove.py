"""``broker audit prove`` and ``check-proof`` as their users run them: exit codes, files, words."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker.audit.checkpoint_key import derive_keys
from broker.cli.audit import app
from broker.db.engine import Database
from tests.audit import event, running
from tests.fixtures.postgres import execute, one_more
from tests.sealing import KEYS, ORIGIN, seal_now

VERIFIER = Path(__file__).parents[3] / "docs" / "verify_proof.py"
VKEYS = "\n".join(map(str, KEYS.public))


async def write(url):
    database = Database(url)
    for _ in range(2):
        async with running(database) as writer:
            await asyncio.gather(*(writer.append(event(f"n{number}")) for number in range(20)))
            await writer.append(event("single"))
    await seal_now(database)
    async with running(database) as writer:
        await writer.append(event("late"))
    await database.aclose()


@pytest.fixture(scope="module")
def sealed(postgres, template):
    """A trail of three writers, of which the last is not sealed yet."""
    with one_more(postgres, template.name) as made:
        asyncio.run(write(made.app_url))
        yield made


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the public key, to work in."""
    (tmp_path / "audit.pub").write_text(VKEYS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def audit(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "100"})


def ids(database, action):
    rows = execute(database.auditor_url, "SELECT id, action FROM audit_event ORDER BY id")
    return [str(row["id"]) for row in rows if row["action"] == action]


def prove(database, id_, *options):
    return audit("prove", id_, *options, "--database-url", database.auditor_url)


@pytest.mark.parametrize("action", ["start", "n0", "n13", "single", "stop"])
def test_a_row_is_proven_and_verified_offline(sealed, folder, action):
    """First, middle and last rows of a writer; with nothing but the file and the key."""
    for id_ in ids(sealed, action)[:2]:
        made = prove(sealed, id_, "--with-record", "--out", "row.tlog-proof")
        answer = audit("check-proof", "row.tlog-proof", "--public-key", "audit.pub")

        assert 0 == made.exit_code, made.stderr
        assert 0 == answer.exit_code, answer.output
        assert "✓ proven" in answer.output
        assert id_ in answer.output


def test_the_published_verifier_accepts_it_too(sealed, folder):
    """Somebody without the broker: a script, its Python, ``cryptography``."""
    (id_, *_) = ids(sealed, "n7")
    prove(sealed, id_, "--with-record", "--out", "row.tlog-proof")
    done = subprocess.run(
        [sys.executable, "-I", str(VERIFIER), "row.tlog-proof", "audit.pub"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert 0 == done.returncode, done.stderr
    assert id_ in done.stdout


def test_a_proof_is_small_and_shows_nothing_of_its_row(sealed, folder):
    """Less than 2 KiB; the record goes another way, and is compared when it is shown."""
    (id_, other, *_) = ids(sealed, "n7")
    made = prove(sealed, id_, "--out", "row.tlog-proof", "--record", "row.json")
    proof = (folder / "row.tlog-proof").read_text()
    check = ("check-proof", "row.tlog-proof", "--public-key", VKEYS.split("\n")[0])
    records = execute(sealed.auditor_url, f"SELECT record FROM audit_event WHERE id = '{other}'")
    (folder / "other.json").write_text(records[0]["record"])

    assert 0 == made.exit_code, made.stderr
    assert len(proof) < 2048
    assert id_ not in proof
    assert "was not shown" in audit(*check).output
    assert id_ in audit(*check, "--record", "row.json").output
    assert 1 == audit(*check, "--record", "other.json").exit_code


def test_the_ml_dsa_signature_stays_where_it_is_asked_for(sealed, folder):
    """A longer proof, and a check that demands the line; a short one does not pass that."""
    (id_, *_) = ids(sealed, "single")
    check = ("check-proof", "row.tlog-proof", "--public-key", "audit.pub", "--post-quantum")
    codes = []
    for options in (("--post-quantum",), ()):
        prove(sealed, id_, *options, "--out", "row.tlog-proof")
        codes.append(audit(*check).exit_code)

    assert [0, 1] == codes


def test_a_script_reads_json(sealed, folder):
    """Everything that is proven, in one document; and why not, if not."""
    (id_, *_) = ids(sealed, "n3")
    prove(sealed, id_, "--with-record", "--out", "row.tlog-proof")
    check = ("check-proof", "row.tlog-proof", "--format", "json", "--public-key")
    proven = json.loads(audit(*check, "audit.pub").output)
    rejected = json.loads(audit(*check, str(derive_keys(b"x" * 32, ORIGIN).public[0])).output)

    assert (True, ORIGIN) == (proven["proven"], proven["log"])
    assert id_ == json.loads(proven["record"])["id"]
    assert (False, "the checkpoint") == (rejected["proven"], rejected["rejected"])


def test_a_row_that_is_not_sealed_yet_says_by_when(sealed, folder):
    """Exit code 2: nothing is wrong, and there is no file."""
    (id_,) = ids(sealed, "late")
    made = prove(sealed, id_, "--out", "row.tlog-proof")

    assert 2 == made.exit_code
    assert "not sealed yet" in made.stderr
    assert "audit.checkpoints.every" in made.stderr
    assert not (folder / "row.tlog-proof").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("not-an-id",), "rows have UUIDs", id="no-uuid"),
        pytest.param(("00000000-0000-7000-8000-000000000000",), "no row", id="unknown"),
    ],
)
def test_a_row_that_is_not_there_is_said_so(sealed, folder, arguments, said):
    """Exit code 2, and one line that names what to do."""
    made = prove(sealed, *arguments)

    assert (2, "") == (made.exit_code, made.stdout)
    assert said in made.stderr


@pytest.mark.parametrize(
    ("files", "arguments", "code", "said"),
    [
        pytest.param({}, ("nothing", "--public-key", "audit.pub"), 2, "cannot be read", id="none"),
        pytest.param(
            {"p": "{}"}, ("p", "--public-key", "audit.pub"), 2, "p is no proof", id="no-proof"
        ),
        pytest.param({"p": ""}, ("p", "--public-key", "lost.pub"), 2, "no text file", id="no-key"),
        pytest.param(
            {"p": "", "k": "secret"}, ("p", "--public-key", "k"), 2, "line 1 is no", id="bad-key"
        ),
    ],
)
def test_what_cannot_be_checked_is_no_answer(folder, files, arguments, code, said):
    """Exit code 2: a script must not take a missing file for a bad proof, nor for a good one."""
    for name, text in files.items():
        (folder / name).write_text(text)
    answer = audit("check-proof", *arguments)

    assert code == answer.exit_code
    assert said in answer.stderr
    assert "secret" not in answer.output


def test_a_proof_of_another_log_or_key_does_not_verify(sealed, folder):
    """Exit code 1, and which of the two it was."""
    (id_, *_) = ids(sealed, "n3")
    prove(sealed, id_, "--out", "row.tlog-proof")
    check = ("check-proof", "row.tlog-proof", "--public-key")
    other = derive_keys(b"c" * 32, "other.example/audit").public[0]
    answers = [
        audit(*check, "audit.pub", "--origin", "other.example/audit"),
        audit(*check, str(other)),
        audit(*check, str(derive_keys(b"x" * 32, ORIGIN).public[0])),
    ]

    assert [1, 1, 1] == [answer.exit_code for answer in answers]
    assert "of another log" in answers[0].output
    assert "no key of its log" in answers[1].output
    assert "no given key has signed it" in answers[2].output


@pytest.mark.parametrize(
    ("statement", "code", "said"),
    [
        pytest.param(
            "UPDATE audit_event SET record = replace(record, 'n7', 'n8') WHERE action = 'n7'",
            1,
            "was changed",
            id="record",
        ),
        pytest.param(
            "UPDATE audit_event SET leaf = sha256('x') WHERE action = 'n6'",
            1,
            "another one of its batch",
            id="leaf-beside",
        ),
        pytest.param(
            "UPDATE audit_batch SET at = at + interval '1 second'",
            1,
            "the batch of this row",
            id="batch",
        ),
        pytest.param(
            "UPDATE audit_tree SET hashes = array_fill(sha256('x'), ARRAY[8])",
            1,
            "sealed log",
            id="tree",
        ),
        pytest.param("DELETE FROM audit_event WHERE action = 'n6'", 2, "no tombstone", id="gone"),
        pytest.param("DELETE FROM audit_batch", 1, "no batch", id="batch-gone"),
        pytest.param("DELETE FROM audit_checkpoint", 2, "nothing is sealed", id="unsealed"),
    ],
)
def test_a_trail_that_was_changed_gives_no_proof(sealed, postgres, folder, statement, code, said):
    """Whoever owns the database can spoil a proof, and cannot make one."""
    (id_, *_) = ids(sealed, "n7")
    with one_more(postgres, sealed.name) as copy:
        execute(copy.superuser_url, "SET session_replication_role = replica", *unlock(), statement)
        made = prove(copy, id_, "--out", "row.tlog-proof")

    assert code == made.exit_code, made.stderr
    assert said in " ".join(made.stderr.split())
    assert not (folder / "row.tlog-proof").exists()


def unlock():
    """Statements of a superuser who wants to change what nobody may."""
    for table in ("audit_event", "audit_batch", "audit_tree", "audit_checkpoint"):
        yield f"ALTER TABLE {table} DISABLE TRIGGER ALL"
