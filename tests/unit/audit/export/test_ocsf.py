"""OCSF: every kind of event is one of the schema's, and what matters stands where a SIEM looks."""

import json
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator

from broker.audit.detect.alert import Alert, build_alert
from broker.audit.event import canonical_json
from broker.audit.export.ocsf import INTEGRITY_VERSION, VERSION, Place, build_ocsf
from broker.audit.head import Head
from broker.audit.outcome import (
    build_administration,
    build_counted,
    build_issued,
    build_refused,
    build_reused,
    build_writer,
)
from broker.audit.proxied import build_fetched, build_hits
from broker.domain import Attempt, Fetched, ProxyQuestion
from broker.errors import Reason
from broker.oauth import AuthMethod
from tests.audit import attempt, evaluation, new_id, now, reused_token, signed_token

ISSUER = "https://broker.example.com"
VECTORS = Path(__file__).parents[3] / "vectors"
SCHEMAS = {
    version: Draft202012Validator(json.loads((VECTORS / f"ocsf-{version}.json").read_text()))
    for version in (VERSION, INTEGRITY_VERSION)
}
HEAD = Head("broker.example.com/audit", 9, sha256(b"root").digest())
PLACE = Place(UUID(int=7), 12, sha256(b"leaf").digest(), 3, 5, HEAD)
UNSEALED = Place(UUID(int=7), 12, sha256(b"leaf").digest(), 3)


def record_of(event):
    return json.loads(event.record)


def issued(**overrides):
    made = attempt(evaluation=evaluation(), **overrides)
    return record_of(build_issued(made, signed_token(made), issuer=ISSUER))


def reused():
    made = attempt(evaluation=evaluation())
    return record_of(build_reused(made, reused_token(signed_token(made)), issuer=ISSUER))


def refused(reason=Reason.POLICY_SCOPE_NOT_GRANTED, **overrides):
    made = attempt(**overrides)
    return record_of(build_refused(made, reason, id=new_id(), issuer=ISSUER))


NOBODY = dict.fromkeys(("request", "client", "subject", "actor", "delegation", "exchange"))


def early(**overrides):
    """A refusal of which next to nothing is known."""
    return refused(
        Reason.CLIENT_SECRET_MISMATCH,
        **({"exchange": None} | NOBODY | {"id": "request-1", "source": "192.0.2.1"} | overrides),
    )


def administration(action="keys.rotate", **details):
    return record_of(
        build_administration(action, details, id=new_id(), at=now(), by="alice@example.com")
    )


def counted():
    moment = now()
    return record_of(
        build_counted(
            {"client.secret_mismatch": 3, "client.unknown": 1},
            {"192.0.2.1": 4},
            id=new_id(),
            since=moment - timedelta(minutes=1),
            until=moment,
        )
    )


def proxied():
    question = ProxyQuestion("idp", "checkout", ("orders.read",), parameters=(("tenant", "t"),))
    asked = Attempt("r-1", "192.0.2.1", now(), "proxy", evaluation=evaluation())
    fetched = Fetched(AuthMethod.CLIENT_SECRET_BASIC, ("orders.read",), 3600, "ab" * 32)
    return record_of(build_fetched(asked, question, fetched, id=new_id(), issuer="https://b.test"))


def hits():
    moment = now()
    counts = {("idp", "checkout", "orders.read"): 59, ("idp", "billing", ""): 1}
    return record_of(build_hits(counts, id=new_id(), since=moment - timedelta(1), until=moment))


def alert():
    at = now()
    found = Alert(
        *(
            "replay",
            "svc-a",
            "https://idp.test",
            None,
            at,
            at,
            3,
            0,
            3,
            "what is for one use came again",
        ),
        evidence=(new_id(), new_id()),
    )
    return record_of(build_alert(found, at=at))


def writer(action):
    return record_of(build_writer(action, str(UUID(int=7)), id=new_id(), at=now()))


EVENTS = {
    "issued": issued,
    "reused": reused,
    "refused": refused,
    "refused-unauthenticated": early,
    "introspection-refused": lambda: early() | {"kind": "introspection"},
    "revocation-refused": lambda: early() | {"kind": "revocation"},
    "counted": counted,
    "proxied": proxied,
    "proxy-refused": lambda: early() | {"kind": "proxy"},
    "hits": hits,
    "administration": administration,
    "erasure": lambda: administration("audit.erase", subject="hmac:abc"),
    "export": lambda: administration("audit.export", format="csv"),
    "tombstone": lambda: administration("audit.retain", removed=["x" * 99] * 999),
    "writer-start": lambda: writer("start"),
    "writer-stop": lambda: writer("stop"),
    "alert": alert,
    "kind-of-the-future": lambda: administration() | {"kind": "tomorrow"},
}


def sealed(record):
    """The record as version 2 has it: pseudonyms outside, and the rest as ciphertext."""
    personal = record.get("personal", {})
    if not isinstance(personal, dict):
        return record

    def pseudonym(principal):
        return {"issuer": principal["issuer"], "subject": "hmac:3q2-7w"}

    outside = {
        "version": 2,
        "persons": ["a2V5"],
        "personal": "Y2lwaGVydGV4dA==",
        "subject": personal.get("subject") and pseudonym(personal["subject"]),
        "actors": [pseudonym(actor) for actor in personal.get("actors", ())],
    }
    return record | outside


def faults(event):
    """What the schema says against an event, in words short enough to read."""
    schema = SCHEMAS[event["metadata"]["version"]]
    name = {3002: "authentication", 6003: "api_activity", 6002: "application_lifecycle"}.get(
        event["class_uid"], "detection_finding"
    )
    one = schema.evolve(schema={**schema.schema, "oneOf": [{"$ref": f"#/$defs/{name}"}]})
    return [
        f"{deep.json_path}: {deep.message}"[:200]
        for error in one.iter_errors(event)
        for deep in (error.context or [error])
    ]


@pytest.mark.parametrize(
    "place", [None, PLACE, UNSEALED], ids=["released", "record-integrity", "not-sealed-yet"]
)
@pytest.mark.parametrize("form", [dict, sealed], ids=["plain", "sealed"])
@pytest.mark.parametrize("kind", EVENTS)
def test_every_kind_of_event_is_one_of_the_schema_s(kind, form, place):
    """All of them validate: plain, with personal data sealed, and with the profile."""
    event = build_ocsf(form(EVENTS[kind]()), product_version="1.2.3", place=place)

    assert [] == faults(json.loads(canonical_json(event)))


def test_the_schema_refuses_what_is_wrong():
    """The twin of the test above: the vector is no schema that takes everything."""
    event = build_ocsf(issued(), product_version="1.2.3")

    assert faults({name: value for name, value in event.items() if name != "user"})
    assert faults({**event, "type_uid": 300298})
    assert faults({**event, "made_up": 1})
    assert faults({**event, "service": None})


def test_an_issued_token_stands_where_a_siem_looks():
    """Who, for whom, by which client, for what, under which policy, until when."""
    record = issued()
    event = build_ocsf(record, product_version="1.2.3")

    assert (3002, 300299, 3, 99) == tuple(
        event[name] for name in ("class_uid", "type_uid", "category_uid", "activity_id")
    )
    assert "Token Exchange" == event["activity_name"]
    assert (record["personal"]["subject"]["subject"], record["personal"]["subject"]["issuer"]) == (
        event["user"]["uid"],
        event["user"]["domain"],
    )
    assert record["client"]["id"] == event["actor"]["app_uid"]
    assert record["targets"][0] == event["service"]["name"]
    assert record["jti"] == event["authentication_token"]["uid"] == event["metadata"]["uid"]
    assert ("Success", 1) == (event["status"], event["status_id"])
    assert [
        {
            "decision": "allow",
            "policy": {
                "name": "broker.exchange.decision",
                "version": record["policy"]["revision"],
                "is_applied": True,
            },
        }
    ] == event["actor"]["authorizations"]
    assert record["scopes"] == event["unmapped"]["scopes"]


def test_a_token_that_is_given_out_again_is_told_from_a_new_one():
    """By the code of the event: the token is that of before, and the id is another one."""
    record = reused()
    event = build_ocsf(record, product_version="1.2.3")

    assert ("reuse", "Success") == (event["metadata"]["event_code"], event["status"])
    assert record["jti"] == event["authentication_token"]["uid"] != event["metadata"]["uid"]
    assert record["id"] == event["metadata"]["uid"]


def test_a_refusal_says_why():
    """``status_code`` is the reason, and the text beside it the one that the caller had."""
    event = build_ocsf(refused(), product_version="1.2.3")

    assert ("Failure", "policy.scope_not_granted") == (event["status"], event["status_code"])
    assert event["status_detail"].endswith(".")
    assert "authentication_token" not in event


def test_refusals_that_share_a_row_are_counted():
    """One event, with how many and from when to when."""
    event = build_ocsf(counted(), product_version="1.2.3")

    assert 4 == event["count"]
    assert event["start_time"] == event["time"] == event["end_time"] - 60_000


@pytest.mark.parametrize("kind", EVENTS)
def test_sealed_records_show_no_person(kind):
    """Without the audit key there are pseudonyms; ciphertext is in no SIEM either."""
    record = EVENTS[kind]()
    plain = canonical_json(record.get("personal", {})).decode()
    text = canonical_json(build_ocsf(sealed(record), product_version="1.2.3")).decode()

    assert "Y2lwaGVydGV4dA" not in text
    assert not [name for name in ("alice", "192.0.2.1", "groups") if name in plain and name in text]


def test_what_the_policy_was_asked_is_not_exported():
    """Claims of persons stay in the trail, also where the record is in plain."""
    text = canonical_json(build_ocsf(issued(), product_version="1.2.3")).decode()

    assert "policy_input" not in text
    assert "groups" not in text


def test_an_event_is_of_bounded_length():
    """A SIEM cuts what is too long for it, and then it is JSON no more."""
    event = build_ocsf(EVENTS["tombstone"](), product_version="1.2.3")

    assert len(canonical_json(event)) < 32 * 1024
    assert 4 == event["activity_id"]


def test_record_integrity_names_the_leaf_and_its_chain():
    """The profile is newer than any release, so events that have it say which version knows it."""
    event = build_ocsf(issued(), product_version="1.2.3", place=PLACE)
    attestation = event["attestation_list"][0]

    assert "1.9.0-dev" == event["metadata"]["version"]
    assert ["record_integrity"] == event["metadata"]["profiles"]
    assert PLACE.leaf.hex() == attestation["fingerprint"]["value"]
    assert (f"{PLACE.writer}:12", HEAD.origin) == (
        attestation["uid"],
        attestation["authority_uid"],
    )
    log = {"batch": 3, "position": 5, "size": 9, "root": HEAD.root.hex()}
    assert log == event["unmapped"]["log"]


def test_an_alert_is_a_finding_with_its_numbers_and_rows():
    """Whoever reads it in a SIEM sees what was found, and which rows to ask for."""
    record = alert()
    made = build_ocsf(record, product_version="1")
    said = "svc-a: 3 what is for one use came again; usual are 0, the threshold is 3"

    assert (2004, "High", said) == (made["class_uid"], made["severity"], made["message"])
    assert ("replay", said) == (made["finding_info"]["title"], made["finding_info"]["desc"])
    assert record["details"]["evidence"] == made["unmapped"]["details"]["evidence"]
