"""Proofs as a log sees them that nobody here wrote: ours verify there, and its verify here.

It is the Go project's own: ``sumdb/note`` and ``sumdb/tlog``, as they stand behind the checksums
of every Go module.
"""

from base64 import b64encode
from dataclasses import replace
from uuid import UUID

import pytest

from broker.audit.batch import batch_statement
from broker.audit.checkpoint import CheckpointRejected, verify_checkpoint
from broker.audit.note import parse_vkeys
from broker.audit.proof import ProofRejected, check_proof, parse_proof, render_proof
from tests.clients.libraries import CLIENTS, NOT_RUN, Program
from tests.proving import KEYS, ORIGIN, build_log

TLOG = Program("tlog", "tlog.go", (str(CLIENTS / "tlog"),))
pytestmark = pytest.mark.skipif(not TLOG.is_here(), reason=NOT_RUN.format("tlog"))
LOG = build_log((3, 1, 5, 2, 7, 1, 1))
RECORDS = [b'{"row":%d}' % row for row in range(6)]


async def ask(**asked):
    return await TLOG.ask("", asked)


def b64(raw):
    return b64encode(raw).decode()


@pytest.mark.parametrize("short", [True, False], ids=["short", "post-quantum"])
@pytest.mark.parametrize(("position", "index"), [(0, 0), (2, 3), (4, 6), (6, 0)])
async def test_a_proof_of_ours_verifies_there(position, index, short):
    """Signature, both paths and the record; an ML-DSA-44 line is passed over."""
    proof = LOG.prove(position, index, with_record=False, short=short)
    record = b64(LOG.records[position][index])
    answer = await ask(proof=render_proof(proof), key=str(KEYS.public[0]), record=record)

    assert {"size": 7, "position": position, "seq": proof.seq} == answer


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"position": 3}, "batch: ", id="another-position"),
        pytest.param({"seq": 6}, "row: ", id="another-row"),
        pytest.param({"leaf": bytes(32)}, "row: ", id="another-leaf"),
        pytest.param({"checkpoint": LOG.note.replace("\n7\n", "\n8\n")}, "", id="another-size"),
    ],
)
async def test_a_changed_proof_does_not_verify_there(change, said):
    """What we refuse, it refuses."""
    proof = replace(LOG.prove(2, 3, with_record=False), **change)
    record = LOG.records[2][3]
    answer = await ask(proof=render_proof(proof), key=str(KEYS.public[0]), record=b64(record))

    assert answer["refused"].startswith(said)
    with pytest.raises((ProofRejected, CheckpointRejected)):
        check_proof(proof, KEYS.public[:1], record=record)


@pytest.mark.parametrize(
    ("row", "entry", "size"),
    [
        pytest.param(0, 0, 1, id="first-of-one"),
        pytest.param(5, 4, 5, id="last-of-five"),
        pytest.param(3, 6, 21, id="one-of-many"),
    ],
)
async def test_a_proof_of_its_verifies_here(row, entry, size):
    """Two implementations of RFC 6962, of signed notes and of the key's text."""
    batch = replace(LOG.batches[0], writer=UUID(int=9), number=4, first_seq=11, last_seq=16)
    made = await ask(
        origin=ORIGIN,
        records=[b64(record) for record in RECORDS],
        statement=b64(batch_statement(batch)),
        seq=11 + row,
        row=row,
        entry=entry,
        size=size,
    )
    keys = parse_vkeys(made["key"])
    proof = parse_proof(made["proof"])

    assert (11 + row, entry) == (proof.seq, proof.position)
    assert size == verify_checkpoint(made["checkpoint"], keys, origin=ORIGIN).size
    assert size == check_proof(proof, keys, origin=ORIGIN, record=RECORDS[row]).size
    with pytest.raises(ProofRejected):
        check_proof(proof, keys, origin=ORIGIN, record=RECORDS[row - 1])
    with pytest.raises(CheckpointRejected):
        check_proof(proof, KEYS.public, origin=ORIGIN, record=RECORDS[row])
