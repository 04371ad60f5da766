"""Private keys at rest: they open as what they are under the one key, and as nothing else."""

from base64 import b64decode, b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest

from broker.errors import ConfigurationError
from broker.jose.sign import LocalKey, generate_signing_key
from broker.keys.envelope import Envelope, Unsealable, load_kek, load_or_make_kek
from broker.keys.provider import SealedKey, StoredKey
from broker.keys.rotation import KeyRecord, KeyState

KEK = bytes(range(32))
ENVELOPE = Envelope(KEK)


@cache
def signing_key(algorithm: str = "ES256") -> LocalKey:
    return generate_signing_key(algorithm)


@pytest.mark.parametrize("algorithm", ["ES256", "Ed25519", "RS256"])
def test_what_was_sealed_opens_as_the_same_key(algorithm):
    """Of each algorithm that tokens are signed with."""
    key = signing_key(algorithm)
    opened = ENVELOPE.open(ENVELOPE.seal(key), key.kid, algorithm)

    assert (key, key.to_der()) == (opened, opened.to_der())


def test_no_two_seals_are_alike():
    """Each has a data key and a nonce of its own."""
    seals = [ENVELOPE.seal(signing_key()) for _ in range(20)]

    assert 20 == len({seal.wrapped_key for seal in seals})
    assert 20 == len({seal.wrapped_dek for seal in seals})


@pytest.mark.row("OP-03")
def test_nothing_of_the_key_is_in_what_is_stored_or_printed():
    """Neither in the clear in the row, nor in any repr."""
    key = signing_key()
    sealed = ENVELOPE.seal(key)
    secret = key.to_der()[-32:]

    assert secret not in sealed.wrapped_key + sealed.wrapped_dek
    assert "SealedKey()" == repr(sealed)
    assert "Envelope" in repr(ENVELOPE)
    assert not any(text in repr(ENVELOPE) for text in (KEK.hex(), b64encode(KEK).decode()))
    assert "_key" not in repr(key)


@pytest.mark.parametrize("part", ["wrapped_key", "wrapped_dek"])
def test_every_byte_of_it_counts(part):
    """Version, nonce, ciphertext and tag: with any of them changed it does not open."""
    key = signing_key()
    sealed = ENVELOPE.seal(key)
    whole = getattr(sealed, part)
    for index in range(len(whole)):
        changed = bytearray(whole)
        changed[index] ^= 1
        with pytest.raises(Unsealable):
            ENVELOPE.open(replace(sealed, **{part: bytes(changed)}), key.kid, key.algorithm)


@pytest.mark.parametrize("part", ["wrapped_key", "wrapped_dek"])
@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda whole: whole[:0], id="empty"),
        pytest.param(lambda whole: whole[:1], id="version-only"),
        pytest.param(lambda whole: whole[:13], id="nothing-after-the-nonce"),
        pytest.param(lambda whole: whole[:-1], id="cut-short"),
        pytest.param(lambda whole: whole + b"\0", id="a-byte-more"),
        pytest.param(lambda whole: b"\x02" + whole[1:], id="another-version"),
    ],
)
def test_what_is_not_whole_does_not_open(part, change):
    """An erased key is one of these."""
    key = signing_key()
    sealed = ENVELOPE.seal(key)
    with pytest.raises(Unsealable):
        ENVELOPE.open(
            replace(sealed, **{part: change(getattr(sealed, part))}), key.kid, key.algorithm
        )


def test_under_another_kek_nothing_opens():
    """And the message holds no key."""
    key = signing_key()
    with pytest.raises(Unsealable) as caught:
        Envelope(bytes(32)).open(ENVELOPE.seal(key), key.kid, key.algorithm)

    assert "a signing key does not open under this kek" == str(caught.value)


def test_a_sealed_key_moved_to_another_row_does_not_open():
    """Associated data ties it to its ``kid`` and its algorithm, and each half to the other."""
    one, other = signing_key(), generate_signing_key("ES256")
    first, second = ENVELOPE.seal(one), ENVELOPE.seal(other)
    moved = [
        (first, other.kid, "ES256"),
        (first, one.kid, "RS256"),
        (SealedKey(first.wrapped_key, second.wrapped_dek), one.kid, "ES256"),
        (SealedKey(second.wrapped_key, first.wrapped_dek), one.kid, "ES256"),
        (SealedKey(first.wrapped_dek, first.wrapped_key), one.kid, "ES256"),
    ]
    for sealed, kid, algorithm in moved:
        with pytest.raises(Unsealable):
            ENVELOPE.open(sealed, kid, algorithm)


def test_a_key_that_was_sealed_under_a_false_name_does_not_open():
    """The thumbprint is computed from what came out, and not believed."""
    false = replace(signing_key(), kid="somebody-else")
    with pytest.raises(Unsealable, match="another thumbprint"):
        ENVELOPE.open(ENVELOPE.seal(false), "somebody-else", "ES256")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "does not exist; make one with: openssl rand -base64 32", id="missing"),
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b" \n", "is empty", id="blank"),
        pytest.param(b"not base64!", "is not base64", id="not-base64"),
        pytest.param(b64encode(bytes(32)).rstrip(b"="), "is not base64", id="no-padding"),
        pytest.param(b64encode(bytes(16)), "holds 16 bytes, and 32 are needed", id="too-short"),
        pytest.param(b64encode(bytes(33)), "holds 33 bytes, and 32 are needed", id="too-long"),
        pytest.param(b"A" * 5000, "bytes, and 32 are needed", id="oversized"),
        pytest.param(b"\xff" * 40, "is not base64", id="binary"),
    ],
)
def test_a_kek_that_cannot_be_one_is_refused_with_what_to_do(tmp_path, content, said):
    """The message names the setting and the file."""
    path = tmp_path / "kek"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    with pytest.raises(ConfigurationError) as caught:
        load_kek(path)

    assert str(caught.value).startswith(f"keys.kek_file: {path} ")
    assert said in str(caught.value)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o666])
def test_a_kek_that_everybody_can_reach_is_refused(tmp_path, mode):
    """A secret that others read is none; one that others write is theirs."""
    path = tmp_path / "kek"
    path.write_bytes(b64encode(KEK))
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=r"everybody can read .*; chmod 600 "):
        load_kek(path)


def test_a_folder_is_no_kek(tmp_path):
    """Whatever the system says about it, told in its words."""
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load_kek(tmp_path)


def test_a_kek_is_read_with_or_without_a_newline(tmp_path):
    """As ``openssl rand -base64 32`` writes it, for its group too."""
    path = tmp_path / "kek"
    path.write_bytes(b64encode(KEK) + b"\n")
    path.chmod(0o640)

    assert KEK == load_kek(path)


def test_a_kek_is_made_once_and_for_its_owner_only(tmp_path):
    """Of many that start at once, all read the same."""
    path = tmp_path / "made" / "kek"
    with ThreadPoolExecutor(8) as threads:
        keks = set(threads.map(lambda _: load_or_make_kek(path), range(32)))

    assert 1 == len(keks)
    assert 0o600 == path.stat().st_mode & 0o777
    assert keks == {b64decode(path.read_bytes())}
    assert [path] == list(path.parent.iterdir())


def row(key: LocalKey, sealed: SealedKey, *, minutes: int = 0) -> StoredKey:
    at = datetime(2026, 11, 25, tzinfo=UTC) + timedelta(minutes=minutes)
    return StoredKey(KeyRecord(key.kid, key.algorithm, KeyState.ACTIVE, 1, at), sealed)


NEW = Envelope(NEW_KEK := bytes(range(32, 64)))
BOTH = Envelope(NEW_KEK, KEK)


def test_with_two_keks_what_either_sealed_opens():
    """While one replaces the other, a replica that names both can open everything."""
    key = signing_key()

    for envelope in (ENVELOPE, NEW):
        assert key == BOTH.open(envelope.seal(key), key.kid, key.algorithm)


@pytest.mark.parametrize("under", [ENVELOPE, NEW], ids=["before", "after"])
def test_a_new_key_is_sealed_as_its_neighbours_are(under):
    """So replicas with one of the two files can open what a replica with both has made."""
    key, made = signing_key(), generate_signing_key("ES256")
    sealed = BOTH.seal(made, (row(key, under.seal(key)),))
    other = NEW if under is ENVELOPE else ENVELOPE

    assert made == under.open(sealed, made.kid, "ES256")
    with pytest.raises(Unsealable):
        other.open(sealed, made.kid, "ES256")


def test_the_newest_neighbour_decides():
    """Were there ever two: the next one follows whoever came last."""
    old, new, made = (generate_signing_key("ES256") for _ in range(3))
    beside = (row(new, NEW.seal(new), minutes=1), row(old, ENVELOPE.seal(old)))
    sealed = BOTH.seal(made, beside)

    assert made == NEW.open(sealed, made.kid, "ES256")


def test_no_key_is_made_beside_keys_that_do_not_open():
    """Who has those could not open the new one: a replica that was left behind makes none."""
    key = signing_key()
    with pytest.raises(Unsealable, match="none of the signing keys of today"):
        ENVELOPE.seal(generate_signing_key("ES256"), (row(key, NEW.seal(key)),))


def test_a_key_moves_under_the_new_kek_and_stays_the_same():
    """Only its data key is sealed anew, once; then there is nothing left to do."""
    key = signing_key()
    sealed = ENVELOPE.seal(key)
    moved = BOTH.rewrap(sealed, key.kid, key.algorithm)

    assert sealed.wrapped_key == moved.wrapped_key
    assert key == NEW.open(moved, key.kid, key.algorithm)
    assert BOTH.rewrap(moved, key.kid, key.algorithm) is None
    with pytest.raises(Unsealable):
        ENVELOPE.open(moved, key.kid, key.algorithm)


def test_a_key_that_opens_under_neither_is_not_moved():
    """Nor one whose own ciphertext was changed: what cannot be opened must not look well kept."""
    key = signing_key()
    sealed = ENVELOPE.seal(key)
    strange = Envelope(bytes(32)).seal(key)
    broken = replace(sealed, wrapped_key=sealed.wrapped_key[:-1])
    for bad in (strange, broken):
        with pytest.raises(Unsealable):
            BOTH.rewrap(bad, key.kid, key.algorithm)
