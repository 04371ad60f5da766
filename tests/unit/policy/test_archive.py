"""A bundle archive is files below a root, and nothing that could be anywhere else."""

import gzip
import io
import tarfile

import pytest

from broker.policy.archive import MAX_ARCHIVE, ArchiveInvalid, pack, unpack
from broker.policy.snapshot import MAX_FILES

GOOD = {"data.json": b"{}", "a/b.rego": b"package a\n"}


def packed(*members: tarfile.TarInfo, content: bytes = b"") -> bytes:
    """An archive of these members, whatever they are."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


def member(name: str, type: bytes = tarfile.REGTYPE, **attributes: object) -> tarfile.TarInfo:  # noqa: A002 — tar's
    """A member with these attributes."""
    made = tarfile.TarInfo(name)
    made.type = type
    for attribute, value in attributes.items():
        setattr(made, attribute, value)
    return made


def test_what_was_packed_comes_out_again():
    """Names and bytes are kept, and the same files are the same archive."""
    assert GOOD == unpack(pack(GOOD))
    assert pack(GOOD) == pack(dict(reversed(GOOD.items())))


@pytest.mark.parametrize(
    "name", ["/data.json", "./data.json", "data.json"], ids=["as-opa", "as-tar", "plain"]
)
def test_the_root_may_be_written_in_three_ways(name):
    """``opa`` and ``tar`` name the same file differently."""
    assert {"data.json": b""} == unpack(packed(member("./", tarfile.DIRTYPE), member(name)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(packed(member("../data.json")), "below its root", id="parent"),
        pytest.param(packed(member("a/../../data.json")), "below its root", id="parent-inside"),
        pytest.param(packed(member("//etc/passwd")), "below its root", id="absolute"),
        pytest.param(packed(member("a\\b.rego")), "below its root", id="backslash"),
        pytest.param(packed(member("a\nb.rego")), "below its root", id="control-character"),
        pytest.param(
            packed(member("data.json", tarfile.SYMTYPE, linkname="/etc/passwd")),
            "no regular file",
            id="symbolic-link",
        ),
        pytest.param(
            packed(member("data.json", tarfile.LNKTYPE, linkname="policy.wasm")),
            "no regular file",
            id="hard-link",
        ),
        pytest.param(packed(member("data.json", tarfile.FIFOTYPE)), "no regular file", id="pipe"),
        pytest.param(packed(member("data.json", tarfile.CHRTYPE)), "no regular file", id="device"),
        pytest.param(
            packed(member("data.json"), member("/data.json")), "is there twice", id="repeated"
        ),
        pytest.param(
            packed(*(member(f"{number}.rego") for number in range(MAX_FILES + 2))),
            f"more than {MAX_FILES} files",
            id="too-many",
        ),
        pytest.param(
            gzip.compress(b"\0" * (MAX_ARCHIVE + 1)), "larger than", id="too-large-unpacked"
        ),
        pytest.param(b"\0" * (MAX_ARCHIVE + 1), "larger than", id="too-large-packed"),
        pytest.param(pack(GOOD)[:-9], "end-of-stream", id="cut-off"),
        pytest.param(pack(GOOD) + b"more", "Not a gzipped", id="something-behind"),
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"PK\3\4", "Not a gzipped", id="zip"),
    ],
)
def test_what_is_no_plain_archive_is_refused(content, said):
    """Before any of it is used, with a sentence about what is wrong."""
    with pytest.raises(ArchiveInvalid, match=said):
        unpack(content)


def test_a_size_that_is_only_claimed_is_refused():
    """Attack: a sparse file of some bytes, which unpacks to gigabytes of zeros in memory."""
    header = bytearray(tarfile.TarInfo("data.json").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = b"77777777777\0"  # its size once unpacked: 8 GiB
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    content = gzip.compress(bytes(header) + b"\0" * 1024)

    with pytest.raises(ArchiveInvalid, match="no regular file"):
        unpack(content)


def test_a_name_that_is_not_utf_8_is_refused():
    """Two readers would call it differently."""
    header = bytearray(tarfile.TarInfo("data.json").tobuf(tarfile.USTAR_FORMAT))
    header[0:2] = b"\xff\xfe"
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)

    with pytest.raises(ArchiveInvalid):
        unpack(gzip.compress(bytes(header) + b"\0" * 1024))
