"""C2SP signed-note and tlog-cosignature: what is signed, by whom, and what is refused."""

from base64 import b64decode, b64encode
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.head import Head, parse_head, render_head
from broker.audit.note import (
    COSIGNATURE,
    Note,
    NoteRejected,
    Signature,
    SigningKeys,
    VerifierKey,
    parse_note,
    parse_vkeys,
    sign,
    verify_note,
)

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
NAME = "broker.example.com/audit"
KEYS = SigningKeys.from_seeds(NAME, bytes(32), bytes(32))
BODY = render_head(Head(NAME, 3, bytes(range(32))))
NOTE = sign(BODY, KEYS, AT)

# The example of Go's sumdb/note, which its documentation has.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpR"
    "Zb6KE6RyyBwJnAM=\n"
)
# The example of C2SP tlog-cosignature: a log and its witness, whose keys it does not give.
SOFA = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/"
    "Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3"
    "b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)


def test_a_note_of_the_go_project_verifies():
    """signed-note: the published example of another implementation, by its own key."""
    (key,) = parse_vkeys(PETER)

    assert PETER == str(key)
    assert [key] == list(verify_note(parse_note(PETERS), [key]))


def test_the_example_of_the_specification_is_read_and_written_alike():
    """tlog-cosignature: two signatures, and a head that our reader reads."""
    note = parse_note(SOFA)

    assert SOFA == str(note)
    assert ("example.com/behind-the-sofa", 20852163) == (
        parse_head(note.body).origin,
        parse_head(note.body).size,
    )
    assert [68 - 4, 76 - 4] == [len(one.value) for one in note.signatures]


def test_both_keys_sign():
    """Ours: the note of a head has a signature that holds today and one that holds after."""
    assert set(KEYS.public) == set(verify_note(parse_note(NOTE), KEYS.public))


def test_the_ml_dsa_signature_is_over_the_message_of_the_specification():
    """tlog-cosignature: ``cosigned_message``, byte for byte, under the key's own library."""
    value = parse_note(NOTE).signatures[1].value
    name = NAME.encode()
    message = (
        b"subtree/v1\n\x00"
        + bytes([len(name)])
        + name
        + int(AT.timestamp()).to_bytes(8, "big")
        + bytes([len(name)])
        + name
        + (0).to_bytes(8, "big")
        + (3).to_bytes(8, "big")
        + bytes(range(32))
    )

    MLDSA44PublicKey.from_public_bytes(KEYS.public[1].public).verify(value[8:], message)
    assert int(AT.timestamp()) == int.from_bytes(value[:8], "big")


def test_a_witness_with_ed25519_signs_the_time_and_the_text():
    """tlog-cosignature, type 0x04: its message, and no other, counts."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    key = VerifierKey("witness.example/w1", COSIGNATURE, private.public_key().public_bytes_raw())
    stamp = int(AT.timestamp())
    signature = private.sign(f"cosignature/v1\ntime {stamp}\n{BODY}".encode())
    line = Signature(key.name, key.id, stamp.to_bytes(8, "big") + signature)
    later = Signature(key.name, key.id, (stamp + 1).to_bytes(8, "big") + signature)

    assert [key] == list(verify_note(Note(BODY, (line,)), parse_vkeys(str(key))))
    with pytest.raises(NoteRejected):
        verify_note(Note(BODY, (later,)), [key])


def test_a_signature_by_a_stranger_is_ignored():
    """signed-note: others may sign too, also under our name with another id."""
    stranger = SigningKeys.from_seeds(NAME, bytes([1] * 32), bytes([1] * 32))
    lines = (*parse_note(NOTE).signatures, *parse_note(sign(BODY, stranger, AT)).signatures)

    assert set(KEYS.public) == set(verify_note(Note(BODY, lines), KEYS.public))
    with pytest.raises(NoteRejected, match="no given key"):
        verify_note(parse_note(sign(BODY, stranger, AT)), KEYS.public)


def test_one_bad_signature_of_a_known_key_spoils_the_note():
    """signed-note: a good signature beside it does not save it."""
    good, other = parse_note(NOTE).signatures
    bad = Signature(good.name, good.id, bytes(64))

    with pytest.raises(NoteRejected, match="does not verify"):
        verify_note(Note(BODY, (good, other, bad)), KEYS.public)


@given(st.integers(0, len(NOTE) - 1), st.characters(codec="utf-8"))
def test_no_character_of_a_note_can_be_changed(at, character):
    """Ours: text, names, ids and signatures are each held by what is signed, or spelled once."""
    changed = NOTE[:at] + character + NOTE[at + 1 :]
    if changed == NOTE:
        return
    try:
        signed = verify_note(parse_note(changed), KEYS.public)
    except NoteRejected:
        return
    # A line whose key is no longer ours is a stranger's; the other still holds, for the same text.
    assert len(signed) == 1
    assert BODY == parse_note(changed).body


@given(st.text(max_size=200))
def test_no_text_is_a_note_by_accident(text):
    """Ours: the reader of a file from outside answers, whatever is in it."""
    with pytest.raises(NoteRejected):
        verify_note(parse_note(text), KEYS.public)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param(BODY, id="not-signed"),
        pytest.param(BODY + "\n", id="without-a-signature"),
        pytest.param(NOTE[:-1], id="cut-short-by-a-byte"),
        pytest.param(NOTE[:-100], id="cut-within-a-signature"),
        pytest.param(NOTE.replace("— ", "- ", 1), id="hyphen-for-a-dash"),
        pytest.param(NOTE.replace("\n\n", "\r\n\r\n"), id="carriage-returns"),
        pytest.param(NOTE + "\n", id="empty-line-at-the-end"),
        pytest.param(BODY + "\n" + "— a AAAAAAAA\n" * 33, id="too-many-signatures"),
        pytest.param(BODY + "\n— a AAAA\n", id="signature-of-nothing"),
        pytest.param(BODY + "\n— a AAAAAAB=\n", id="second-spelling-of-base64"),
        pytest.param(BODY + "\n— a+b AAAAAAAA\n", id="plus-in-a-name"),
        pytest.param(BODY + "\n— a\u2003b AAAAAAAA\n", id="unicode-space-in-a-name"),
        pytest.param("a" * 200_000 + "\n\n— a AAAAAAAA\n", id="too-long"),
    ],
)
def test_what_is_no_note_is_refused(text):
    """signed-note: its form is part of it."""
    with pytest.raises(NoteRejected):
        parse_note(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("# only a comment\n\n", id="only-a-comment"),
        pytest.param("-----BEGIN PUBLIC KEY-----", id="pem"),
        pytest.param(PETER.replace("c74f20a3", "c74f20a4"), id="id-of-another-key"),
        pytest.param(PETER.replace("c74f20a3", "C74F20A3"), id="id-in-capitals"),
        pytest.param(PETER.replace("PeterNeumann", "Peter Neumann"), id="space-in-the-name"),
        pytest.param(PETER.replace("PeterNeumann", ""), id="no-name"),
        pytest.param(PETER.replace("+ARpc", "+Ahpc"), id="kind-ecdsa"),
        pytest.param(PETER[:-4], id="key-cut-short"),
        pytest.param(PETER[:-1] + "X", id="second-spelling-of-base64"),
        pytest.param(
            "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr", id="private-key"
        ),
        pytest.param("a+00000000+", id="no-key"),
    ],
)
def test_what_is_no_verifier_key_is_refused(text):
    """signed-note: a key is its name, id and kind; and a wrong file is not quoted back."""
    with pytest.raises(ValueError) as caught:
        parse_vkeys(text)

    assert "AYEKFALV" not in str(caught.value)
    assert len(str(caught.value)) < 100


def test_keys_are_read_from_a_file_with_comments():
    """Ours: both keys of a log, a witness, a comment, an empty line, one of them twice."""
    plain, quantum = KEYS.public
    text = f"# the log\n{plain}\n{quantum}\n\n  {PETER}\n{PETER}\r\n"

    assert (plain, quantum, *parse_vkeys(PETER)) == parse_vkeys(text)
    assert 1313 == len(b64decode(str(quantum).split("+", 2)[2]))


def test_two_keys_of_one_name_and_id_are_refused(monkeypatch):
    """signed-note: four bytes collide when somebody wants them to."""
    other = VerifierKey("PeterNeumann", 1, bytes(32))
    monkeypatch.setattr(VerifierKey, "id", property(lambda _: bytes(4)))
    lines = [str(other), str(VerifierKey("PeterNeumann", 1, bytes([1] * 32)))]

    with pytest.raises(ValueError, match="line 2 has the name and id of another key"):
        parse_vkeys("\n".join(lines))


def test_private_keys_are_not_in_the_repr():
    """Ours: a value that holds a secret is printed without it."""
    assert repr(KEYS) == f"SigningKeys(name='{NAME}')"
    assert b64encode(bytes(32)).decode() not in repr(KEYS)
