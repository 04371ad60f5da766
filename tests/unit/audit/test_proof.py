"""The proof of a row: it verifies as it was made, and in no other way."""

import re
from base64 import b64decode, b64encode
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.audit.checkpoint import CheckpointRejected
from broker.audit.checkpoint_key import derive_keys
from broker.audit.proof import (
    NotAProof,
    ProofRejected,
    check_proof,
    parse_proof,
    render_proof,
)
from tests.proving import KEYS, ORIGIN, build_log

LOG = build_log()
CLASSICAL = KEYS.public[:1]
WHOLE = render_proof(LOG.prove(2, 3, with_record=True))
REFUSALS = (NotAProof, ProofRejected, CheckpointRejected)


def verify(text, keys=KEYS.public, **options):
    return check_proof(parse_proof(text), keys, **options)


@pytest.mark.parametrize("with_record", [True, False], ids=["with-record", "without"])
@pytest.mark.parametrize(
    ("position", "index"),
    [(position, index) for position in range(5) for index in range(len(LOG.records[position]))],
)
def test_a_proof_of_every_row_verifies(position, index, with_record):
    """First and last rows, batches of one, complete and incomplete trees."""
    proof = LOG.prove(position, index, with_record=with_record)
    text = render_proof(proof)

    assert proof == parse_proof(text)
    checkpoint = verify(text, record=LOG.records[position][index])
    assert (ORIGIN, 5) == (checkpoint.origin, checkpoint.size)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=9), st.data())
@settings(max_examples=30)
def test_a_proof_of_any_row_of_any_log_verifies(sizes, data):
    """Whatever the shape of the two trees."""
    log = build_log(sizes)
    position = data.draw(st.integers(0, len(sizes) - 1))
    index = data.draw(st.integers(0, sizes[position] - 1))

    assert len(sizes) == verify(render_proof(log.prove(position, index))).size


@given(st.integers(0, len(WHOLE.encode()) - 1), st.integers(1, 255))
@settings(max_examples=400)
def test_no_changed_byte_verifies(position, change):
    """Every byte of a proof means something: here only keys that were given have signed."""
    raw = bytearray(WHOLE.encode())
    raw[position] ^= change
    with pytest.raises((*REFUSALS, UnicodeDecodeError)):
        verify(raw.decode())


@pytest.mark.parametrize("position", range(0, len(WHOLE.encode()), 7))
def test_no_left_out_byte_verifies(position):
    """Nor does one that went missing on the way."""
    raw = WHOLE.encode()
    with pytest.raises((*REFUSALS, UnicodeDecodeError)):
        verify((raw[:position] + raw[position + 1 :]).decode())


@given(st.integers(0, len(WHOLE) - 1))
def test_a_proof_cut_anywhere_does_not_verify(length):
    """Half a proof proves nothing."""
    with pytest.raises(REFUSALS):
        verify(WHOLE[:length])


def test_only_lines_of_others_carry_no_meaning():
    """C2SP signed-note: unknown signatures are ignored, such as those of witnesses."""
    line = f"— witness.example {b64encode(b'abcd' + bytes(72)).decode()}\n"

    assert 5 == verify(WHOLE + line).size
    assert 5 == verify(WHOLE + line.replace("witness", "W1tness")).size
    assert 5 == verify(render_proof(LOG.prove(2, 3, short=False)), CLASSICAL).size


def test_the_line_that_holds_after_ed25519_can_be_demanded():
    """A short proof has no ML-DSA-44 line; whoever asks for it gets a longer one."""
    proof = LOG.prove(2, 3, short=False)
    assert 5 == verify(render_proof(proof), post_quantum=True).size

    with pytest.raises(CheckpointRejected, match="has not signed"):
        verify(WHOLE, post_quantum=True)
    with pytest.raises(CheckpointRejected, match="does not verify"):
        verify(re.sub("....(.{400})\n$", r"AAAA\1\n", render_proof(proof)))


@pytest.mark.parametrize(
    ("keys", "origin", "said"),
    [
        pytest.param(derive_keys(b"x" * 32, ORIGIN), None, "no given key", id="another-key"),
        pytest.param(
            derive_keys(b"c" * 32, "other.example/audit"),
            None,
            "no key of its log",
            id="a-key-of-another-log",
        ),
        pytest.param(KEYS, "other.example/audit", "of another log", id="another-log-asked-for"),
    ],
)
def test_a_proof_of_another_log_is_told_apart(keys, origin, said):
    """A checkpoint that somebody else signed says nothing of ours."""
    with pytest.raises(CheckpointRejected, match=said):
        verify(WHOLE, keys.public, origin=origin)


def other(position, index):
    return LOG.prove(position, index)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"record": b'{"id":"2-4"}'}, "the record is not", id="another-record"),
        pytest.param({"leaf": other(2, 4).leaf}, "this row", id="another-leaf"),
        pytest.param({"seq": other(2, 4).seq}, "this row", id="another-seq"),
        pytest.param({"seq": 0}, "this row", id="seq-before-the-batch"),
        pytest.param({"seq": 2**64 - 1}, "this row", id="seq-after-the-batch"),
        pytest.param({"inner": other(2, 4).inner}, "this row", id="another-path-in-the-batch"),
        pytest.param({"inner": other(2, 3).inner[:-1]}, "this row", id="path-too-short"),
        pytest.param({"batch": other(3, 0).batch}, "the batch there", id="another-batch"),
        pytest.param({"position": 3}, "the batch there", id="another-position"),
        pytest.param({"position": 5}, "the batch there", id="beyond-the-log"),
        pytest.param({"path": other(3, 0).path}, "the batch there", id="another-path"),
        pytest.param({"path": other(2, 3).path[1:]}, "the batch there", id="path-of-a-subtree"),
    ],
)
def test_parts_of_two_proofs_make_none(change, said):
    """Whatever is put together from true pieces is found, and the piece is named."""
    with pytest.raises(ProofRejected, match=said):
        verify(render_proof(replace(LOG.prove(2, 3), **change)))


def test_a_statement_is_not_taken_for_a_row():
    """RFC 6962 §2.1: leaves and nodes hash apart, so no level of the tree passes for another."""
    proof = LOG.prove(2, 3)
    shorter = replace(proof, leaf=proof.inner[0], inner=proof.inner[1:])
    with pytest.raises(ProofRejected):
        verify(render_proof(replace(shorter, record=None)))


def test_a_record_that_is_shown_apart_is_compared():
    """Without its record a proof is of a hash; whoever shows a record is held to it."""
    text = render_proof(LOG.prove(2, 3, with_record=False))

    assert 5 == verify(text).size
    assert 5 == verify(text, record=LOG.records[2][3]).size
    with pytest.raises(ProofRejected, match="the record is not"):
        verify(text, record=LOG.records[2][4])
    with pytest.raises(ProofRejected, match="the record is not"):
        verify(WHOLE, record=LOG.records[2][4])


@pytest.mark.parametrize(
    ("pattern", "into", "said"),
    [
        pytest.param("^.*", "c2sp.org/tlog-proof@v2", "begin with", id="type-of-the-future"),
        pytest.param("extra .*", "extra ****", "second line", id="extra-no-base64"),
        pytest.param("extra .*", "extra AAAA", "which row", id="extra-too-short"),
        pytest.param("extra .*\n", "", "second line", id="extra-missing"),
        pytest.param("index 2", "index 02", "third line", id="index-with-a-zero-before"),
        pytest.param("index 2", "index -1", "third line", id="index-negative"),
        pytest.param("index 2", "index " + "9" * 20, "third line", id="index-huge"),
        pytest.param("index 2\n", "index 2\nAAAA\n", "line 4", id="hash-short"),
        pytest.param("\n\n(.|\n)*", "\n", "cut short", id="checkpoint-missing"),
        pytest.param("\n\n(.|\n)*", "\n\n", "cut short", id="checkpoint-empty"),
        pytest.param("\n", "\r\n", "begin with", id="lines-of-another-system"),
    ],
)
def test_what_is_no_proof_is_told_by_its_line(pattern, into, said):
    """A wrong file, or half of one: what is wrong is named, what stands in it is not."""
    with pytest.raises(NotAProof, match=said):
        parse_proof(re.sub(pattern, into, WHOLE, count=0 if pattern == "\n" else 1))


def test_a_path_without_end_is_refused():
    """A file of a million lines costs no more than the longest path there is."""
    line = f"{b64encode(bytes(32)).decode()}\n"
    with pytest.raises(NotAProof, match="longer than that of any log"):
        parse_proof(WHOLE.replace("index 2\n", f"index 2\n{line * 65}"))


def test_a_proof_is_less_than_two_kilobytes():
    """Of a row in a full batch, in a log of sixteen million batches."""
    proof = LOG.prove(2, 3, with_record=False)
    longest = replace(proof, inner=(bytes(32),) * 10, path=(bytes(32),) * 24, position=2**24 - 1)

    assert len(render_proof(longest).encode()) < 2048


def test_the_entry_of_the_log_is_the_beginning_of_extra():
    """What somebody else's verifier needs to know: 113 bytes, hashed as any record of a log."""
    extra = b64decode(WHOLE.split("\n")[1].removeprefix("extra "))

    assert b"\x02" == extra[:1]
    assert LOG.batches[2].root == extra[49:81]
    assert LOG.records[2][3] == extra[113 + 8 + 32 + 1 + extra[113 + 40] * 32 :]


def test_a_record_is_not_in_a_repr():
    """It may name persons, and a traceback may be logged."""
    assert '"id"' not in repr(LOG.prove(2, 3))
