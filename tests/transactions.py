"""Rows and opened records of a transaction, as the tree of it is made from them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from broker.audit.transaction import Transaction, build_steps

BEGAN = datetime(2026, 11, 24, 9, 14, 3, tzinfo=UTC)
IDP = "https://idp.test"
BROKER = "https://broker.test"

Made = tuple[dict[str, Any], dict[str, Any]]


def made(number: int, parent: str | None = "s-1", **members: Any) -> Made:
    """A row with the id ``t<number>``, so many seconds after it began, and its record."""
    outcome = members.pop("outcome", "issued")
    row = {
        "id": f"t{number}",
        "at": BEGAN + timedelta(seconds=number),
        "seq": number,
        "kind": "exchange",
        "parent": parent,
        "outcome": outcome,
        "client": members.pop("client", "checkout"),
        "targets": members.pop("targets", ["inventory"]),
        "scopes": members.pop("scopes", ["a"] if outcome == "issued" else []),
        "reason": None,
    }
    record = {
        "issuer": BROKER,
        "subject_token": {"issuer": IDP},
        "reasons": members.pop("reasons", []),
        "lifetime": members.pop("lifetime", 120),
        "personal": {
            "subject": {"issuer": IDP, "subject": members.pop("subject", "alice")},
            "policy_input": {"subject": {"scopes": members.pop("held", ["a"])}},
        },
        **members,
    }
    return row, record


def transaction(*made_: Made, more: bool = False) -> Transaction:
    """All of them, oldest first."""
    rows, records = [row for row, _ in made_], [record for _, record in made_]
    return Transaction("t1", build_steps(rows, records), more)
