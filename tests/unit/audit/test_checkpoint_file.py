"""A file of checkpoints: what is read of it, whatever a crash or a reader's moment cut short."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.audit.checkpoint import Checkpoint, sign_checkpoint
from broker.audit.checkpoint_file import find_last, read_checkpoints, render_entries
from tests.sealing import KEYS, ORIGIN

AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
NOTES = [sign_checkpoint(Checkpoint(ORIGIN, size, bytes(32)), KEYS, AT) for size in (1, 2, 3)]
FILE = render_entries(NOTES, b"")


def read(file: bytes) -> list[str]:
    return [note for _, note in read_checkpoints(file.splitlines(keepends=True))]


def test_a_file_is_read_as_it_was_written():
    """Ours: notes as they are, each with an empty line behind it, and where each begins."""
    found = list(read_checkpoints(FILE.splitlines(keepends=True)))

    assert "".join(f"{note}\n" for note in NOTES).encode() == FILE
    assert [(1, NOTES[0]), (8, NOTES[1]), (15, NOTES[2])] == found
    assert NOTES[2] == find_last(FILE, whole=True)
    assert FILE == render_entries(NOTES[:1], b"") + render_entries(NOTES[1:], FILE[:100] + b"\n\n")


@settings(max_examples=200)
@given(st.integers(0, len(FILE)))
def test_wherever_a_crash_cuts_it_the_file_goes_on(length):
    """Ours: what was whole stays, what was cut is a comment, and what comes then is read."""
    cut = FILE[:length]
    whole = read(cut)
    last = find_last(cut, whole=True) if whole else None
    after = NOTES.index(last) + 1 if last else 0

    mended = cut + render_entries(NOTES[after:], cut)

    assert NOTES == read(mended)
    assert whole == NOTES[:after]
    assert NOTES[2] == find_last(mended, whole=True)


@settings(max_examples=100)
@given(st.integers(0, len(FILE)), st.integers(0, len(FILE)))
def test_it_is_cut_twice_and_goes_on(first, second):
    """Ours: also where the comment that mends a cut is cut itself."""
    file = FILE[:first]
    for length in (second, None):
        file += render_entries(NOTES, file)[:length]

    assert NOTES == read(file)[-3:]


@settings(max_examples=100)
@given(st.integers(0, len(FILE)))
def test_the_end_of_a_long_file_is_enough(length):
    """Ours: the last note is found without reading what is before it."""
    tail = FILE[len(FILE) - length :]
    if length > len(NOTES[2]) + 3:
        assert NOTES[2] == find_last(tail, whole=length == len(FILE))


def test_people_may_write_comments():
    """Ours: what happened to the file can be said in it."""
    file = b"# begun after the restore of 2026-11-26\n\n" + FILE + b"# put away\n\n"

    assert NOTES == read(file)
    assert NOTES[2] == find_last(file, whole=True)
    assert NOTES == read(file + render_entries([], file))
    assert find_last(b"# nothing yet\n\n", whole=True) is None


@pytest.mark.parametrize(
    ("file", "said"),
    [
        pytest.param(b"\n".join([b"hello", b"", b"world", b"", b""]), "line 1", id="another-file"),
        pytest.param(b"\xe2\x80\x94 a AAAAAAAA\n\n", "line 1", id="signatures-of-nothing"),
        pytest.param(b"\xff\n\n\xff\n\n", "line 1", id="not-utf-8"),
        pytest.param(b"a" * 20_000 + b"\n", "line 1", id="line-too-long"),
        pytest.param(b"a\n" * 100, "line 66", id="block-too-long"),
    ],
)
def test_what_is_no_file_of_checkpoints_is_refused(file, said):
    """Ours: by the line, and not by reading something into it."""
    with pytest.raises(ValueError, match=said):
        read(file)


@pytest.mark.parametrize("whole", [True, False])
def test_the_end_of_another_kind_of_file_is_refused(whole):
    """Ours: checkpoints are not appended to somebody's log by a slip in the configuration."""
    with pytest.raises(ValueError, match="no checkpoints"):
        find_last(b"a line\n\nanother\n\n", whole=whole)
