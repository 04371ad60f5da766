"""Proofs and exports of a trail of which a day was removed: what is left is as good as before."""

import asyncio
import io
import json
from hashlib import sha256

import pytest
from typer.testing import CliRunner

from broker.audit.export.native import (
    ExportedBatch,
    ExportedTombstone,
    read_native,
)
from broker.audit.merkle import leaf_hash, merkle_root
from broker.audit.removed import Removed
from broker.audit.tombstone import parse_tombstone
from broker.audit.tombstone_note import verify_tombstone
from broker.cli.audit import app
from tests.fixtures.postgres import execute, one_more
from tests.retaining import FIRST, MIDNIGHT, retention, write_days
from tests.sealing import KEYS


async def write(made, folder):
    await write_days(made)
    async with retention(made, folder) as work:
        await work.retain(FIRST)


@pytest.fixture(scope="module")
def holed(postgres, template, tmp_path_factory):
    """Two days, of which the first is gone; a batch had rows in both."""
    with one_more(postgres, template.name) as made:
        asyncio.run(write(made, tmp_path_factory.mktemp("kept")))
        yield made


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def audit(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_an_export_brings_the_tombstones_of_its_holes(holed, folder):
    """So that it verifies on its own: the leaves that are gone stand in what is signed."""
    answer = audit(
        *("export", "--format", "native", "--since", MIDNIGHT.isoformat(), "--out", "out"),
        *("--database-url", holed.auditor_url),
    )
    lines = list(read_native(io.BytesIO((folder / "out").read_bytes())))
    found = [line for line in lines if isinstance(line, ExportedTombstone)]
    removed = Removed()
    for one in found:
        tombstone = parse_tombstone(json.loads(one.record))
        verify_tombstone(tombstone, KEYS.public)
        removed.add(tombstone)
    short = [
        at
        for at, line in enumerate(lines)
        if isinstance(line, ExportedBatch)
        and line.rows <= line.batch.last_seq - line.batch.first_seq
    ]
    cut = [at for at in short if lines[at].rows]

    assert 0 == answer.exit_code, answer.stderr
    assert lines.index(found[0]) < short[0]
    assert len(found) == len({one.record for one in found})
    assert 1 == len(cut)
    for at in short:
        batch, rows = lines[at].batch, lines[at + 1 : at + 1 + lines[at].rows]
        leaves = dict(removed.leaves(batch.writer, batch.number))
        leaves |= {row.seq: leaf_hash(row.record) for row in rows}
        if at in cut:
            assert batch.root == merkle_root([leaves[seq] for seq in sorted(leaves)])
        else:
            assert removed.covers_all(batch.writer, batch.first_seq, batch.last_seq)


def test_an_export_with_holes_verifies_on_its_own(holed, folder):
    """What was removed under a tombstone is no damage; the same file without it is damaged."""
    audit(
        *("export", "--format", "native", "--out", "out"),
        *("--database-url", holed.auditor_url),
    )
    (folder / "audit.pub").write_text("\n".join(map(str, KEYS.public)))
    verify = ("verify", "--export", "out", "--public-key", "audit.pub")
    intact = audit(*verify)
    lines = (folder / "out").read_bytes().splitlines(keepends=True)[:-1]
    kept = b"".join(line for line in lines if not line.startswith(b'{"tombstone":'))
    footer = json.loads((folder / "out").read_bytes().splitlines()[-1])
    footer["sha256"] = sha256(kept).hexdigest()
    (folder / "out").write_bytes(kept + json.dumps(footer).encode() + b"\n")
    damaged = audit(*verify)

    assert 0 == intact.exit_code, intact.output
    assert 1 == damaged.exit_code, damaged.output


def test_a_row_beside_a_removed_one_is_still_proven(holed, folder):
    """A batch that midnight cut: the tombstone has the leaves that its path needs."""
    rows = execute(
        holed.auditor_url,
        f"SELECT id FROM audit_event WHERE at >= '{MIDNIGHT}' AND at < '2025-01-02 00:00:01Z'",
    )
    (folder / "audit.pub").write_text("\n".join(map(str, KEYS.public)))
    made = audit("prove", rows[0]["id"], "--out", "row", "--database-url", holed.auditor_url)
    checked = audit("check-proof", "row", "--public-key", "audit.pub")

    assert 5 == len(rows)
    assert (0, 0) == (made.exit_code, checked.exit_code), made.stderr + checked.output
