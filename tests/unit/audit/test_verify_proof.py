"""The verifier that is published: short, with nothing of ours, and of one mind with ours."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.audit.checkpoint import CheckpointRejected
from broker.audit.checkpoint_key import derive_keys
from broker.audit.proof import NotAProof, ProofRejected, check_proof, parse_proof, render_proof
from tests.proving import KEYS, ORIGIN, build_log

SCRIPT = Path(__file__).parents[3] / "docs" / "verify_proof.py"
LOG = build_log()
PROOF = render_proof(LOG.prove(2, 3))
VKEYS = "".join(f"{key}\n" for key in KEYS.public)
script = {"__name__": "verify_proof"}
exec(compile(SCRIPT.read_text(), str(SCRIPT), "exec"), script)

REFUSALS = (script["Refused"], ValueError, IndexError, NotAProof, ProofRejected, CheckpointRejected)


def run(folder, proof, keys=VKEYS, record=None):
    """Exit code and what was printed."""
    parts = {"row.tlog-proof": proof.encode(), "keys": keys.encode(), "record": record}
    names = [name for name, value in parts.items() if value is not None]
    for name in names:
        (folder / name).write_bytes(parts[name])
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), *names],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_it_has_nothing_of_ours_and_can_be_read_in_one_go():
    """Fewer than 200 lines, and only the standard library and ``cryptography``."""
    tree = ast.parse(SCRIPT.read_text())
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }

    assert names - {"cryptography"} <= sys.stdlib_module_names
    assert len(SCRIPT.read_text().splitlines()) < 200


def test_a_proof_verifies_and_is_told_in_words(tmp_path):
    """Which log, which batch, which row, and the record itself."""
    code, said = run(tmp_path, PROOF)

    assert 0 == code
    assert f"log      {ORIGIN}, 5 batches" in said
    assert "record   " + LOG.records[2][3].decode() in said


def test_a_record_may_be_in_a_file_of_its_own(tmp_path):
    """As ``--format jsonl`` writes it, with a line break; another one is refused."""
    bare = render_proof(LOG.prove(2, 3, with_record=False))

    assert "NOT SHOWN" in run(tmp_path, bare)[1]
    assert 0 == run(tmp_path, bare, record=LOG.records[2][3] + b"\n")[0]
    assert (1, "REFUSED: the record is another one\n") == run(
        tmp_path, bare, record=LOG.records[2][4]
    )


@pytest.mark.parametrize(
    ("keys", "proof", "code", "said"),
    [
        pytest.param(
            str(derive_keys(b"x" * 32, ORIGIN).public[0]), PROOF, 1, "none of these", id="key"
        ),
        pytest.param(VKEYS, PROOF.replace("index 2", "index 3"), 1, "in the log", id="index"),
        pytest.param(VKEYS, PROOF[:-9], 1, "no checkpoint", id="cut"),
        pytest.param(VKEYS, PROOF[:-1], 1, "no checkpoint", id="cut-by-one"),
        pytest.param(VKEYS, PROOF[:90], 1, "no proof", id="cut-in-half"),
        pytest.param(VKEYS, "", 1, "no proof", id="empty"),
        pytest.param("", PROOF, 1, "none of these", id="no-key"),
    ],
)
def test_what_does_not_verify_is_said_in_a_line(tmp_path, keys, proof, code, said):
    """No traceback, and an exit code for scripts."""
    found, printed = run(tmp_path, proof, keys)

    assert code == found
    assert said in printed
    assert 1 == printed.count("\n")


def test_without_files_it_says_how_to_use_it(tmp_path):
    """Exit code 2: nothing was looked at."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "nothing", "there"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 2 == done.returncode
    assert done.stderr.startswith("cannot read: ")


@given(st.integers(0, len(PROOF.encode()) - 1), st.integers(1, 255))
@settings(max_examples=200)
def test_both_are_of_one_mind(position, change):
    """Whatever byte is changed, neither accepts what the other refuses."""
    raw = bytearray(PROOF.encode())
    raw[position] ^= change

    def published():
        script["verify"](raw.decode(), VKEYS, b"")

    def ours():
        check_proof(parse_proof(raw.decode()), KEYS.public)

    for verify in (published, ours):
        with pytest.raises(REFUSALS):
            verify()
