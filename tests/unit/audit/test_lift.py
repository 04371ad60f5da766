"""Whatever an auditor writes into ``audit_access`` becomes a row that others can read."""

import json
from datetime import UTC, datetime

import orjson
from hypothesis import given
from hypothesis import strategies as st

from broker.audit.access import LOOKS
from broker.audit.lift import UNKNOWN, describe_look
from broker.audit.outcome import build_administration
from tests.audit import new_id, now

AT = datetime(2026, 11, 27, tzinfo=UTC)
# What a column of text can hold; as JSON also numbers that are none, and halves of characters.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
MEMBERS = st.from_regex("[a-z_]{1,8}", fullmatch=True) | st.text()
DOCUMENTS = TEXT | VALUES.map(json.dumps) | st.dictionaries(MEMBERS, VALUES).map(json.dumps)
ACTIONS = st.sampled_from(sorted(LOOKS)) | st.from_regex(r"audit\.[a-z-]{1,32}", fullmatch=True)


@given(ACTIONS, DOCUMENTS)
def test_whatever_stands_there_becomes_a_flat_row(action, details):
    """With the database's word on role and time, and as no other event than a look."""
    found, described = describe_look(
        {"action": action, "details": details, "role": "broker_auditor", "at": AT}
    )
    event = build_administration(found, described, id=new_id(), at=now(), by="operator eve")
    recorded = orjson.loads(event.record)["details"]

    assert found == (action if action in LOOKS else UNKNOWN)
    assert ("broker_auditor", "2026-11-27T00:00:00.000000Z") == (
        recorded["role"],
        recorded["recorded_at"],
    )
    assert all(isinstance(one, str | int | None) for one in recorded.values())
