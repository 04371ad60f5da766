"""Schemas, Rego and Python: three descriptions of one input and one decision, kept the same."""

import itertools
import json
import re
from functools import cache
from pathlib import Path

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from broker.domain import Principal
from broker.errors import PUBLIC, Reason
from broker.oauth import AuthMethod, Mode, TokenType
from broker.policy.decision import (
    MAX_NAMES,
    MAX_REASONS,
    POLICY_REASONS,
    DecisionMalformed,
    read_decision,
)
from broker.policy.input import build_input
from broker.policy.proxy import PROXY_REASONS
from tests import configuration
from tests.builders import (
    BROKER,
    IDP,
    client,
    delegation,
    exchange,
    target,
    token_exchange_request,
    verified_token,
)
from tests.decisions import allowance, refusal

POLICIES = Path(__file__).parents[3] / "policies"


@cache
def schema(name: str) -> dict:
    return json.loads((POLICIES / "schemas" / f"{name}.json").read_text())


def faults(name: str, document: object) -> list[str]:
    """Return what the schema finds wrong."""
    validator = jsonschema.Draft7Validator(schema(name))
    return [error.message for error in validator.iter_errors(document)]


def rego(*, tests: bool = False) -> dict[str, str]:
    """Return the text of each Rego file that is built, or of the tests beside them."""
    return {
        path.relative_to(POLICIES).as_posix(): path.read_text()
        for path in sorted(POLICIES.rglob("*.rego"))
        if path.stem.endswith("_test") is tests
    }


@pytest.mark.parametrize("name", ["input", "decision", "grants"])
def test_a_schema_is_one(name):
    """JSON Schema draft 7, which is what ``opa check`` reads."""
    jsonschema.Draft7Validator.check_schema(schema(name))


# ---------------------------------------------------------------- input

principals = st.builds(Principal, st.sampled_from([BROKER, IDP]), st.text(min_size=1))
names = st.text(min_size=1, max_size=8)
json_claims = st.dictionaries(names, st.none() | st.booleans() | st.integers() | st.lists(names))
tokens = st.builds(
    lambda principal, scopes, audiences, client_id, scopeless, claims: verified_token(
        principal=principal,
        scopes=scopes,
        audiences=audiences,
        client_id=client_id,
        scopeless=scopeless,
        policy_claims=claims,
    ),
    principals,
    st.frozensets(names),
    st.lists(names).map(tuple),
    st.none() | names,
    st.booleans(),
    json_claims,
)
exchanges = st.builds(
    lambda subject, actor, chain, purpose, method, token_type, targets, flag: exchange(
        subject=subject,
        actor=actor,
        client=client(auth_method=method),
        request=token_exchange_request(purpose=purpose, requested_token_type=token_type),
        delegation=delegation(chain=chain, reenters=flag, actor_token=actor is not None),
        targets=tuple(target(name, claims=("email",) * flag) for name in targets),
    ),
    tokens,
    st.none() | tokens,
    st.lists(principals, max_size=8).map(tuple),
    st.none() | st.text(),
    st.sampled_from(AuthMethod),
    st.sampled_from(TokenType),
    st.lists(names, min_size=1, max_size=3, unique=True),
    st.booleans(),
)


@given(exchanges)
def test_every_input_that_is_built_is_of_its_schema(asked):
    """A policy that relies on the schema is never surprised."""
    built = build_input(asked)

    assert [] == faults("input", built)
    assert built == json.loads(json.dumps(built))


def test_the_input_s_schema_leaves_nothing_open():
    """Every member is named and required, so a misspelt one in Rego is found by ``opa check``."""
    open_objects = [
        node
        for node in walk(schema("input"))
        if node.get("type") == "object"
        and "properties" in node
        and (
            node.get("additionalProperties") is not False
            or set(node["properties"]) != set(node["required"])
        )
    ]

    assert [] == open_objects


def walk(node: object):
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from walk(child)
    elif isinstance(node, list):
        for child in node:
            yield from walk(child)


def test_the_input_s_words_are_ours():
    """RFC 7591 §2: the methods that a client may have authenticated by."""
    methods = schema("input")["properties"]["client"]["properties"]["auth_method"]["enum"]

    assert sorted(AuthMethod) == sorted(methods)


# ---------------------------------------------------------------- decision


def definition(name: str) -> dict:
    return schema("decision")["definitions"][name]


def test_reasons_are_the_same_everywhere():
    """The reader's, the schema's, and Python's closed set, with a public text each."""
    assert sorted(POLICY_REASONS) == definition("reason")["enum"]
    assert set(POLICY_REASONS.values()) <= set(Reason)
    assert set(POLICY_REASONS.values()) <= set(PUBLIC)


def test_every_code_of_the_rego_is_a_reason_of_the_schema():
    """METADATA, precedence and fallback: a misspelt code would make a refusal malformed."""
    codes = {
        code
        for text in rego().values()
        for code in re.findall(r"^#\s+code: (\S+)$", text, re.MULTILINE)
    }
    literals = {
        literal for text in rego().values() for literal in re.findall(r'"([a-z_]+\.[a-z_]+)"', text)
    }
    # For rules of one's own.
    spare = {"policy.denied", "proxy.denied", "proxy.scope_not_allowed"}

    assert codes | spare == {*POLICY_REASONS, *PROXY_REASONS}
    assert literals <= {*POLICY_REASONS, *PROXY_REASONS}


def test_every_code_has_its_place_in_the_order_of_reasons():
    """Which reason is answered is decided, not left to the alphabet."""
    text = rego()["broker/exchange/decision.rego"]
    precedence = re.search(r"_precedence := \[(.*?)\]", text, re.DOTALL)
    assert precedence

    ranked = re.findall(r'"(\S+)"', precedence[1])

    assert sorted(ranked) == sorted(set(POLICY_REASONS) - {"policy.denied"})


def test_every_reason_of_the_stock_policy_has_a_rego_test():
    """Style §7: one test per reason, on the whole decision."""
    tests = "\n".join(rego(tests=True).values())

    assert [] == [code for code in (*POLICY_REASONS, *PROXY_REASONS) if f'"{code}"' not in tests]


def test_every_package_names_the_schema_of_its_input():
    """``opa check --schema`` sees no other: a misspelt member would be undefined in silence."""
    silent = [
        name
        for name, text in rego().items()
        if f"- input: schema.{'proxy_' if '/proxy/' in name else ''}input" not in text
    ]

    assert [] == silent


def test_no_rule_knows_a_clock_a_network_or_chance():
    """Design §6: a decision can be replayed from its input."""
    # Whether an address is in a network is arithmetic; to look a name up is not.
    asks = r"time\.now_ns|http\.send|rand\.|opa\.runtime|net\.(?!cidr_contains\b)|uuid\.|trace\("
    forbidden = re.compile(rf"\b({asks})")

    assert [] == [name for name, text in rego().items() if forbidden.search(text)]


def test_every_public_rule_says_what_it_is():
    """Style §7: METADATA on public rules, which is what a reader and an explanation go by."""
    silent = [
        f"{name}:{number}"
        for name, text in rego().items()
        for number in _undescribed(text.splitlines())
    ]

    assert [] == silent


def _undescribed(lines):
    """Yield where public rules begin that nothing is said of, the first time."""
    seen = {"package", "import"}
    for number, line in enumerate(lines):
        head = re.match(r"(?:default )?([a-z]\w*)\b", line)
        if head is None or head[1] in seen:
            continue
        seen.add(head[1])
        above = list(itertools.takewhile(lambda each: each[:1] == "#", reversed(lines[:number])))
        if not any(each.startswith("# description:") for each in above):
            yield number + 1


def test_every_rule_has_its_test_beside_it():
    """Style §7: one concern a folder, rule and test side by side."""
    tests = rego(tests=True)

    assert [] == [name for name in rego() if name.replace(".rego", "_test.rego") not in tests]


def test_a_yes_has_the_same_members_everywhere():
    """What one of the two would read, the other requires."""
    permit = definition("permit")

    assert list(allowance(reuse=1)) == list(permit["properties"])
    assert set(allowance()) == set(permit["required"])
    assert sorted(Mode) == sorted(permit["properties"]["mode"]["enum"])


def test_the_bounds_are_the_same_everywhere():
    """A document of the schema's size is read, and no larger one."""
    bounds = (
        definition("deny")["properties"]["reasons"]["maxItems"],
        definition("names")["maxItems"],
        definition("permit")["properties"]["derived"]["maxItems"],
    )

    assert (MAX_REASONS, MAX_NAMES, MAX_NAMES) == bounds


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 5)
    | st.sampled_from([0.5, 1.5])  # 1.0 is an integer to JSON Schema, and not to us
    | st.sampled_from(["", "a", "policy.denied", "delegation", "impersonation", "identity"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["scope", "from", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
members = st.sampled_from([*allowance(), "reuse", "x"])


@given(
    st.sampled_from([allowance(), refusal("policy.denied"), {}]),
    st.dictionaries(members, values, max_size=3),
    st.sets(members, max_size=1),
)
def test_the_reader_takes_exactly_what_the_schema_allows(document, changes, without):
    """Whoever writes policies by the schema is understood, and nobody else is."""
    changed = {name: value for name, value in (document | changes).items() if name not in without}
    try:
        read_decision(changed)
    except DecisionMalformed:
        assert faults("decision", changed)
    else:
        assert not faults("decision", changed)


# ---------------------------------------------------------------- grants


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(
            yaml.safe_load((POLICIES / "broker" / "grants" / "data.yaml").read_text()), id="stock"
        ),
        pytest.param(configuration.grants(), id="of-the-tests"),
        pytest.param({}, id="none"),
        pytest.param({"a": {"b": {"scopes": []}}}, id="least"),
    ],
)
def test_grants_are_of_their_schema(rows):
    """What ships and what the suite uses is written as the reference says."""
    assert [] == faults("grants", rows)


@pytest.mark.parametrize(
    "grant",
    [
        pytest.param({}, id="no-scopes"),
        pytest.param({"scopes": "orders.read"}, id="scopes-text"),
        pytest.param({"scopes": [], "scope": []}, id="unknown-member"),
        pytest.param({"scopes": [], "max_lifetime": 120}, id="lifetime-number"),
        pytest.param({"scopes": [], "max_lifetime": "0s"}, id="lifetime-nothing"),
        pytest.param({"scopes": [], "max_lifetime": "2 m"}, id="lifetime-space"),
        pytest.param({"scopes": [], "max_depth": 0}, id="depth-nothing"),
        pytest.param({"scopes": [], "reuse": "0s"}, id="reuse-nothing"),
        pytest.param({"scopes": [], "reuse": 30}, id="reuse-number"),
        pytest.param({"scopes": [], "mode": "both"}, id="mode-unknown"),
        pytest.param({"scopes": [], "reentry": "yes"}, id="reentry-text"),
        pytest.param({"scopes": [], "excess": "ignore"}, id="excess-unknown"),
        pytest.param({"scopes": [], "derives": ["a"]}, id="derives-list"),
        pytest.param({"scopes": [], "derives": {"a": "b"}}, id="derives-text"),
        pytest.param(None, id="null"),
    ],
)
def test_a_grant_that_is_not_of_the_schema_is_found(grant):
    """What Rego would pass over in silence, the check names."""
    assert [] != faults("grants", {"a": {"b": grant}})
