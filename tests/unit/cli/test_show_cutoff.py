"""What the end of the demo's show says, whatever its layout."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.cli.show_cutoff import print_cut, print_introspected, print_login
from broker.demo.cutoff import Cut, Introspected
from broker.demo.story import Ask, Hop
from tests.unit.cli.rendering import printed, words

ORDER = {"scope": "subject", "issuer": "http://127.0.0.1:9400", "key": "alice", "reason": "x"}
CLIENTS = [{"client": "checkout", "tokens": 2}, {"client": "inventory", "tokens": 1}]


def cut(**overrides: Any) -> Cut:
    until = (datetime.now(UTC) + timedelta(seconds=90)).isoformat()
    hits = {"tokens": 3, "clients": CLIENTS, "accepted_offline_until": until}
    return Cut(**{"order": ORDER, "least": 2, "status": 201, "body": {"hits": hits}} | overrides)


@pytest.mark.parametrize("width", [80, 110])
def test_a_cut_shows_what_was_asked_and_what_it_hit(width: int):
    """Whom, how many tokens of which clients, and the two numbers apart."""
    text = printed(lambda c: print_cut(c, cut()), width)
    shown = words(text)

    assert all(len(line) <= width for line in text.splitlines())
    assert "scope subject" in shown
    assert "key alice" in shown
    assert "201 ✓ 3 live tokens: 2 of checkout, 1 of inventory" in shown
    assert "The broker refuses them at once." in shown
    assert "accepts the last one for " in shown


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"status": 503, "body": {"error_description": "Try again."}}, id="refused"),
        pytest.param({"body": {"hits": {"tokens": 1, "clients": CLIENTS[1:]}}}, id="too-few"),
        pytest.param({"body": {}}, id="no-answer"),
    ],
)
def test_a_cut_that_failed_is_shown_as_a_fault(wrong: dict[str, Any]):
    """The show does not claim a success that did not happen."""
    assert "✗ not as expected" in printed(lambda c: print_cut(c, cut(**wrong)))


def test_an_introspection_shows_before_and_after():
    """Everything that it said, and that it says nothing any more."""
    before = {"active": True, "scope": "ledger.read", "aud": "ledger", "act": {"sub": "inventory"}}
    told = Introspected("ledger", "inventory", before | {"exp": 1}, {"active": False})
    shown = words(printed(lambda c: print_introspected(c, told)))

    assert "✓ ledger asks about the token that inventory called it with before after" in shown
    assert "active true false" in shown
    assert "- ledger.read" in shown
    assert "- ledger" in shown


def test_an_introspection_that_says_active_is_shown_as_a_fault():
    """A token that lives on is what the show exists to deny."""
    told = Introspected("ledger", "inventory", {"active": True}, {"active": True})

    assert "✗ not as expected" in printed(lambda c: print_introspected(c, told))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(200, {"access_token": "opaque"}, "✓ alice logs in again", id="a-token"),
        pytest.param(400, {"error_description": "No."}, "✗ not as expected", id="refused"),
    ],
)
def test_a_new_login_shows_whether_it_worked(status: int, body: dict[str, Any], expected: str):
    """And never the token itself."""
    ask = Ask("checkout", "inventory", "inventory.read")
    hop = Hop("alice logs in again", "why", ask, None, "presented", status=status, body=body)
    text = printed(lambda c: print_login(c, hop))

    assert expected in text
    assert "opaque" not in text
    assert "presented" not in text
