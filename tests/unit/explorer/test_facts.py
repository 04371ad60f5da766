"""What the page of a row says of it, as names and values."""

from datetime import UTC, datetime

import orjson
import pytest

from broker.audit.detect.alert import Alert, build_alert
from broker.explorer.facts import decision_facts

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_an_alert_shows_its_rule_and_its_numbers():
    """Each by itself, with the rows that show it."""
    alert = Alert(
        *("replay", "svc", None, None, AT, AT, 3, 0, 3, "used again"), evidence=("a", "b")
    )
    record = orjson.loads(build_alert(alert, at=AT).record)

    assert [
        ("Rule", "replay"),
        ("Severity", "high"),
        ("Seen", "3 used again"),
        ("Usual", "0"),
        ("Threshold", "3"),
        ("Counted since", "2026-11-24T12:00:00.000000Z"),
        ("Counted until", "2026-11-24T12:00:00.000000Z"),
        ("Rows", "a, b"),
    ] == list(decision_facts(record, {}))


@pytest.mark.parametrize(
    ("record", "facts"),
    [
        pytest.param({"details": {"a": 1}}, [("Details", "a: 1")], id="administration"),
        pytest.param({"kind": "alert", "details": "x"}, [("Details", "x")], id="no-details"),
        pytest.param({"kind": "alert", "details": {}}, [], id="nothing"),
        pytest.param(
            {"kind": "alert", "rule": ["x"], "details": {"observed": {"a": 1}}},
            [("Rule", "x"), ("Seen", "a: 1")],
            id="not-ours",
        ),
    ],
)
def test_details_are_shown_as_they_are(record, facts):
    """Of an alert that nobody of ours wrote, too."""
    assert facts == list(decision_facts(record, {}))


def test_a_row_says_which_token_was_given_out_again():
    """A new token's row does not: its id is the token's."""
    record = {"kind": "exchange", "jti": "the-token", "lifetime": 60}

    assert [("Lifetime", "60 s")] == list(decision_facts(record, {}))
    assert [("Lifetime", "60 s"), ("Given out again", "the-token")] == list(
        decision_facts(record | {"action": "reuse"}, {})
    )
