"""Grants that cannot be read, and names in them that nobody has."""

import json
from pathlib import Path

import jsonschema
import pytest

from broker.policy.grants import check_grants, read_grants
from broker.settings import Settings
from tests.configuration import document, grants

SCHEMA = json.loads((Path(__file__).parents[3] / "policies/schemas/grants.json").read_text())


@pytest.fixture(scope="module")
def settings() -> Settings:
    """The configuration that the tests share."""
    return Settings.model_validate(document(), context={"folder": Path()})


def problems(cell: object, settings: Settings | None = None) -> list[str]:
    """What is said about one grant of a client at a target."""
    return [str(each) for each in check_grants({"svc-a": {"svc-b": cell}}, settings)]


@pytest.mark.parametrize(
    "member",
    [
        pytest.param({"scopes": "orders.read"}, id="scopes-no-list"),
        pytest.param({"scopes": [1]}, id="scope-no-text"),
        pytest.param({"scopes": None}, id="scopes-null"),
        pytest.param({"derives": []}, id="derives-a-list"),
        pytest.param({"derives": {"a": "b"}}, id="derives-no-list"),
        pytest.param({"derives": {"a": [None]}}, id="derives-from-null"),
        pytest.param({"default_scopes": {}}, id="defaults-no-list"),
        pytest.param({"excess": "allow"}, id="excess-unknown"),
        pytest.param({"max_lifetime": 300}, id="lifetime-a-number"),
        pytest.param({"max_lifetime": "5"}, id="lifetime-without-unit"),
        pytest.param({"max_lifetime": "0s"}, id="lifetime-zero"),
        pytest.param({"max_lifetime": "500ms"}, id="lifetime-below-a-second"),
        pytest.param({"max_lifetime": "5m x"}, id="lifetime-with-more"),
        pytest.param({"max_lifetime": None}, id="lifetime-null"),
        pytest.param({"max_depth": 0}, id="depth-zero"),
        pytest.param({"max_depth": "3"}, id="depth-text"),
        pytest.param({"max_depth": True}, id="depth-true"),
        pytest.param({"max_depth": None}, id="depth-null"),
        pytest.param({"mode": "both"}, id="mode-unknown"),
        pytest.param({"purposes": "billing"}, id="purposes-no-list"),
        pytest.param({"reentry": "yes"}, id="reentry-text"),
        pytest.param({"reentry": 1}, id="reentry-a-number"),
        pytest.param({"issuers": "*"}, id="issuers-no-list"),
        pytest.param({"reuse": True}, id="reuse-true"),
        pytest.param({"reuse": "30"}, id="reuse-without-unit"),
        pytest.param({"reuse": "0s"}, id="reuse-zero"),
        pytest.param({"reuse": None}, id="reuse-null"),
        pytest.param({"max_depht": 3}, id="misspelt"),
    ],
)
def test_what_the_schema_refuses_is_named(member):
    """policies/schemas/grants.json, said with the key first."""
    cell = {"scopes": ["orders.read"]} | member
    found = problems(cell)

    assert not jsonschema.Draft7Validator(SCHEMA).is_valid({"svc-a": {"svc-b": cell}})
    assert found
    assert all(each.startswith(f"svc-a.svc-b.{next(iter(member))}") for each in found)


def test_scopes_are_required():
    """A grant of nothing is a mistake."""
    assert ["svc-a.svc-b.scopes: is required"] == problems({})


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param([], "configuration: write a mapping", id="no-mapping"),
        pytest.param({"svc-a": []}, "svc-a: write a mapping", id="client-no-mapping"),
        pytest.param({"svc-a": {"svc-b": []}}, "svc-a.svc-b: write a mapping", id="no-grant"),
        pytest.param({"svc-a": {"svc-b": None}}, "svc-a.svc-b: write a mapping", id="null"),
    ],
)
def test_what_is_no_mapping_is_named(data, said):
    """Client, target, grant."""
    assert [said] == [str(each)[: len(said)] for each in check_grants(data, None)]


def test_the_test_grants_have_no_problem(settings):
    """Every client, target, scope and issuer in them is configured; so the schema says too."""
    assert [] == check_grants(grants(), settings)
    jsonschema.validate(grants(), SCHEMA)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(
            {"nobody": {"svc-b": {"scopes": ["orders.read"]}}},
            "nobody: is no client; write the id of one of clients",
            id="client",
        ),
        pytest.param(
            {"svc-a": {"nowhere": {"scopes": ["orders.read"]}}},
            "svc-a.nowhere: is no target; write the name of one of targets",
            id="target",
        ),
        pytest.param(
            {"svc-a": {"svc-b": {"scopes": ["orders.read", "orders.raed"]}}},
            "svc-a.svc-b.scopes[1]: orders.raed is no scope of this target",
            id="scope",
        ),
        pytest.param(
            {"svc-a": {"svc-b": {"scopes": [], "derives": {"x": ["orders.read"]}}}},
            "svc-a.svc-b.derives.x: is no scope of this target",
            id="derived-scope",
        ),
        pytest.param(
            {"svc-a": {"svc-b": {"scopes": ["orders.read"], "default_scopes": ["orders.write"]}}},
            "svc-a.svc-b.default_scopes[0]: orders.write is not granted here",
            id="default-scope",
        ),
        pytest.param(
            {"svc-a": {"svc-b": {"scopes": ["orders.read"], "issuers": ["https://x.test"]}}},
            "svc-a.svc-b.issuers[0]: https://x.test is no trusted issuer",
            id="issuer",
        ),
    ],
)
def test_a_name_that_is_not_configured_is_said(settings, data, expected):
    """It would never match, and nobody would know why."""
    assert [expected] == [str(each) for each in check_grants(data, settings)]


def test_names_are_checked_where_the_rest_can_be_read(settings):
    """One broken grant does not hide what is wrong with the next."""
    data = {"nobody": {"svc-b": {}, "nowhere": {"scopes": []}}}
    said = [str(each).partition(":")[0] for each in check_grants(data, settings)]

    assert ["nobody", "nobody.svc-b.scopes", "nobody.nowhere"] == said


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"broker":{"grants":{"a":{}}}}', {"a": {}}),
        (b'{"broker":{}}', {}),
        (b"{}", {}),
        (b'{"broker":[]}', []),
    ],
)
def test_grants_are_found_in_a_bundle_s_data(data, expected):
    """Where ``policies/broker/grants/data.yaml`` ends up."""
    assert expected == read_grants(data)
