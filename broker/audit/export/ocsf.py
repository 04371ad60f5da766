"""Events in the Open Cybersecurity Schema (OCSF 1.8), for a SIEM.

| kind | class |
|---|---|
| exchange, introspection, revocation, refusals, proxy | 3002 Authentication |
| administration, hits | 6003 API Activity |
| writer | 6002 Application Lifecycle |
| alert | 2004 Detection Finding |

The schema knows no exchange of tokens, so that is activity 99, "Token Exchange". What it has no
place for stands in ``unmapped``, under the names of the record; what the policy was asked and
answered does not, nor does anything that identifies a person and is not in its place below.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Final
from uuid import UUID

from broker.audit.event import canonical_json
from broker.audit.head import Head
from broker.audit.members import find_text
from broker.errors import PUBLIC, Reason

VERSION: Final = "1.8.0"
# The first one that has the profile ``record_integrity``; not released yet.
INTEGRITY_VERSION: Final = "1.9.0-dev"

_MOST: Final = 16 * 1024  # bytes of what OCSF has no place for
_UNKNOWN: Final = "unknown"
_PRODUCT: Final = "Token exchange broker"
_ACTIVITIES: Final = {
    "exchange": "Token Exchange",
    "refusals": "Token Exchange",
    "introspection": "Token Introspection",
    "revocation": "Token Revocation",
    "proxy": "Upstream Token Request",
}
_CAPTIONS: Final = {
    "api": {1: "Create", 2: "Read", 3: "Update", 4: "Delete"},
    "writer": {3: "Start", 4: "Stop"},
}
_VERBS: Final = {  # the last word of an action, where it says which of the four it is
    **dict.fromkeys(("create", "prepare"), 1),
    **dict.fromkeys(("query", "show", "verify", "prove", "export", "ui", "stream"), 2),
    **dict.fromkeys(("rotate", "rekey", "reload", "activate", "retire"), 3),
    **dict.fromkeys(("erase", "retain"), 4),
}
# Members that have a place of their own, or are not for a SIEM.
_PLACED: Final = frozenset(
    {
        *("version", "id", "at", "kind", "outcome", "request_id", "txn", "personal", "persons"),
        *("subject", "actors", "policy", "issued_at", "expires_at", "jti", "counts", "total"),
        *("since", "reasons", "action", "writer", "rule", "severity"),
    }
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands, for the profile ``record_integrity``."""

    writer: UUID
    seq: int
    leaf: bytes
    batch: int | None = None  # its number; None: there is none that has this row
    position: int | None = None  # of the batch in the log; None: not sealed yet
    head: Head | None = None  # of the checkpoint that covers it


def build_ocsf(
    record: Mapping[str, Any], *, product_version: str, place: Place | None = None
) -> dict[str, Any]:
    """Return the event of a record, whose ``personal`` is in plain, sealed or erased.

    ``place`` adds the profile ``record_integrity``, and with it the version that knows it.
    """
    kind = record["kind"]
    if kind in _ACTIVITIES:
        event = _authentication(record)
    elif kind == "writer":
        event = _lifecycle(record)
    elif kind == "alert":
        event = _finding(record)
    else:
        event = _api_activity(record)
    event["type_uid"] = event["class_uid"] * 100 + event["activity_id"]
    event["category_uid"] = event["class_uid"] // 1000
    event["time"] = _milliseconds(record.get("since") or record["at"])
    event["metadata"] = _metadata(record, product_version)
    unmapped = {name: value for name, value in record.items() if name not in _PLACED}
    if len(canonical_json(unmapped)) > _MOST:
        # A tombstone, say: long, and read by no SIEM. The record itself is in the trail.
        unmapped = {"omitted": "longer than a SIEM takes; the record has it"}
    if place is not None:
        event["metadata"] |= {"version": INTEGRITY_VERSION, "profiles": ["record_integrity"]}
        event["attestation_list"] = [_attestation(place)]
        unmapped["log"] = _log(place)
    event["unmapped"] = unmapped | event.get("unmapped", {})
    return {name: one for name, value in event.items() if (one := _bare(value)) is not None}


def _authentication(record: Mapping[str, Any]) -> dict[str, Any]:
    issued = record["outcome"] == "issued"
    reasons = record.get("reasons") or list(record.get("counts") or ())
    targets = record.get("targets") or _asked_for(record) or [_UNKNOWN]
    event: dict[str, Any] = {
        "class_uid": 3002,
        "class_name": "Authentication",
        "activity_id": 99,
        "activity_name": _ACTIVITIES[record["kind"]],
        "severity_id": 1 if issued else 2,
        "severity": "Informational" if issued else "Low",
        "status_id": 1 if issued else 2,
        "status": "Success" if issued else "Failure",
        "status_code": reasons[0] if reasons else None,
        "status_detail": _public_text(reasons[0]) if reasons else None,
        "auth_protocol_id": 6,
        "auth_protocol": "OAUTH 2.0",
        "is_remote": True,
        "user": _user(_subject(record), own=record.get("issuer")),
        "actor": _actor(record),
        "service": {"name": targets[0]},
        "src_endpoint": _endpoint(record),
        "unmapped": {"reasons": reasons[1:], "actors": _actors(record)[1:]},
    }
    if (request := record.get("request_id")) is not None:
        event["http_request"] = {"uid": request, "http_method": "POST"}
    if issued and "issued_at" in record:  # of a token that another has issued nobody knows
        event["authentication_token"] = {
            "type_id": 99,
            "type": "Access token",
            "uid": record.get("jti"),
            "created_time": _milliseconds(record["issued_at"]),
            "expiration_time": _milliseconds(record["expires_at"]),
        }
    if record["kind"] == "refusals":
        event["count"] = record["total"]
        event["start_time"] = _milliseconds(record["since"])
        event["end_time"] = _milliseconds(record["at"])
        event["unmapped"]["counts"] = record["counts"]
    return event


def _api_activity(record: Mapping[str, Any]) -> dict[str, Any]:
    action = record.get("action") or record["kind"]
    activity = _VERBS.get(action.rsplit(".", 1)[-1], 99)
    return {
        "class_uid": 6003,
        "class_name": "API Activity",
        "activity_id": activity,
        "activity_name": _CAPTIONS["api"].get(activity, action),
        **_done(record),
        "actor": {"user": {"name": str(_personal(record).get("by") or _UNKNOWN), "type_id": 0}},
        "api": {"operation": action, "service": {"name": _PRODUCT}},
        "src_endpoint": _endpoint(record) or {"svc_name": _PRODUCT},
    }


def _lifecycle(record: Mapping[str, Any]) -> dict[str, Any]:
    activity = {"start": 3, "stop": 4}.get(record["action"], 99)
    return {
        "class_uid": 6002,
        "class_name": "Application Lifecycle",
        "activity_id": activity,
        "activity_name": _CAPTIONS["writer"].get(activity, record["action"]),
        **_done(record),
        "app": {"name": _PRODUCT, "uid": record.get("writer")},
    }


def _finding(record: Mapping[str, Any]) -> dict[str, Any]:
    rule = str(record.get("rule") or record.get("action") or _UNKNOWN)
    names = {"low": 2, "medium": 3, "high": 4, "critical": 5}
    severity = names.get(str(record.get("severity")), 3)
    return {
        "class_uid": 2004,
        "class_name": "Detection Finding",
        "activity_id": 1,
        "activity_name": "Create",
        "severity_id": severity,
        "severity": next(name for name, one in names.items() if one == severity).capitalize(),
        "status_id": 1,
        "status": "New",
        "is_alert": True,
        "message": _found(record),
        "finding_info": {
            "uid": record["id"],
            "title": rule,
            "desc": _found(record),
            "first_seen_time": _moment(record, "since"),
            "last_seen_time": _moment(record, "until"),
            "created_time": _milliseconds(record["at"]),
            "analytic": {"name": rule, "type_id": 1, "type": "Rule"},
        },
    }


def _found(record: Mapping[str, Any]) -> str | None:
    details = record.get("details")
    if not isinstance(details, dict) or "observed" not in details:
        return None
    who = (record.get("client") or {}).get("id") or "somebody who did not authenticate"
    return (
        f"{who}: {details['observed']} {details.get('meaning')}; usual are"
        f" {details.get('expected')}, the threshold is {details.get('threshold')}"
    )


def _moment(record: Mapping[str, Any], name: str) -> int | None:
    found = find_text(record, "details", name)
    return None if found is None else _milliseconds(found)


def _done(record: Mapping[str, Any]) -> dict[str, Any]:
    done = record["outcome"] != "refused"
    return {
        "severity_id": 1 if done else 2,
        "severity": "Informational" if done else "Low",
        "status_id": 1 if done else 2,
        "status": "Success" if done else "Failure",
    }


def _metadata(record: Mapping[str, Any], product_version: str) -> dict[str, Any]:
    return {
        "version": VERSION,
        "product": {"name": _PRODUCT, "vendor_name": _PRODUCT, "version": product_version},
        "uid": record["id"],
        "event_code": record.get("action") or record["kind"],
        "correlation_uid": record.get("txn") or record.get("request_id"),
        "log_name": "audit_event",
        "log_version": str(record.get("version", 1)),
        "original_time": record["at"],
    }


def _actor(record: Mapping[str, Any]) -> dict[str, Any]:
    client, actors = record.get("client") or {}, _actors(record)
    policy = record.get("policy") or {}
    actor: dict[str, Any] = {
        "app_uid": client.get("id"),
        "user": _user(actors[0], own=record.get("issuer")) if actors else None,
    }
    if issuer := (record.get("subject_token") or {}).get("issuer"):
        actor["idp"] = {"name": issuer, "uid": issuer}
    if revision := policy.get("revision"):
        decision = {
            "name": f"broker.{'proxy' if record['kind'] == 'proxy' else 'exchange'}.decision",
            "uid": policy.get("decision_id"),
            "version": revision,
            "is_applied": True,
        }
        verdict = "allow" if record["outcome"] == "issued" else "deny"
        actor["authorizations"] = [{"decision": verdict, "policy": decision}]
    if not (actor["app_uid"] or actor["user"]):
        actor["app_name"] = _UNKNOWN  # whoever asked did not authenticate
    if txn := record.get("txn"):
        actor["session"] = {"uid": txn}
    return actor


def _user(principal: Mapping[str, Any], *, own: str | None) -> dict[str, Any]:
    if not principal.get("subject"):
        return {"name": _UNKNOWN, "type_id": 0, "type": "Unknown"}
    # Whose issuer is the broker itself is a client of it; of all others nothing says.
    service = own is not None and principal.get("issuer") == own
    return {
        "uid": principal["subject"],
        "domain": principal.get("issuer"),
        "type_id": 4 if service else 0,
        "type": "Service" if service else "Unknown",
    }


def _endpoint(record: Mapping[str, Any]) -> dict[str, Any] | None:
    source = _personal(record).get("source")
    if not isinstance(source, str) or not source:
        return None
    try:
        return {"ip": str(ip_address(source))}
    except ValueError:
        return {"name": source}


def _attestation(place: Place) -> dict[str, Any]:
    """Return what binds the row to the log: its leaf there, not a hash of this document."""
    return {
        "uid": f"{place.writer}:{place.seq}",
        "chain_uid": str(place.writer),
        "authority_uid": None if place.head is None else place.head.origin,
        "fingerprint": {
            "algorithm_id": 3,
            "algorithm": "SHA-256",
            "encoding_id": 1,
            "encoding": "Hex",
            "serialization_id": 99,
            "serialization": "RFC 6962 leaf of the record",
            "value": bytes(place.leaf).hex(),
        },
    }


def _log(place: Place) -> dict[str, Any]:
    """Return how the leaf hangs on a checkpoint, for which OCSF has no place."""
    head = place.head
    return {
        "batch": place.batch,
        "position": place.position,
        "size": None if head is None else head.size,
        "root": None if head is None else head.root.hex(),
    }


def _personal(record: Mapping[str, Any]) -> Mapping[str, Any]:
    personal = record.get("personal")
    return personal if isinstance(personal, dict) else {}  # sealed, it is text


def _subject(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return _personal(record).get("subject") or record.get("subject") or {}


def _actors(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(_personal(record).get("actors") or record.get("actors") or ())


def _asked_for(record: Mapping[str, Any]) -> list[str]:
    asked = record.get("asked") or {}
    if "upstream" in asked:
        return [asked["upstream"]]
    return [*(asked.get("audiences") or ()), *(asked.get("resources") or ())]


def _public_text(reason: str) -> str | None:
    try:
        return PUBLIC[Reason(reason)].description
    except ValueError:
        return None  # of another version


def _milliseconds(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1000)


def _bare(value: Any) -> Any:  # noqa: ANN401 — any JSON value
    """Return the value without what is null or empty in it; None if nothing is left of it."""
    if isinstance(value, dict):
        found = {name: one for name, each in value.items() if (one := _bare(each)) is not None}
        return found or None
    if isinstance(value, list):
        return [one for each in value if (one := _bare(each)) is not None] or None
    return value
