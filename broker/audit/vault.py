"""What identifies a person, encrypted before it is hashed. So it can be erased, and verifies still.

Each person has keys of its own, random, in ``audit_person_key``, wrapped under the audit key. The
member ``personal`` of a record is encrypted under the keys of all persons in it together: once one
of them is destroyed, it is gone. Outside of it a person is a pseudonym, a keyed hash of its
``sub``, so that rows of one person are found by whoever has the audit key and knows whom to look
for. A plain hash would not do: names can be guessed.

A process makes the keys that it needs and agrees with nobody about them. It uses one for five
minutes, then makes another; what it writes under a key that was destroyed meanwhile is erased too.

Who is a person: the subject and each actor unless our own issuer names it (that is a client), and
who administers, unless it is the broker. Of a row without any, the address that it came from is,
or each of the addresses that it counts; of IPv6 all addresses of a network are one.
"""

import hmac
import os
import time
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from broker.domain import source_network
from broker.errors import ConfigurationError
from broker.keys.envelope import load_kek, load_or_make_kek
from broker.settings import Settings, find_key_files

VERSION: Final = 2  # of the format of a record with a sealed ``personal``
PSEUDONYM: Final = "hmac:"
OPERATOR: Final = "operator"  # stands for the issuer of who administers
SOURCE: Final = "source"  # and of an address
LIFE: Final = 300.0  # seconds for which a process uses a key of a person
_BROKER: Final = "broker"  # administers by itself, and is nobody
_SETTING: Final = "audit.key_file"
_PSEUDONYM_BYTES: Final = 18
_ID_BYTES: Final = 16
_NONCE_BYTES: Final = 12  # NIST SP 800-38D §8.2.2, random: a key seals for minutes, not 2^32 times
_FORMAT: Final = b"\x01"
_JWS: Final = "eyJ"  # how a compact JWS begins: what scanners for secrets look for
_MOST: Final = 8192  # persons whose keys are held


class Unreadable(Exception):  # noqa: N818 — a state, shown to who reads
    """What is sealed does not open: it was changed, or is of another audit key."""


@dataclass(slots=True)
class PersonKey:
    """A key of one person. ``stored`` once a batch with it is known to be durable."""

    id: bytes
    issuer: str
    person: str  # the pseudonym
    wrapped: bytes = field(repr=False)
    key: bytes = field(repr=False)
    alone: AESGCM = field(repr=False)  # seals a row that has no other person in it
    stored: bool = False


class Vault:
    """The audit key, and the keys of persons that this process uses just now."""

    def __init__(self, secret: bytes, *, issuer: str, monotonic: Callable[[], float]) -> None:
        """``secret``: the audit key, 32 bytes. ``issuer``: our own, which names no persons."""
        self._pseudonyms = _derive(secret, b"pseudonyms")
        self._wrapping = AESGCM(_derive(secret, b"person keys"))
        self._cursors = _derive(secret, b"cursors")
        self._issuer = issuer
        self._monotonic = monotonic
        self._keys: OrderedDict[tuple[str, str], tuple[float, PersonKey]] = OrderedDict()

    def __repr__(self) -> str:
        return f"Vault(persons={len(self._keys)})"

    @property
    def cursor_key(self) -> bytes:
        """What places in the pages of a query are signed with, for all who have the audit key."""
        return self._cursors

    def pseudonym(self, name: str) -> str:
        """Return what stands for the ``sub`` of a person; of any issuer, which stands beside it."""
        digest = hmac.digest(self._pseudonyms, name.encode(), "sha256")[:_PSEUDONYM_BYTES]
        return f"{PSEUDONYM}{urlsafe_b64encode(digest).decode()}"

    def person(self, issuer: str, name: str) -> str:
        """Return what keys of a person are stored under; of an address, those of its network."""
        return self.pseudonym(source_network(name) if issuer == SOURCE else name)

    def seal(self, record: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[PersonKey, ...]]:
        """Return the record with ``personal`` encrypted, and the keys that it takes to open it."""
        personal = record.get("personal")
        if personal is None:
            return {**record, "version": VERSION}, ()
        persons = {one: self._key(*one) for one in self._persons(record["kind"], personal)}
        keys = tuple(persons.values())
        plain = orjson.dumps(personal, option=orjson.OPT_SORT_KEYS)
        cipher = keys[0].alone if len(keys) == 1 else _cipher([key.key for key in keys])
        text = _seal(cipher, plain, record["id"])
        sealed = {
            **record,
            "version": VERSION,
            "personal": text,
            "persons": [b64encode(key.id).decode() for key in keys],
        }
        if "subject" in personal:
            subject = personal["subject"]
            sealed["subject"] = subject and _public(subject, persons)
        if "actors" in personal:
            sealed["actors"] = [_public(actor, persons) for actor in personal["actors"]]
        return sealed, keys

    def unwrap(self, id: bytes, issuer: str, person: str, wrapped: bytes) -> bytes:  # noqa: A002 — the column's name
        """Return a key of a person. Raises ``Unreadable``."""
        try:
            return self._wrapping.decrypt(
                wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], _owner(id, issuer, person)
            )
        except (InvalidTag, ValueError):
            raise Unreadable("a key of a person does not open under this audit key") from None

    def _persons(self, kind: str, personal: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return who is in a record, by issuer and name, each of them once. Nobody else says."""
        parties = [personal.get("subject"), *(personal.get("actors") or ())]
        persons = [
            (party["issuer"], party["subject"])
            for party in parties
            if party and party["issuer"] != self._issuer
        ]
        by = personal.get("by")
        if kind == "administration" and by != _BROKER:
            persons.append((OPERATOR, str(by)))
        if not persons:
            sources = personal.get("sources") or (personal.get("source") or "",)
            persons = [(SOURCE, str(source)) for source in sources]
        return persons

    def _key(self, issuer: str, name: str) -> PersonKey:
        now = self._monotonic()
        found = self._keys.get((issuer, name))
        if found is not None and now - found[0] < LIFE:
            self._keys.move_to_end((issuer, name))
            return found[1]
        person = self.person(issuer, name)
        id, key = _random_id(), os.urandom(32)  # noqa: A001 — the column's name
        nonce = os.urandom(_NONCE_BYTES)
        wrapped = nonce + self._wrapping.encrypt(nonce, key, _owner(id, issuer, person))
        made = PersonKey(id, issuer, person, wrapped, key, _cipher([key]))
        self._keys[issuer, name] = (now, made)
        self._keys.move_to_end((issuer, name))
        if len(self._keys) > _MOST:
            self._keys.popitem(last=False)
        return made


def _public(
    principal: Mapping[str, str], persons: Mapping[tuple[str, str], PersonKey]
) -> dict[str, str]:
    issuer, name = principal["issuer"], principal["subject"]
    key = persons.get((issuer, name))
    return {"issuer": issuer, "subject": name if key is None else key.person}


def open_personal(sealed: str, id: str, keys: Sequence[bytes]) -> dict[str, Any]:  # noqa: A002 — the record's name for it
    """Return ``personal`` of the record with this id; ``keys`` in the order of ``persons``.

    Raises ``Unreadable``.
    """
    try:
        raw = b64decode(sealed, validate=True)
        if raw[:1] != _FORMAT:
            raise Unreadable("a record is sealed in a way that this version does not know")
        nonce, data = raw[1 : 1 + _NONCE_BYTES], raw[1 + _NONCE_BYTES :]
        plain = _cipher(keys).decrypt(nonce, data, _context(id))
        opened = orjson.loads(plain)
    except (InvalidTag, ValueError):
        raise Unreadable("a record does not open with the keys of its persons") from None
    return opened if isinstance(opened, dict) else {}


def load_vault(settings: Settings) -> Vault:
    """Return the vault of a configuration. Raises ``ConfigurationError``."""
    path = find_key_files(settings).audit
    if path is None:
        raise ConfigurationError(f"{_SETTING}: is needed here")
    secret = load_kek(path, setting=_SETTING)
    return Vault(secret, issuer=settings.issuer, monotonic=time.monotonic)


def make_audit_key(settings: Settings) -> None:
    """Make the audit key beside an embedded database, if it is not there."""
    path = find_key_files(settings).audit
    if path is not None:
        load_or_make_kek(path, setting=_SETTING)


def _seal(cipher: AESGCM, plain: bytes, id: str) -> str:  # noqa: A002 — the record's name for it
    """Return ``plain`` encrypted, in base64 in which nobody who searches for tokens finds one."""
    context = _context(id)
    while True:
        nonce = os.urandom(_NONCE_BYTES)
        text = b64encode(_FORMAT + nonce + cipher.encrypt(nonce, plain, context)).decode()
        # In one of a hundred by chance, as in no token of anybody's.
        if _JWS not in text:
            return text


def _random_id() -> bytes:
    while True:
        id = os.urandom(_ID_BYTES)  # noqa: A001 — the column's name
        if _JWS not in b64encode(id).decode():
            return id


def _cipher(keys: Sequence[bytes]) -> AESGCM:
    # Each has 32 bytes, so no two sequences are joined alike.
    return AESGCM(sha256(b"broker audit row\0" + b"".join(keys)).digest())


def _context(id: str) -> bytes:  # noqa: A002 — the record's name for it
    # Moved into another record it does not open.
    return f"broker audit record\0{id}".encode()


def _owner(id: bytes, issuer: str, person: str) -> bytes:  # noqa: A002 — the column's name
    # A key that was moved to another person's row does not open; neither text holds a NUL.
    return b"broker audit person\0" + id + f"\0{issuer}\0{person}".encode()


def _derive(secret: bytes, purpose: bytes) -> bytes:
    info = b"token-exchange-broker audit " + purpose
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)
