"""Both engines, one suite: the same input and policy give the same decision (OP-11)."""

import json
from collections import Counter
from datetime import timedelta

import httpx
import jsonschema
import orjson
import pytest
from hypothesis import given, settings

from broker.policy.engine import MAX_INPUT
from broker.policy.guest import Guest
from broker.policy.input import build_input
from broker.policy.ordinary import OrdinaryGuest
from broker.policy.wasm import WasmEngine
from tests.integration.policy.conftest import STOCK
from tests.integration.policy.inputs import (
    MALFORMED,
    PERMITS,
    REFUSALS,
    encoded,
    policy_input,
    scopeless,
)
from tests.invariants.cases import exchanges

DECISION = json.loads((STOCK / "schemas" / "decision.json").read_text())
INPUT = json.loads((STOCK / "schemas" / "input.json").read_text())
PERMIT = {
    "allow": True,
    "reasons": [],
    "targets": ["svc-b"],
    "scopes": ["orders.read"],
    "derived": [],
    "lifetime": 300,
    "mode": "delegation",
    "max_depth": 8,
    "reentry": False,
    "purpose": None,
    "claims": [],
    "obligations": [],
}


@pytest.mark.parametrize("case", PERMITS)
async def test_a_permit_is_a_whole_document(engine, case):
    """What is allowed, within its bounds, as schemas/decision.json says."""
    changes = PERMITS[case]
    jsonschema.validate(policy_input(**changes), INPUT)
    output = (await engine.evaluate(encoded(**changes))).output

    jsonschema.validate(output, DECISION)
    assert True is output["allow"]


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("one-scope", {}),
        ("two-scopes", {"scopes": ["orders.read", "orders.write"]}),
        ("lower-limit-of-the-subject", {"max_depth": 2}),
        ("default-scope", {}),
        ("narrowed", {}),
        ("impersonation", {"mode": "impersonation"}),
        ("purpose", {"purpose": "billing"}),
        ("purpose-that-nobody-asked-for", {}),
        ("reentry", {"reentry": True}),
        ("reuse", {"reuse": 60}),
        (
            "reuse-for-two-targets",
            {"targets": ["svc-b", "svc-c"], "lifetime": 20, "reuse": 20},
        ),
        ("two-targets", {"targets": ["svc-b", "svc-c"], "lifetime": 120}),
        ("claims-of-the-target", {"claims": ["acr", "email"]}),
        ("names-outside-ascii", {}),
        ("large", {}),
    ],
)
async def test_a_permit_says_exactly_this(engine, case, expected):
    """The whole document, whichever engine."""
    output = (await engine.evaluate(encoded(**PERMITS[case]))).output

    for name in ("scopes", "claims"):
        output[name].sort()
    assert PERMIT | expected == output


async def test_a_derived_scope_names_what_it_follows_from(engine):
    """Invariant 1: a scope that is not held, or the word identity."""
    outputs = [
        (await engine.evaluate(encoded(**changes))).output["derived"]
        for changes in (PERMITS["derived-of-a-scope"], scopeless())
    ]

    assert [
        [{"scope": "customers.read", "from": "orders.write"}],
        [{"scope": "customers.read", "from": "identity"}],
    ] == outputs


@pytest.mark.parametrize("case", REFUSALS)
async def test_a_refusal_gives_its_reason(engine, case):
    """One reason for one fault."""
    changes, reasons = REFUSALS[case]
    output = (await engine.evaluate(encoded(**changes))).output

    assert {"allow": False, "reasons": reasons} == output


@pytest.mark.parametrize("case", MALFORMED)
async def test_what_is_malformed_is_no_yes(engine, case):
    """Rego is silent about what is missing or of the wrong type; silence allows nothing."""
    output = (await engine.evaluate(encoded(**MALFORMED[case]))).output

    assert output is None or False is output["allow"]


@pytest.mark.row("OP-11")
@pytest.mark.parametrize("changes", [*PERMITS.values(), *(c for c, _ in REFUSALS.values())])
@pytest.mark.parametrize("times", [2])
async def test_both_engines_decide_alike(wasm_engine, opa_engine, changes, times):
    """OP-11: the recorded input and the bundle of the recorded revision give the decision again."""
    recorded = encoded(**changes)
    evaluations = [await engine.evaluate(recorded) for engine in (wasm_engine, opa_engine) * times]
    first = evaluations[0]

    assert [first.output] * len(evaluations) == [each.output for each in evaluations]
    assert [first.revision] * len(evaluations) == [each.revision for each in evaluations]


@pytest.mark.row("OP-11")
@pytest.mark.parametrize("case", MALFORMED)
async def test_both_engines_refuse_what_is_malformed_alike(wasm_engine, opa_engine, case):
    """OP-11, for inputs that nobody should send."""
    recorded = encoded(**MALFORMED[case])
    wasm, opa = [(await each.evaluate(recorded)).output for each in (wasm_engine, opa_engine)]

    assert wasm == opa


def spell(output):
    """Return a decision with its lists in order; all of them stand for sets."""
    lists = {
        name: sorted(value, key=orjson.dumps)
        for name, value in (output or {}).items()
        if isinstance(value, list) and name != "reasons"
    }
    return output and output | lists


@pytest.mark.row("OP-11")
def test_a_thousand_inputs_are_decided_alike_three_ways(bundle, stock_server):
    """The quick call of the guest, wasmtime's ordinary one, and OPA itself."""
    quick, ordinary = (
        WasmEngine(bundle, deadline=timedelta(seconds=20), guest=guest)
        for guest in (Guest, OrdinaryGuest)
    )
    url = f"{stock_server.url}/v1/data/broker/exchange/decision"
    decided = Counter()

    with httpx.Client() as client:

        @settings(max_examples=1000, deadline=None)
        @given(exchanges())
        def compare(asked):
            recorded = orjson.dumps(build_input(asked[0]))
            outputs = [engine.decide(recorded).output for engine in (quick, ordinary)]
            answer = client.post(url, content=b'{"input": %b}' % recorded)
            outputs.append(answer.raise_for_status().json().get("result"))
            # OPA writes a set sorted and its WebAssembly as it comes: order means nothing here.
            spelled = [spell(output) for output in outputs]
            assert [spelled[0]] * 3 == spelled
            decided[outputs[0] is not None and outputs[0]["allow"]] += 1

        try:
            compare()
        finally:
            quick.close()
            ordinary.close()
    # Neither kind of answer is rare, or little would have been compared.
    assert min(decided[True], decided[False]) > 50, decided


async def test_an_evaluation_holds_all_that_replays_it(engine, bundle):
    """Design §6: the input as it was given, and the revision of what decided."""
    evaluation = await engine.evaluate(encoded())

    assert encoded() == evaluation.input
    assert bundle.revision == evaluation.revision == engine.revision
    assert "alice" not in repr(evaluation)


async def test_no_decision_sees_the_one_before(engine):
    """A large input, another, and the first again: nothing is left over in between."""
    inputs = [encoded(**PERMITS[case]) for case in ("large", "one-scope", "two-scopes", "large")]
    outputs = [(await engine.evaluate(each)).output for each in inputs * 5]

    assert outputs[:4] * 5 == outputs


async def test_an_input_beyond_all_bounds_is_undefined(engine):
    """ATK-POL-01: nothing that large is ever asked, and no answer is a refusal."""
    huge = encoded(subject__claims={"groups": "x" * MAX_INPUT})

    assert (await engine.evaluate(huge)).output is None
