"""C2SP tlog-checkpoint: whose head it is, and when it counts as signed."""

import os
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.checkpoint import (
    Checkpoint,
    CheckpointRejected,
    parse_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from broker.audit.checkpoint_key import build_origin, derive_keys, load_checkpoint_keys
from broker.audit.head import Head, parse_head, render_head
from broker.audit.note import Note, parse_note, sign
from broker.errors import ConfigurationError

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
ORIGIN = "broker.example.com/audit"
KEYS = derive_keys(bytes(32), ORIGIN)
OTHERS = derive_keys(bytes([1] * 32), "other.example.com/audit")
ROTATED = derive_keys(bytes([2] * 32), ORIGIN)
CHECKPOINT = Checkpoint(ORIGIN, 3, bytes(range(32)))
TEXT = sign_checkpoint(CHECKPOINT, KEYS, AT)


def without(text: str, *, line: int) -> str:
    """A checkpoint that lost one of its signatures."""
    note = parse_note(text)
    lines = [one for at, one in enumerate(note.signatures) if at != line]
    return str(Note(note.body, tuple(lines)))


def test_a_checkpoint_verifies_with_the_keys_of_its_log():
    """tlog-checkpoint: origin, size and root, as they were signed."""
    assert CHECKPOINT == verify_checkpoint(TEXT, KEYS.public)
    assert CHECKPOINT == verify_checkpoint(TEXT, KEYS.public, origin=ORIGIN)
    assert TEXT.startswith(f"{ORIGIN}\n3\n")


@pytest.mark.parametrize("kind", [0, 1], ids=["ed25519", "ml-dsa-44"])
def test_one_public_key_is_enough_to_verify(kind):
    """Ours: whoever was given one key verifies by it, also where the other line is missing."""
    assert CHECKPOINT == verify_checkpoint(TEXT, [KEYS.public[kind]])
    assert CHECKPOINT == verify_checkpoint(without(TEXT, line=1 - kind), [KEYS.public[kind]])


@pytest.mark.parametrize("missing", [0, 1], ids=["ed25519", "ml-dsa-44"])
def test_each_kind_of_key_that_was_given_must_have_signed(missing):
    """Ours: the signature that outlives Ed25519 cannot be left out by whoever broke Ed25519."""
    with pytest.raises(CheckpointRejected, match="a kind of key that was given has not signed"):
        verify_checkpoint(without(TEXT, line=missing), KEYS.public)


def test_a_small_proof_may_leave_the_long_signature_out():
    """Ours: only where the caller says so, and never the other one; a bad one is still refused."""
    short = without(TEXT, line=1)
    forged = sign(render_head(CHECKPOINT), derive_keys(bytes([9] * 32), ORIGIN), AT)
    lines = (*parse_note(short).signatures, *parse_note(forged).signatures)

    assert CHECKPOINT == verify_checkpoint(short, KEYS.public, without_mldsa=True)
    assert CHECKPOINT == verify_checkpoint(
        str(Note(render_head(CHECKPOINT), lines)), KEYS.public, without_mldsa=True
    )
    with pytest.raises(CheckpointRejected):
        verify_checkpoint(without(TEXT, line=0), KEYS.public, without_mldsa=True)
    with pytest.raises(CheckpointRejected):
        verify_checkpoint(short, KEYS.public[1:], without_mldsa=True)


def test_a_checkpoint_of_another_log_is_refused():
    """Ours: a key that was given for one log says nothing about another."""
    other = Checkpoint(OTHERS.name, 3, bytes(32))
    text = sign_checkpoint(other, OTHERS, AT)
    crossed = sign(render_head(other), KEYS, AT)

    with pytest.raises(CheckpointRejected, match="of another log"):
        verify_checkpoint(text, [*KEYS.public, *OTHERS.public], origin=ORIGIN)
    with pytest.raises(CheckpointRejected, match="no key of its log"):
        verify_checkpoint(text, KEYS.public)
    with pytest.raises(CheckpointRejected):
        verify_checkpoint(crossed, [*KEYS.public, *OTHERS.public])
    with pytest.raises(ValueError, match="the keys are of another log"):
        sign_checkpoint(other, KEYS, AT)


def test_a_key_that_was_replaced_still_verifies_what_it_signed():
    """Ours: both keys are given, each verifies its own; without its key a checkpoint is refused."""
    both = [*ROTATED.public, *KEYS.public]

    assert CHECKPOINT == verify_checkpoint(TEXT, both)
    assert CHECKPOINT == verify_checkpoint(sign_checkpoint(CHECKPOINT, ROTATED, AT), both)
    with pytest.raises(CheckpointRejected):
        verify_checkpoint(TEXT, ROTATED.public)


ROOT = b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"{ORIGIN}\n3\n", id="two-lines"),
        pytest.param(f"{ORIGIN}\n3\n{ROOT}\nmore\n", id="extension-line"),
        pytest.param(f"{ORIGIN}\n3\n{ROOT}", id="no-newline"),
        pytest.param(f"{ORIGIN}\n03\n{ROOT}\n", id="leading-zero"),
        pytest.param(f"{ORIGIN}\n-3\n{ROOT}\n", id="negative-size"),
        pytest.param(f"{ORIGIN}\n\u0663\n{ROOT}\n", id="arabic-digit"),
        pytest.param(f"{ORIGIN}\n{2**63}\n{ROOT}\n", id="size-beyond-a-bigint"),
        pytest.param(f"{ORIGIN}\n3\n{ROOT[:-4]}\n", id="short-root"),
        pytest.param(f"{ORIGIN}\n3\n{ROOT[:-2]}B=\n", id="second-spelling-of-the-root"),
        pytest.param(f"\n3\n{ROOT}\n", id="no-origin"),
        pytest.param(f"two words\n3\n{ROOT}\n", id="space-in-the-origin"),
        pytest.param(f"{'a' * 256}\n3\n{ROOT}\n", id="origin-too-long"),
        pytest.param(f"{ORIGIN}\r\n3\r\n{ROOT}\r\n", id="carriage-returns"),
    ],
)
def test_what_is_no_head_is_refused(body):
    """tlog-checkpoint: three lines, each in its one spelling, and nothing that is half signed."""
    with pytest.raises(ValueError):
        parse_head(body)
    with pytest.raises(CheckpointRejected):
        parse_checkpoint(f"{body}\n— a AAAAAAAA\n")


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_a_head_is_read_as_it_was_written(size, root):
    """tlog-checkpoint: any size and any root."""
    head = Head(ORIGIN, size, root)

    assert head == parse_head(render_head(head))


@pytest.mark.parametrize(
    ("issuer", "origin"),
    [
        ("https://broker.example.com", "broker.example.com/audit"),
        ("https://broker.example.com/", "broker.example.com/audit"),
        ("http://127.0.0.1:8080", "127.0.0.1:8080/audit"),
        ("https://example.com/broker", "example.com/broker/audit"),
    ],
)
def test_the_log_is_named_after_the_issuer(issuer, origin):
    """signed-note: a name is an address without its scheme."""
    assert origin == build_origin(issuer)


@pytest.mark.parametrize("issuer", ["https://a+b.example", f"https://{'a' * 250}.example"])
def test_an_issuer_that_no_log_can_be_named_after_is_a_mistake_in_the_configuration(issuer):
    """Ours: at start, by the name of the setting."""
    with pytest.raises(ConfigurationError, match="issuer: no audit log"):
        build_origin(issuer)


def test_one_secret_makes_the_same_keys_every_time(tmp_path):
    """Ours: the file is all that there is to keep, and the public keys never change."""
    path = tmp_path / "checkpoint.key"
    path.write_bytes(b64encode(bytes(32)) + b"\n")
    path.chmod(0o600)

    assert KEYS.public == load_checkpoint_keys(path, ORIGIN).public
    assert KEYS.public[0].public != KEYS.public[1].public[:32]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b64encode(bytes(31)), id="too-short"),
        pytest.param(b64encode(bytes(33)), id="too-long"),
        pytest.param(b"not base64 at all!", id="not-base64"),
    ],
)
def test_a_bad_key_file_is_named_and_not_quoted(tmp_path, content):
    """Ours: the message has the setting and the file, and never what is in it."""
    path = tmp_path / "checkpoint.key"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(ConfigurationError, match=r"audit\.checkpoints\.key_file") as caught:
        load_checkpoint_keys(path, ORIGIN)

    assert not content or content.decode() not in str(caught.value)


def test_a_key_that_everybody_can_read_is_refused(tmp_path):
    """Ours: like every other secret."""
    path = tmp_path / "checkpoint.key"
    path.write_bytes(b64encode(os.urandom(32)))
    path.chmod(0o644)

    with pytest.raises(ConfigurationError, match="everybody can read"):
        load_checkpoint_keys(path, ORIGIN)
