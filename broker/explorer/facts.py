"""What the page of a row says of its decision and of who took part, as names and values."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson

from broker.audit.outcome import REUSE
from broker.errors import PUBLIC, Reason
from broker.explorer.compare import Comparison, Lifetime
from broker.explorer.text import bounded
from broker.explorer.times import show_age, show_moment

_LONGEST: Final = 1200  # characters of a value; the record below has all of it
_REASONS: Final = 32
Fact = tuple[str, str]


def reasons_of(record: Mapping[str, Any]) -> Sequence[Fact]:
    """Return each reason with what it means, in the words that callers read."""
    found = record.get("reasons")
    if not isinstance(found, list):
        return []
    reasons = [bounded(one, _LONGEST) for one in found[:_REASONS]]
    return [(reason, _meaning(reason)) for reason in reasons]


def decision_facts(record: Mapping[str, Any], personal: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield what was decided by which policy, and on what terms."""
    policy = _mapping(record.get("policy"))
    decision = _mapping(personal.get("decision"))
    lifetime, most = record.get("lifetime"), record.get("max_depth")
    for label, value in (
        ("Policy revision", policy.get("revision")),
        ("Decision id", policy.get("decision_id")),
        ("Violations", record.get("violations")),
        ("Purpose", record.get("purpose")),
        ("Exchanges so far", record.get("depth")),
        ("At most", None if most is None else f"{most} exchanges"),
        ("Lifetime", None if lifetime is None else f"{lifetime} s"),
        ("Obligations", decision.get("obligations")),
        ("Revocation", record.get("revocation")),
        ("Given out again", record.get("jti") if record.get("action") == REUSE else None),
        ("Counted", record.get("counts")),
        *_alert_facts(record),
    ):
        if value is not None and value not in ([], {}, ""):
            yield label, bounded(_listed(value), _LONGEST)


def _alert_facts(record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what an alert says, number by number; of any other row its details as they are."""
    details = record.get("details")
    if record.get("kind") != "alert" or not isinstance(details, Mapping):
        yield "Details", details
        return
    yield "Rule", record.get("rule")
    yield "Severity", record.get("severity")
    seen = [details.get("observed"), details.get("meaning")]
    yield "Seen", " ".join(_shown(one) for one in seen if one is not None)
    for name, label in (
        ("expected", "Usual"),
        ("threshold", "Threshold"),
        ("since", "Counted since"),
        ("until", "Counted until"),
        ("issuer", "Issuer"),
        ("subject", "Subject"),
        ("asked", "New to it"),
        ("evidence", "Rows"),
    ):
        yield label, details.get(name)


def party_facts(record: Mapping[str, Any], personal: Mapping[str, Any]) -> Iterator[Fact]:
    """Yield who asked, from where, and for what."""
    client = _mapping(record.get("client"))
    if client.get("id"):
        yield "Client", bounded(f"{client['id']} ({client.get('auth_method')})", _LONGEST)
    for name, label in (("source", "Source"), ("by", "By")):
        if personal.get(name):
            yield label, bounded(personal[name], _LONGEST)
    if personal.get("sources"):
        yield "Sources", bounded(_shown(personal["sources"]), _LONGEST)
    asked = _mapping(record.get("asked"))
    for name, label in (
        ("audiences", "Asked audience"),
        ("resources", "Asked resource"),
        ("scope", "Asked scope"),
        ("purpose", "Asked purpose"),
        ("requested_token_type", "Asked type"),
    ):
        if asked.get(name):
            yield label, bounded(_listed(asked[name]), _LONGEST)


def lives_of(comparison: Comparison | None, zone: ZoneInfo) -> Sequence[tuple[str, str, str]]:
    """Return when both tokens began and ended, and how long that was."""
    if comparison is None:
        return []
    before, after = comparison.before, comparison.after or Lifetime(None, None)
    return [
        ("iat", _moment(before.issued_at, zone), _moment(after.issued_at, zone)),
        ("exp", _moment(before.expires_at, zone), _moment(after.expires_at, zone)),
        ("life", _age(before), _age(after)),
    ]


def _meaning(reason: str) -> str:
    try:
        return PUBLIC[Reason(reason)].description
    except (ValueError, KeyError):
        return ""


def _moment(at: datetime | None, zone: ZoneInfo) -> str:
    return "·" if at is None else show_moment(at, zone)


def _age(life: Lifetime) -> str:
    if life.issued_at is None or life.expires_at is None:
        return "·"
    return show_age(life.expires_at - life.issued_at)


def _mapping(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 — stands for any JSON value
    return value if isinstance(value, Mapping) else {}


def _listed(value: Any) -> str:  # noqa: ANN401 — stands for any JSON value
    return ", ".join(map(_shown, value)) if isinstance(value, list) else _shown(value)


def _shown(value: Any, deep: int = 3) -> str:  # noqa: ANN401 — stands for any JSON value
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and deep:
        return ", ".join(f"{name}: {_shown(one, deep - 1)}" for name, one in value.items())
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # nested beyond anything of ours
        return "…"
