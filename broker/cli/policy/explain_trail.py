"""The row of the trail that ``broker policy explain`` is asked about; the look is on record."""

from dataclasses import dataclass, field
from typing import Any

from broker.audit.query import Filter, find_rows
from broker.audit.reader import RecordReader, read_record
from broker.audit.vault import Vault
from broker.cli.audit.source import Unclear, open_reader, record_look
from broker.db.engine import Database
from broker.policy.store import BundleUnknown, PolicyLedger, PolicyLedgerUnavailable
from broker.workbench.explain.record import NotExplainable, Recorded, read_recorded


@dataclass(frozen=True, slots=True)
class Found:
    """A row, and the policy that decided it where the rollout has kept that."""

    recorded: Recorded
    kept: bytes | None = field(default=None, repr=False)  # its bundle, as a file


async def find_recorded(
    url: str, vault: Vault | None, *, row: str | None, request_id: str | None
) -> Found:
    """Return what is on record under the id of a row, or else of a request.

    Who looks is recorded before. Raises ``Unclear`` and ``CannotRead``.
    """
    asked: dict[str, Any] = {"names": vault is not None}
    asked |= {
        name: value
        for name, value in (("row", row), ("request_id", request_id))
        if value is not None
    }
    async with open_reader(url) as database:
        await record_look(database, "audit.explain", asked, vault)
        for wanted in (
            None if row is None else Filter(jti=row),
            None if request_id is None else Filter(request_id=request_id),
        ):
            if wanted is None:
                continue
            # Of the rows of one request the newest: what was answered.
            async for found in find_rows(database, wanted, limit=1):
                reader = RecordReader(database, vault)
                recorded = _read((await reader.open_all([read_record(found["record"])]))[0])
                return Found(recorded, await _find_kept(database, recorded))
    raise Unclear("there is no row with this id, and no request had it")


async def _find_kept(database: Database, recorded: Recorded) -> bytes | None:
    if recorded.past is None:
        return None
    try:
        return await PolicyLedger(database).load_bundle(recorded.past.revision)
    except (BundleUnknown, PolicyLedgerUnavailable):
        return None  # then it is told that another policy explains it


def _read(record: dict[str, Any]) -> Recorded:
    try:
        return read_recorded(record)
    except NotExplainable as error:
        raise Unclear(f"the row cannot be explained: {error}") from None
