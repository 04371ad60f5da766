"""Inputs of an older version: brought to the one of now by declared steps, or not replayed."""

import json
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from broker.domain import INPUT_VERSION
from broker.policy.input import build_input
from broker.workbench.recorded import NotReplayable, read_exchange
from broker.workbench.upgrade import SHAPE, UPGRADES, UnknownVersion, upgrade_input
from tests.builders import exchange

SCHEMA = Path(__file__).parents[3] / "policies" / "schemas" / "input.json"
# What the schema of each version was, without what it says in words. A version that was released
# is on record, so its line stays; a change to the schema is a new version, a line, and a step.
DIGESTS = {1: "fdd2cdb29dff4488"}
# As a broker of a version before this one might have recorded it: it knew of no actor tokens, and
# whether somebody came back had another name.
OLD: dict[str, Any] = {
    "request": {
        "id": "019ab000-0000-7000-8000-000000000001",
        "time": 1_795_521_600,
        "audiences": ["svc-b"],
        "resources": [],
        "targets": [
            {
                "name": "svc-b",
                "audience": "svc-b",
                "scopes": ["orders.read", "orders.write"],
                "max_lifetime": 300,
                "claims": [],
            }
        ],
        "scopes": ["orders.read"],
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "purpose": None,
        "source": "192.0.2.1",
    },
    "client": {"id": "svc-a", "auth_method": "client_secret_basic", "targets": ["svc-a"]},
    "subject": {
        "issuer": "https://idp.test",
        "subject": "alice",
        "client_id": None,
        "token_type": "urn:ietf:params:oauth:token-type:jwt",
        "scopes": ["orders.read"],
        "scopeless": False,
        "audiences": ["svc-a"],
        "issued_at": 1_795_521_540,
        "expires_at": 1_795_525_200,
        "claims": {},
    },
    "delegation": {
        "acting": {"issuer": "https://broker.test", "subject": "svc-a"},
        "chain": [{"issuer": "https://broker.test", "subject": "svc-a"}],
        "depth": 1,
        "max_depth": 8,
        "returns": False,
    },
}


def from_old(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The declared step of these tests."""
    delegation = dict(document["delegation"])
    delegation |= {"reenters": delegation.pop("returns"), "actor_token": False}
    return {**document, "actor": None, "delegation": delegation}


def cannot(_document: Mapping[str, Any]) -> Mapping[str, Any]:
    raise NotReplayable("nobody knows who acted then")


def test_an_old_input_is_replayed_through_its_declared_upgrade() -> None:
    """What comes out is an input of now: the floor and the policy take it as any other."""
    upgraded = upgrade_input(OLD, None, current=2, upgrades={1: from_old})

    assert build_input(read_exchange(upgraded)) == upgraded
    assert "returns" in OLD["delegation"]  # what is on record is not changed by it


def test_steps_follow_each_other() -> None:
    """From two versions before, both are made, the older one first."""

    def rename(document: Mapping[str, Any]) -> Mapping[str, Any]:
        assert "reenters" in document["delegation"]
        return {**document, "client": {**document["client"], "id": "svc-z"}}

    found = upgrade_input(OLD, 1, current=3, upgrades={1: from_old, 2: rename})

    assert found["client"]["id"] == "svc-z"


@pytest.mark.parametrize(
    ("version", "upgrades", "error"),
    [
        pytest.param(None, {}, UnknownVersion, id="no step is declared"),
        pytest.param(3, {1: from_old}, UnknownVersion, id="of a newer broker"),
        pytest.param(0, {1: from_old}, UnknownVersion, id="of none"),
        pytest.param("1", {1: from_old}, UnknownVersion, id="a text"),
        pytest.param(True, {1: from_old}, UnknownVersion, id="yes"),
        pytest.param(1, {1: cannot}, NotReplayable, id="a step that cannot"),
        pytest.param(2, {1: from_old}, NotReplayable, id="an old one that says it is new"),
    ],
)
def test_what_no_step_leads_on_from_is_not_replayable(
    version: object,
    upgrades: Mapping[int, Callable[[Mapping[str, Any]], Mapping[str, Any]]],
    error: type[Exception],
) -> None:
    """Nothing is guessed."""
    with pytest.raises(error):
        upgrade_input(OLD, version, current=2, upgrades=upgrades)


@pytest.mark.parametrize("place", ["", *SHAPE])
@pytest.mark.parametrize("change", ["more", "less"])
def test_an_input_with_other_members_is_not_replayable(place: str, change: str) -> None:
    """It was not written by a broker of the version that it says."""
    document = build_input(exchange())
    document["actor"] = dict(document["subject"])
    parent = document[place] if place else document
    if change == "more":
        parent["another"] = 1
    else:
        del parent[next(iter(parent))]

    with pytest.raises(NotReplayable, match=place or "members"):
        upgrade_input(document, INPUT_VERSION)


def test_the_members_are_those_of_the_schema() -> None:
    """Whoever adds one to the schema is told here."""
    schema = json.loads(SCHEMA.read_text())
    token = schema["definitions"]["token"]
    members = schema["properties"] | {"subject": token, "actor": token}

    assert set(schema["required"]) == set(SHAPE)
    assert {name: set(members[name]["required"]) for name in SHAPE} == {
        name: set(expected) for name, expected in SHAPE.items()
    }


def test_a_change_to_the_schema_is_a_new_version() -> None:
    """Otherwise records of before would be replayed as what they are not."""
    text = json.dumps(without_words(json.loads(SCHEMA.read_text())), sort_keys=True)

    assert DIGESTS[INPUT_VERSION] == sha256(text.encode()).hexdigest()[:16]
    assert set(DIGESTS) == set(range(1, INPUT_VERSION + 1))
    assert set(UPGRADES) <= set(range(1, INPUT_VERSION))


def without_words(schema: Any) -> Any:
    if isinstance(schema, dict):
        words = {"description", "title"}
        return {
            name: without_words(value)
            for name, value in schema.items()
            if not (name in words and isinstance(value, str))
        }
    if isinstance(schema, list):
        return [without_words(one) for one in schema]
    return schema
