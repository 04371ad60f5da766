"""A small log in memory, signed, and proofs of its rows."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from broker.audit.batch import Batch, batch_statement, seal_batch
from broker.audit.checkpoint import Checkpoint, sign_checkpoint
from broker.audit.checkpoint_key import derive_keys
from broker.audit.merkle import inclusion_path, leaf_hash, merkle_root
from broker.audit.proof import Proof, short_checkpoint

ORIGIN = "broker.example.com/audit"
AT = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
KEYS = derive_keys(b"c" * 32, ORIGIN)


@dataclass(frozen=True)
class Log:
    """Batches of one writer, and the checkpoint over all of them."""

    batches: tuple[Batch, ...]
    records: tuple[tuple[bytes, ...], ...]  # of each batch
    note: str

    def prove(self, position: int, index: int, *, with_record: bool = True, short: bool = True):
        """The proof of row ``index`` of a batch."""
        batch, records = self.batches[position], self.records[position]
        leaves = [leaf_hash(record) for record in records]
        return Proof(
            batch=batch,
            seq=batch.first_seq + index,
            leaf=leaves[index],
            inner=tuple(inclusion_path(leaves, index)),
            position=position,
            path=tuple(inclusion_path(entries(self.batches), position)),
            checkpoint=short_checkpoint(self.note) if short else self.note,
            record=records[index] if with_record else None,
        )


def entries(batches):
    """The leaves of the log."""
    return [leaf_hash(batch_statement(batch)) for batch in batches]


def build_log(sizes=(3, 1, 5, 2, 7), *, keys=KEYS, origin=ORIGIN) -> Log:
    """A log with a batch of each of these sizes."""
    batches: list[Batch] = []
    records = []
    for number, size in enumerate(sizes):
        rows = tuple(b'{"id":"%d-%d"}' % (number, row) for row in range(size))
        before = batches[-1] if batches else None
        leaves = [leaf_hash(row) for row in rows]
        batches.append(seal_batch(UUID(int=7), before, leaves, AT))
        records.append(rows)
    head = Checkpoint(origin, len(batches), merkle_root(entries(batches)))
    return Log(tuple(batches), tuple(records), sign_checkpoint(head, keys, AT))
