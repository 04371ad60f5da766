"""Records in plain, for whoever may read the database and holds the audit key."""

from base64 import b64decode
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA

from broker.audit.query import CannotRead, reason_of
from broker.audit.vault import Unreadable, Vault, open_personal
from broker.db.durability import NotDurable
from broker.db.engine import DATABASE_ERRORS, Database

SEALED: Final[Mapping[str, Any]] = {"sealed": True}  # nobody has given the audit key
ERASED: Final[Mapping[str, Any]] = {"erased": True}  # a key of one of its persons is gone
_HELD: Final = 8192  # keys
_FIND: Final = text(
    "SELECT id, issuer, person, wrapped FROM audit_person_key WHERE id = ANY(:ids)"
).bindparams(bindparam("ids", type_=ARRAY(BYTEA)))


class RecordReader:
    """Opens records; without a vault, says that they are sealed."""

    def __init__(self, database: Database, vault: Vault | None) -> None:
        self.database = database
        self._vault = vault
        self._keys: OrderedDict[bytes, bytes] = OrderedDict()

    async def open(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record with ``personal`` in plain, ``SEALED`` or ``ERASED``."""
        return (await self.open_all([record]))[0]

    async def open_all(self, records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return several, with one look for their keys. Raises ``CannotRead``."""
        wanted = {one for record in records for one in _ids(record)}
        if self._vault is not None:
            await self._load(self._vault, wanted - self._keys.keys())
        return [self._opened(record) for record in records]

    def _opened(self, record: Mapping[str, Any]) -> dict[str, Any]:
        sealed = record.get("personal")
        if not isinstance(sealed, str):
            return dict(record)  # version 1, or nothing in it is anybody's
        if self._vault is None:
            return {**record, "personal": dict(SEALED)}
        keys = [self._keys[one] for one in _ids(record) if one in self._keys]
        if len(keys) != len(record.get("persons") or ()):
            return {**record, "personal": dict(ERASED)}
        try:
            return {**record, "personal": open_personal(sealed, record["id"], keys)}
        except Unreadable as error:
            raise CannotRead(str(error)) from None

    async def _load(self, vault: Vault, ids: Iterable[bytes]) -> None:
        wanted = list(ids)
        if not wanted:
            return
        try:
            async with self.database.engine.connect() as connection:
                rows = (await connection.execute(_FIND, {"ids": wanted})).all()
        except (NotDurable, *DATABASE_ERRORS) as error:
            raise CannotRead(reason_of(error)) from error
        try:
            for row in rows:
                self._keys[row.id] = vault.unwrap(row.id, row.issuer, row.person, row.wrapped)
        except Unreadable as error:
            raise CannotRead(f"audit.key_file: {error}; name the one that brokers use") from None
        # Those of this call are the newest, and stay.
        while len(self._keys) > max(_HELD, len(wanted)):
            self._keys.popitem(last=False)


def _ids(record: Mapping[str, Any]) -> list[bytes]:
    persons = record.get("persons")
    if not isinstance(persons, list):
        return []
    try:
        return [b64decode(one, validate=True) for one in persons]
    except (ValueError, TypeError):
        return []
