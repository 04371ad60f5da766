"""The keys of the configuration as data, for the reference page and for messages."""

import pytest
from pydantic import BaseModel

from broker.settings import Key, Settings, describe_keys
from broker.settings.keys import find_model

KEYS = {key.name: key for key in describe_keys(Settings)}


def test_every_key_is_described():
    """The reference page has no empty cell, and no name of Python in it."""
    assert [] == [key.name for key in KEYS.values() if not key.description.endswith(".")]
    assert [] == [key.name for key in KEYS.values() if "typing" in key.type or "<" in key.type]


@pytest.mark.parametrize(
    "expected",
    [
        Key(
            "issuer",
            "text",
            None,
            "Our issuer identifier, the `iss` of issued tokens; http only on loopback.",
            section=False,
        ),
        Key(
            "limits.authentication_failures",
            "text",
            "20/1m",
            "Failed authentications of one client from one address, then 429;"
            " ten times as many over all clients from one address.",
            section=False,
        ),
        Key(
            "issuers[].leeway",
            "duration",
            "30s",
            "Difference of clocks allowed for `nbf` and `iat`.",
            section=False,
        ),
        Key(
            "clients[].known_as[].id",
            "text",
            None,
            "What it calls the client.",
            section=False,
        ),
        Key(
            "trusted_proxies",
            "list of network",
            "[]",
            "Networks of the proxies whose forwarding headers are believed.",
            section=False,
        ),
        Key("listen", "section", "", "The listener that clients reach.", section=True),
    ],
    ids=lambda key: key.name,
)
def test_a_key_is_shown_as_it_is_written(expected):
    """Name, type, default and sentence."""
    assert expected == KEYS[expected.name]


def test_a_section_stands_before_its_keys_and_required_keys_first():
    """The order in which one would fill them in."""
    names = list(KEYS)
    issuer = [name for name in names if name.startswith("issuers[].")]

    assert names.index("listen") < names.index("listen.port")
    assert ["issuers[].issuer", "issuers[].alias", "issuers[].algorithms"] == issuer[:3]


def test_a_path_leads_to_the_model_there():
    """Lists are passed through by their numbers."""
    found: type[BaseModel] | None = find_model(Settings, ("clients", 0, "known_as", 3))

    assert found is not None
    assert ["issuer", "id"] == list(found.model_fields)
    assert find_model(Settings, ("issuer", "x", "y")) is None
    assert find_model(Settings, ("nope",)) is None
