"""Rows that nobody of ours wrote: what a superuser of the database can put into the trail."""

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import asyncpg

from broker.audit.members import find_member
from broker.audit.merkle import leaf_hash
from broker.audit.outcome import build_issued, build_refused
from broker.errors import Reason
from tests import builders
from tests.audit import attempt, new_id, now, signed_token

_KEPT = {"id", "at", "version"}  # else a row is not found, or not even a row
_FREE = {"claims", "counts", "sources", "details"}  # whose members may have any name
_TEXT = ("reason", "request_id", "client", "subject_issuer", "subject", "parent", "kid")
_TEXT += ("policy_revision", "action")
_TEXTS = ("actor_issuers", "actors", "targets", "scopes")
_PARTS = (
    *((), ("subject_token",), ("personal",), ("personal", "subject"), ("personal", "decision")),
    *(("personal", "policy_input"), ("personal", "policy_input", "subject"), ("details",)),
)
_COLUMNS = (
    "writer",
    "seq",
    "at",
    "id",
    "kind",
    "outcome",
    "record",
    "leaf",
    "txn",
    *_TEXT,
    *_TEXTS,
)
_INSERT = (
    f"INSERT INTO audit_event ({', '.join(_COLUMNS)})"
    f" VALUES ({', '.join(f'${number + 1}' for number in range(len(_COLUMNS)))})"
)

Row = tuple[dict[str, Any] | str, dict[str, Any]]  # its record, and its columns


def genuine() -> dict[str, dict[str, Any]]:
    """A record of each kind, in plain and as full as they come."""
    made = attempt()
    issued = json.loads(build_issued(made, signed_token(made), issuer=builders.BROKER).record)
    refused = json.loads(
        build_refused(
            made, Reason.POLICY_SCOPE_NOT_HELD, id=new_id(), issuer=builders.BROKER
        ).record
    )
    refused |= {"violations": ["claims"], "revocation": 7}
    told = issued["personal"]["policy_input"]
    told["subject"] |= {"scopes": ["a", "b"], "audiences": ["c"], "client_id": "d", "issuer": "e"}
    told["request"] = {"targets": [{"name": "svc-b", "audience": "svc-b"}], "scopes": ["a"]}
    issued["derived"] = [{"scope": "orders.read", "from": "b"}]
    issued |= {"purpose": "p", "policy": {"revision": "r", "decision_id": "i"}}
    issued["personal"]["decision"] = {"claims": ["groups"], "obligations": ["o"]}
    common = {"version": 1, "outcome": "done", "at": issued["at"]}
    return {
        "issued": issued,
        "refused": refused,
        "counted": common
        | {
            "kind": "refusals",
            "outcome": "refused",
            "since": issued["at"],
            "counts": {"client.unknown": 2},
            "total": 2,
            "personal": {"sources": {"192.0.2.1": 2}},
        },
        "administration": common
        | {
            "kind": "administration",
            "action": "keys.rotate",
            "details": {"algorithm": "ES256"},
            "personal": {"by": "root", "reason": "why"},
        },
        "alert": common
        | {"kind": "alert", "action": "alert.rate", "details": {"rule": "rate"}, "personal": {}},
        "sealed": {**issued, "version": 2, "personal": "AAAA", "persons": ["AAAA"]},
    }


def haunt(value: Any, text: str) -> Any:
    """The same with ``text`` wherever a text stands, names of members of free form included."""
    if isinstance(value, str):
        return text
    if isinstance(value, list):
        return [haunt(one, text) for one in value]
    if isinstance(value, dict):
        return {name: _haunt_member(name, one, text) for name, one in value.items()}
    return value


def _haunt_member(name: str, value: Any, text: str) -> Any:
    if name in _KEPT:
        return value
    if name in _FREE and isinstance(value, dict):
        return {text: text, **haunt(value, text)}
    return haunt(value, text)


def spoil(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The record with all members of each of its parts of every wrong kind, and without them."""
    parts = [path for path in _PARTS if isinstance(find_member(record, *path), dict)]
    for wrong in (None, 1e300, "text", [None, 1, {}, ["x"]], {"x": {"y": [0]}}):
        for path in parts:
            yield _spoil(record, path, lambda part, wrong=wrong: dict.fromkeys(part, wrong))
            if path:
                yield _spoil(
                    record,
                    path[:-1],
                    lambda part, name=path[-1], wrong=wrong: {**part, name: wrong},
                )
    for path in parts:
        yield _spoil(record, path, lambda _: {})


def _spoil(value: Any, path: tuple[str, ...], change: Callable[[dict], dict]) -> Any:
    if not isinstance(value, dict):
        return value
    if not path:
        return {**change(value), **{name: value[name] for name in _KEPT & value.keys()}}
    return {**value, path[0]: _spoil(value.get(path[0]), path[1:], change)}


def columns(text: str | None, *, txn: str, kind: str = "exchange", outcome: str = "issued") -> dict:
    """Columns with ``text`` in each that takes one."""
    return {
        **dict.fromkeys(_TEXT, text),
        **{name: [text, text] if text else [] for name in _TEXTS},
        "txn": txn,
        "kind": kind,
        "outcome": outcome,
    }


async def insert(url: str, rows: Sequence[Row]) -> list[str]:
    """Write them as the superuser does, in this order; return their ids."""
    connection = await asyncpg.connect(url)
    writer, ids = uuid.uuid4(), []
    try:
        # It is theirs: what the table would refuse they allow it.
        await connection.execute(
            "ALTER TABLE audit_event DROP CONSTRAINT IF EXISTS ck_audit_event_kind,"
            " DROP CONSTRAINT IF EXISTS ck_audit_event_outcome"
        )
        for seq, (record, values) in enumerate(rows, 1):
            ids.append(new_id())
            raw = record if isinstance(record, str) else json.dumps(record | {"id": ids[-1]})
            place = {"writer": writer, "seq": seq, "at": now(), "id": ids[-1]}
            whole = values | place | {"record": raw, "leaf": leaf_hash(raw.encode())}
            await connection.execute(_INSERT, *(whole[name] for name in _COLUMNS))
    finally:
        await connection.close()
    return ids
