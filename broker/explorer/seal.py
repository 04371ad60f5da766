"""Whether one row is unchanged and under a checkpoint, looked at while its page is made."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import orjson

from broker.audit.checkpoint import CheckpointRejected, parse_checkpoint
from broker.audit.event import COLUMNS, render_time
from broker.audit.merkle import leaf_hash
from broker.audit.proof import Proof, ProofRejected, check_proof
from broker.audit.proof_lookup import NotProvable, load_proof
from broker.audit.proof_source import NotSealed
from broker.audit.query import CannotRead
from broker.audit.verify.report import Fault
from broker.audit.verify.rows import find_false_column
from broker.explorer.sources import Sources


class State(StrEnum):
    """What was found."""

    PROVEN = "proven"  # under a checkpoint that a given key has signed
    SEALED = "sealed"  # likewise, but nobody has given a key
    WAITING = "waiting"  # as it was hashed, and no checkpoint is over it yet
    BROKEN = "broken"
    UNKNOWN = "unknown"  # it could not be looked at


@dataclass(frozen=True, slots=True)
class Seal:
    """What was found, and by what."""

    state: State
    said: str = ""
    proof: Proof | None = None

    @property
    def size(self) -> int:
        """Of the checkpoint, in batches; 0 if there is none."""
        return 0 if self.proof is None else parse_checkpoint(self.proof.checkpoint).size


async def find_seal(sources: Sources, row: Mapping[str, Any]) -> Seal:
    """Return how a row stands in the log: its leaf, its columns, its batch and its checkpoint."""
    fault = find_fault(row)
    if fault is not None:
        return Seal(State.BROKEN, fault)
    try:
        proof = await load_proof(sources.reading, UUID(str(row["id"])))
        if not sources.keys:
            return Seal(State.SEALED, proof=proof)
        check_proof(proof, sources.keys)
    except NotSealed as error:
        return Seal(State.WAITING, str(error))
    except (NotProvable, ProofRejected, CheckpointRejected) as error:
        return Seal(State.BROKEN, str(error))
    except CannotRead as error:
        return Seal(State.UNKNOWN, str(error))
    return Seal(State.PROVEN, proof=proof)


def find_fault(row: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a row by itself: its leaf, or one of its columns."""
    record = row["record"].encode()
    if leaf_hash(record) != row["leaf"]:
        return Fault.RECORD
    found = [_as_extract(name, row[name]) for name in COLUMNS]
    try:
        orjson.loads(record)
    except ValueError:
        return Fault.RECORD
    column = find_false_column(record, found)
    return None if column is None else f"{Fault.COLUMN} ({column})"


def _as_extract(name: str, value: Any) -> Any:  # noqa: ANN401 — of any column
    match name:
        case "at":
            return render_time(value)
        case "id":
            return str(value)
    return value
