"""Records in plain, for whoever may read the database and holds the audit key.

Keys are looked up for each lot of records and not kept: what was destroyed opens nothing more,
also for who reads for weeks.
"""

from base64 import b64decode
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import orjson
from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA

from broker.audit.query import CannotRead, reason_of
from broker.audit.vault import Unreadable, Vault, open_personal
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

SEALED: Final[Mapping[str, Any]] = {"sealed": True}  # nobody has given the audit key
ERASED: Final[Mapping[str, Any]] = {"erased": True}  # a key of one of its persons is gone
UNREADABLE: Final[Mapping[str, Any]] = {"unreadable": True}  # changed, or of another audit key
_FIND: Final = text(
    "SELECT id, issuer, person, wrapped FROM audit_person_key WHERE id = ANY(:ids)"
).bindparams(bindparam("ids", type_=ARRAY(BYTEA)))

_FEW: Final = 20  # records
_LOT: Final = 500  # records
# By id, which carries the time: there is an index for that on every partition.
_NEWEST: Final = text("SELECT record FROM audit_event ORDER BY id DESC LIMIT :limit")

Keys = Mapping[bytes, bytes | None]  # by id, those that are there; None: it does not open


class OtherAuditKey(CannotRead):
    """Nothing on record opens with the audit key that was given."""


class RecordReader:
    """Opens records; without a vault, says that they are sealed."""

    def __init__(self, database: Database, vault: Vault | None) -> None:
        self.database = database
        self._vault = vault
        self._fits = False  # whether this audit key has opened anything here

    async def open(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record with ``personal`` in plain, or what keeps it from that."""
        return (await self.open_all([record]))[0]

    async def open_all(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return several, with one look for their keys.

        One that does not open is ``UNREADABLE`` and keeps nobody from the others. Raises
        ``CannotRead``, and ``OtherAuditKey`` where the audit key has opened none so far.
        """
        if self._vault is None:
            return [
                _but(record, SEALED) if _is_sealed(record) else dict(record) for record in records
            ]
        keys = await self._load(self._vault, {one for record in records for one in _ids(record)})
        return [_opened(record, keys) for record in records]

    async def open_each(self, records: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
        """Yield each of many records, opened by the lot. Raises as ``open_all``."""
        lot: list[dict[str, Any]] = []
        async for record in records:
            lot.append(orjson.loads(record))
            if len(lot) == _LOT:
                for opened in await self.open_all(lot):
                    yield opened
                lot = []
        for opened in await self.open_all(lot):
            yield opened

    async def open_newest(self, limit: int) -> list[dict[str, Any]]:
        """Return the newest records, opened as far as they can be. Raises as ``open_all``."""
        try:
            async with self.database.engine.connect() as connection:
                rows = (await connection.execute(_NEWEST, {"limit": limit})).scalars().all()
            records = [orjson.loads(row) for row in rows]
        except (NotDurable, *DATABASE_ERRORS) as error:
            raise CannotRead(reason_of(error)) from error
        except ValueError as error:
            raise CannotRead("a record is no JSON") from error
        return await self.open_all(records)

    async def require_fit(self) -> None:
        """Raise ``OtherAuditKey`` if this audit key, where there is one, opens no newest row.

        By another one everybody has another pseudonym, so who is looked for is never found.
        """
        if self._vault is not None:
            await self.open_newest(_FEW)

    async def _load(self, vault: Vault, ids: set[bytes]) -> Keys:
        if not ids:
            return {}
        try:
            async with self.database.engine.connect() as connection:
                rows = (await connection.execute(_FIND, {"ids": list(ids)})).all()
        except (NotDurable, *DATABASE_ERRORS) as error:
            raise CannotRead(reason_of(error)) from error
        keys: dict[bytes, bytes | None] = dict.fromkeys(row.id for row in rows)
        for row in rows:
            try:
                keys[row.id] = vault.unwrap(row.id, row.issuer, row.person, row.wrapped)
            except Unreadable:
                continue
        self._fits = self._fits or any(keys.values())
        if keys and not self._fits:
            raise OtherAuditKey(
                "audit.key_file: it does not open what is on record; name the one that brokers use"
            )
        return keys


def read_record(raw: str) -> dict[str, Any]:
    """Return a stored record; one that is none, as nobody of ours wrote it, is ``UNREADABLE``.

    So a row that somebody put there keeps nobody from seeing the others.
    """
    try:
        record = orjson.loads(raw)
    except ValueError:
        record = None
    return record if isinstance(record, dict) else {"personal": dict(UNREADABLE)}


def _opened(record: Mapping[str, Any], keys: Keys) -> dict[str, Any]:
    if not _is_sealed(record):
        return dict(record)
    ids = _ids(record)
    if any(one not in keys for one in ids):
        return _but(record, ERASED)
    found = [key for one in ids if (key := keys[one]) is not None]
    # What is sealed under no key is none of ours: anyone could have made it.
    if not found or len(found) != len(record["persons"]):
        return _but(record, UNREADABLE)
    try:
        return _but(record, open_personal(record["personal"], str(record.get("id")), found))
    except Unreadable:
        return _but(record, UNREADABLE)


def _is_sealed(record: Mapping[str, Any]) -> bool:
    # Else it is of version 1, or nothing in it is anybody's.
    return isinstance(record.get("personal"), str)


def _but(record: Mapping[str, Any], personal: Mapping[str, Any]) -> dict[str, Any]:
    return {**record, "personal": dict(personal)}


def _ids(record: Mapping[str, Any]) -> list[bytes]:
    persons = record.get("persons")
    if not isinstance(persons, list):
        return []
    try:
        return [b64decode(one, validate=True) for one in persons]
    except (ValueError, TypeError):
        return []
