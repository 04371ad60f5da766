"""What the policy is asked of the token proxy and what it answers: schema and Python, the same."""

import json
from pathlib import Path

import jsonschema
from hypothesis import given
from hypothesis import strategies as st

from broker.domain import ProxyQuestion
from broker.errors import Reason
from broker.policy.decision import DecisionMalformed
from broker.policy.proxy import PROXY_REASONS, build_proxy_input, read_proxy_decision
from broker.settings import Upstream

SCHEMAS = Path(__file__).parents[3] / "policies" / "schemas"


def schema(name: str) -> jsonschema.Draft7Validator:
    """One of the published schemas."""
    return jsonschema.Draft7Validator(json.loads((SCHEMAS / f"{name}.json").read_text()))


INPUT, DECISION = schema("proxy_input"), schema("proxy_decision")
TEXTS = st.lists(st.text(max_size=5), max_size=3).map(tuple)


@given(
    st.builds(
        ProxyQuestion,
        upstream=st.text(),
        unverified_client_id=st.text(),
        scopes=TEXTS,
        audiences=TEXTS,
        resources=TEXTS,
        parameters=st.lists(
            st.tuples(st.text(max_size=3), st.text(max_size=3)), unique_by=lambda pair: pair[0]
        ).map(tuple),
    )
)
def test_every_input_that_is_built_is_of_its_schema(question):
    """Whatever was asked for; and no secret has a place in it."""
    upstream = Upstream(
        name="idp", token_endpoint="https://idp.test/t", clients=("a",), parameters=("tenant",)
    )
    built = json.loads(build_proxy_input(question, upstream))

    assert [] == list(INPUT.iter_errors(built))
    assert question.unverified_client_id == built["client"]["id"]
    assert dict(question.parameters) == built["request"]["parameters"]


def test_the_reasons_are_the_same_everywhere():
    """And each is of the proxy."""
    listed = DECISION.schema["oneOf"][1]["properties"]["reasons"]["items"]["enum"]

    assert sorted(listed) == sorted(PROXY_REASONS)
    assert all(code.startswith("proxy.") for code in PROXY_REASONS)


REASONS = st.lists(st.sampled_from([*PROXY_REASONS, "policy.denied", "x", 7, None]), max_size=3)
DOCUMENTS = st.one_of(
    st.fixed_dictionaries(
        {"allow": st.sampled_from([True, False, 1, "true", None]), "reasons": REASONS}
    ),
    st.dictionaries(st.sampled_from(["allow", "reasons", "more"]), st.booleans() | REASONS),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists),
)


@given(DOCUMENTS)
def test_the_reader_takes_exactly_what_the_schema_allows(document):
    """Nothing is converted, and nothing passed over."""
    allowed = not list(DECISION.iter_errors(document))
    try:
        read = read_proxy_decision(document)
    except DecisionMalformed:
        read = None

    assert allowed == (read is not None)
    if read is not None:
        assert [Reason(code) for code in document["reasons"]] == list(read)
