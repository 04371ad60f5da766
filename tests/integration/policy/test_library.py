"""The rules of the library as the broker runs them: in WebAssembly, beside OPA itself."""

import copy
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.policy.bundle import build_bundle
from broker.policy.scaffold.scaffold import create_folder
from broker.policy.scaffold.template import TEMPLATES
from broker.policy.stock import find_stock
from broker.policy.wasm import WasmEngine

TARGET = "ledger"
GRANT = {"scopes": ["ledger.read"], "derives": {"ledger.write": ["orders.write"]}}
BROKER = {"issuer": "https://broker.example.com", "subject": "checkout"}
GOOD: dict[str, Any] = {
    "request": {
        "id": "request-1",
        "time": 1795608000,
        "audiences": [TARGET],
        "resources": [],
        "targets": [
            {
                "name": TARGET,
                "audience": TARGET,
                "scopes": ["ledger.read", "ledger.write"],
                "max_lifetime": 300,
                "claims": [],
            }
        ],
        "scopes": ["ledger.read"],
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "purpose": None,
        "source": "192.0.2.1",
    },
    "client": {"id": "checkout", "auth_method": "client_secret_basic", "targets": []},
    "subject": {
        "issuer": "https://idp.example.com",
        "subject": "alice",
        "client_id": "app",
        "token_type": "urn:ietf:params:oauth:token-type:access_token",
        "scopes": ["ledger.read", "orders.write"],
        "scopeless": False,
        "audiences": ["checkout"],
        "issued_at": 1795607900,
        "expires_at": 1795611600,
        "claims": {},
    },
    "actor": None,
    "delegation": {
        "acting": BROKER,
        "chain": [BROKER],
        "depth": 1,
        "max_depth": 8,
        "reenters": False,
        "actor_token": False,
    },
}
# A partner's subject may have what its parameters say; more than that it asks for here.
BEYOND = {"partner": {"/request/scopes": ["ledger.write"]}}
MALFORMED = [None, True, 0, "", "x", [], {}, [[]], {"x": []}]


def patched(changes: dict[str, Any]) -> dict[str, Any]:
    """The good input with some members replaced."""
    made = copy.deepcopy(GOOD)
    for path, value in changes.items():
        place: Any = made
        *parents, last = path.strip("/").split("/")
        for name in parents:
            place = place[name]
        place[last] = copy.deepcopy(value)
    return made


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every member, by its path."""
    if isinstance(value, dict | list):
        for key, member in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key), member
            yield from paths(member, (*path, key))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each rule of the library a policy that has it, for the one target."""
    root = tmp_path_factory.mktemp("library")
    for rule in TEMPLATES:
        create_folder(root / rule, [rule], TARGET)
        grants = root / rule / "broker/grants/data.yaml"
        grants.write_text(yaml.safe_dump({"checkout": {TARGET: GRANT}}))
    return {rule: root / rule for rule in TEMPLATES}


@pytest.fixture(scope="module")
def engines(folders: dict[str, Path]) -> Iterator[dict[str, WasmEngine]]:
    """The same, compiled."""
    made = {rule: WasmEngine(build_bundle(folder)) for rule, folder in folders.items()}
    yield made
    for engine in made.values():
        engine.close()


def decide(engine: WasmEngine, asked: Any) -> dict[str, Any]:
    """What the policy says."""
    return engine.decide(orjson.dumps(asked)).output


@pytest.mark.parametrize("rule", TEMPLATES)
def test_a_rule_lets_pass_and_refuses_in_webassembly(engines: dict[str, WasmEngine], rule: str):
    """And only the one that lets pass and is to be told of obliges to that."""
    template = TEMPLATES[rule]
    unmet = decide(engines[rule], patched(template.unmet | BEYOND.get(rule, {})))
    met = decide(engines[rule], patched(template.met))

    assert met["allow"], met
    assert ["alert"] * template.obliges == met["obligations"]
    assert {"allow": False, "reasons": ["policy.denied"]} == unmet


@pytest.mark.parametrize("rule", TEMPLATES)
def test_webassembly_and_opa_agree(
    engines: dict[str, WasmEngine], folders: dict[str, Path], opa: Path, tmp_path: Path, rule: str
):
    """On what is met, on what is not, and on every member that is malformed."""
    template = TEMPLATES[rule]
    asked = [patched(template.met), patched(template.unmet)]
    for path, _ in paths(patched(template.met)):
        if path[0] in {"request", "subject", "delegation"}:
            asked += [_replaced(patched(template.met), path, value) for value in MALFORMED[:4]]
    inputs = tmp_path / "inputs.json"
    inputs.write_bytes(orjson.dumps(asked))
    query = "[d | some i in input; d := data.broker.exchange.decision with input as i]"
    ended = subprocess.run(
        [opa, "eval", "--format", "json", "-b", folders[rule], "-i", inputs, query],
        capture_output=True,
        check=True,
    )
    said = json.loads(ended.stdout)["result"][0]["expressions"][0]["value"]

    assert said == [decide(engines[rule], each) for each in asked]


def _replaced(asked: Any, path: tuple[Any, ...], value: Any) -> Any:
    place = asked
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return asked


@pytest.mark.parametrize("rule", TEMPLATES)
def test_whatever_is_missing_or_malformed_lets_nobody_pass(
    engines: dict[str, WasmEngine], rule: str
):
    """Rego says no more than undefined to a member that is not there, and `not` of that is true."""
    engine = engines[rule]
    base = patched(TEMPLATES[rule].unmet | BEYOND.get(rule, {}))
    every = [(path, value) for path, old in paths(base) for value in _others(path, old)]

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from(every), max_size=4))
    def mutate(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
        asked = copy.deepcopy(base)
        for path, value in changes:
            place: Any = asked
            try:
                for name in path[:-1]:
                    place = place[name]
                if isinstance(place, dict) is isinstance(path[-1], int):
                    continue  # another change has made an object of a list, or a list of one
                if value is ...:
                    del place[path[-1]]
                else:
                    place[path[-1]] = copy.deepcopy(value)
            except (KeyError, IndexError, TypeError):
                continue  # another change has taken it away
        assert not decide(engine, asked)["allow"], asked

    mutate()


def _others(path: tuple[Any, ...], old: Any) -> list[Any]:
    """What a member may be replaced with; never by another good one."""
    values = [*MALFORMED, ...]
    if isinstance(old, str) and path[-1] == "issuer":
        return [value for value in values if not isinstance(value, str)]
    if isinstance(old, int) and not isinstance(old, bool):
        return [value for value in values if value is True or not isinstance(value, int)]
    return values


def test_what_no_rule_calls_is_not_compiled(tmp_path: Path):
    """A policy without the library is the same policy, by its revision."""
    create_folder(tmp_path / "with", (), TARGET)
    create_folder(tmp_path / "without", (), TARGET)
    for path in (tmp_path / "without/broker/library").rglob("*.rego"):
        path.unlink()
    stock = build_bundle(find_stock()).revision

    assert {stock} == {build_bundle(tmp_path / name).revision for name in ("with", "without")}
