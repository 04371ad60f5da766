"""An explanation names the rule that decided, and never tells of another decision than the one."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.domain import Exchange
from broker.errors import Reason
from broker.policy.bundle import Bundle, render_archive
from broker.policy.decision import POLICY_REASONS
from broker.policy.input import build_input
from broker.workbench.explain.case import read_case
from broker.workbench.explain.concerns import Standing
from broker.workbench.explain.explanation import Agreement, Explanation
from broker.workbench.explain.fates import Cause, Outcome
from broker.workbench.explain.floor import Finding
from broker.workbench.explain.observation import Observation, Supposition
from broker.workbench.explain.policy import ExplainedPolicy, normal_decision, open_policy
from broker.workbench.explain.rule import State
from broker.workbench.verdict import Fault
from tests.integration.policy.inputs import (
    PERMITS,
    REFUSALS,
    TIME,
    customers,
    policy_input,
    scopeless,
    target,
)
from tests.invariants.cases import exchanges

CEILING = 8
OWN = """# METADATA
# schemas:
#   - input: schema.input
package broker.rules.moving

# METADATA
# description: That network is being moved.
# custom:
#   code: policy.denied
deny contains rego.metadata.rule().custom.code if input.request.source == "198.51.100.99"

deny contains "policy.issuer_not_allowed" if input.subject.subject == "mallory"

deny contains "policy.denied" if not _known

_known if {
	is_string(input.client.id)
	input.client.id != "svc-c"
}
"""
# Which concern each of the reasons of the stock policy is told by.
CONCERNS = {
    "policy.target_not_granted": "grants",
    "policy.issuer_not_allowed": "issuers",
    "policy.mode_conflict": "mode",
    "policy.impersonation_with_actor_token": "mode",
    "policy.purpose_missing": "purpose",
    "policy.purpose_not_allowed": "purpose",
    "delegation.depth_exceeded": "depth",
    "delegation.loop": "loop",
    "scope.missing": "scopes",
    "policy.scope_unknown": "scopes",
    "policy.scope_not_granted": "scopes",
    "policy.scope_not_held": "scopes",
    "policy.scope_nothing_left": "scopes",
}

# The rule that such a denial negates.
CONDITIONS = {
    "policy.target_not_granted": "complete",
    "policy.issuer_not_allowed": "allowed",
    "policy.purpose_not_allowed": "allowed",
    "delegation.depth_exceeded": "within",
    "delegation.loop": "absent",
}


@pytest.fixture(scope="module")
def policy(policy_folder: Path) -> Iterator[ExplainedPolicy]:
    """The stock policy with the test grants."""
    with open_policy(policy_folder, ceiling=CEILING) as opened:
        yield opened


@pytest.fixture
def edited(policy_folder: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    folder = tmp_path / "policies"
    shutil.copytree(policy_folder, folder)
    return folder


def explained(policy: ExplainedPolicy, **changes: Any) -> Explanation:
    """The explanation of an input that was changed."""
    return policy.explain(read_case(policy_input(**changes)))


def edit(folder: Path, name: str, old: str, new: str) -> None:
    """Replace a text in a file of the policy, where it must be."""
    path = folder / "broker" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_table_has_every_reason_that_a_policy_gives() -> None:
    """A reason that nobody explains would be told by nobody."""
    told = {reason for _, reasons in REFUSALS.values() for reason in reasons}

    assert told | {"policy.denied"} == POLICY_REASONS.keys()
    assert told == CONCERNS.keys()


# What no broker builds is refused before it is explained.
@pytest.mark.parametrize("name", sorted(REFUSALS.keys() - {"depth-unknown"}))
def test_a_refusal_names_the_rule_that_refuses(policy: ExplainedPolicy, name: str) -> None:
    """With the file and line of it, below the concern that it is a rule of."""
    changes, reasons = REFUSALS[name]
    found = explained(policy, **changes)

    assert found.agreement is Agreement.SAME
    assert [reason.value for reason in found.verdict.reasons] == reasons
    refusing = [each for each in found.concerns if each.standing is Standing.REFUSES]
    assert [each.name for each in refusing] == [CONCERNS[reason] for reason in reasons]
    for concern, reason in zip(refusing, reasons, strict=True):
        assert [rule.code for rule in concern.rules] == [reason]
        rule = concern.rules[0]
        assert rule.place.file == f"broker/exchange/{concern.name}/{concern.name}.rego"
        line = (
            (Path(__file__).parents[3] / "policies" / rule.place.file)
            .read_text()
            .splitlines()[rule.place.line - 1]
        )
        assert line.startswith("deny contains")
    # And where the rule ended that would have let it pass, for a denial by ``not``.
    if (condition := CONDITIONS.get(reasons[0])) is not None:
        assert condition in {each.name for concern in refusing for each in concern.failed}
    assert found.stopped is not None
    assert found.stopped.name == "allow"
    assert {check.finding for check in found.floor} == {Finding.NOT_ASKED}


# The others have nothing of their own to tell: long or strange names, and a token used again.
QUIET = {"names-outside-ascii", "large", "reuse", "reuse-for-two-targets", "one-scope"}


@pytest.mark.parametrize("name", sorted(PERMITS.keys() - QUIET))
def test_a_permission_is_told_with_its_least_limit(policy: ExplainedPolicy, name: str) -> None:
    """The limits that are named as the least are those that the token has."""
    found = explained(policy, **PERMITS[name])

    assert found.agreement is Agreement.SAME
    assert found.verdict.allowed
    assert {each.standing for each in found.concerns} == {Standing.PASSES}
    assert {check.finding for check in found.floor} == {Finding.HOLDS}
    assert {limit.value for limit in found.lifetime if limit.least} == {found.verdict.lifetime}
    assert {limit.value for limit in found.depth if limit.least} == {found.verdict.max_depth}
    granted = {Outcome.HELD, Outcome.DERIVED}
    assert {fate.scope for fate in found.scopes if fate.outcome in granted} == {
        *found.verdict.scopes
    }
    assert found.stopped is None
    # Whatever is told can be told to a program.
    assert orjson.loads(orjson.dumps(found.render())) == found.render()


def test_a_narrowed_scope_is_told_as_cut_and_why(policy: ExplainedPolicy) -> None:
    """One that the subject does not hold, and one that nobody knows."""
    found = explained(policy, **PERMITS["narrowed"])

    assert [(each.scope, each.outcome, each.cause) for each in found.scopes] == [
        ("orders.read", Outcome.HELD, None),
        ("orders.write", Outcome.CUT, Cause.NOT_HELD),
        ("no.such", Outcome.CUT, Cause.UNKNOWN),
    ]


@pytest.mark.parametrize(
    ("held", "identity", "source"),
    [
        pytest.param(["orders.write"], False, "orders.write", id="of-a-scope"),
        pytest.param([], True, "identity", id="of-identity"),
        pytest.param(["orders.write"], True, "orders.write", id="of-the-first-that-holds"),
    ],
)
def test_a_derived_scope_is_told_with_what_it_follows_from(
    policy: ExplainedPolicy, held: list[str], identity: bool, source: str
) -> None:
    """The one that the policy has named, and where the grant says so."""
    changes = scopeless(subject__scopes=held, subject__scopeless=identity)

    found = explained(policy, **changes)

    assert [(each.outcome, each.derived_from) for each in found.scopes] == [
        (Outcome.DERIVED, source)
    ]
    assert found.scopes[0].would_follow_from == ("orders.write", "identity")
    assert [place.file for place in found.scopes[0].places] == ["broker/grants/data.yaml"]


def test_the_scopes_of_a_refusal_are_told_one_by_one(policy: ExplainedPolicy) -> None:
    """Which of them would be granted alone, and what each of the others fails for."""
    found = explained(policy, request__scopes=["orders.read", "no.such", "orders.write"])

    assert [(each.scope, each.outcome, each.cause, each.alone) for each in found.scopes] == [
        ("orders.read", Outcome.POSSIBLE, None, ()),
        ("no.such", Outcome.REFUSED, Cause.UNKNOWN, ("policy.scope_unknown",)),
        ("orders.write", Outcome.POSSIBLE, None, ()),
    ]


@pytest.mark.parametrize(
    ("changes", "least"),
    [
        pytest.param({}, ("grant", "target"), id="grant-and-target"),
        pytest.param({"request__targets": [target(max_lifetime=60)]}, ("target",), id="target"),
        pytest.param({"subject__expires_at": TIME + 30}, ("subject",), id="subject"),
        pytest.param(
            {
                "actor": policy_input()["subject"] | {"expires_at": TIME + 9},
                "delegation__actor_token": True,
            },
            ("actor",),
            id="actor",
        ),
    ],
)
def test_what_ends_first_is_marked(
    policy: ExplainedPolicy, changes: dict[str, Any], least: tuple[str, ...]
) -> None:
    """Of the grant, the targets and both tokens."""
    found = explained(policy, **changes)

    marked = [limit for limit in found.lifetime if limit.least]
    assert all(word in limit.of for limit, word in zip(marked, least, strict=True))
    assert {limit.value for limit in marked} == {found.verdict.lifetime}


def test_an_expired_token_is_told_as_what_the_floor_found(policy: ExplainedPolicy) -> None:
    """The policy permits it; only the subtraction shows that nothing is left."""
    found = explained(policy, subject__expires_at=TIME)

    assert found.verdict.reasons == (Reason.SUBJECT_TOKEN_EXPIRED,)
    assert {each.standing for each in found.concerns} == {Standing.PASSES}
    assert [limit.of for limit in found.lifetime if limit.least] == ["the subject token"]


def test_rules_of_ones_own_are_told_by_name(edited: Path) -> None:
    """With what they deny for and the line that holds; those that do not object as well."""
    own = edited / "broker" / "rules" / "moving"
    own.mkdir(parents=True, exist_ok=True)
    (own / "moving.rego").write_text(OWN)
    with open_policy(edited, ceiling=CEILING) as policy:
        denied = explained(policy, request__source="198.51.100.99")
        other = explained(policy, subject__subject="mallory")
        quiet = explained(policy)
        unmet = explained(policy, client__id="svc-c")

    assert [(one.name, one.reasons) for one in denied.own] == [("moving", ("policy.denied",))]
    assert [str(rule.place) for rule in denied.own[0].rules] == [
        "broker/rules/moving/moving.rego:10"
    ]
    assert denied.own[0].rules[0].description == "That network is being moved."
    assert [str(rule.place) for rule in other.own[0].rules] == [
        "broker/rules/moving/moving.rego:12"
    ]
    assert other.verdict.reasons == (Reason.POLICY_ISSUER_NOT_ALLOWED,)
    assert [each for each in other.concerns if each.standing is Standing.REFUSES] == []
    assert [(one.name, one.reasons, one.rules) for one in quiet.own] == [("moving", (), ())]
    # Of a denial by ``not``: which line of what is asked was not met.
    assert [(rule.name, rule.stopped_text) for rule in unmet.own[0].failed] == [
        ("_known", 'input.client.id != "svc-c"')
    ]


def test_a_concern_that_has_no_answer_is_told_by_the_line_that_lacks_it(edited: Path) -> None:
    """Nothing denies, and ``allow`` does not hold: the line where it ended is what there is."""
    grants = edited / "broker" / "grants" / "data.yaml"
    rows = yaml.safe_load(grants.read_text())
    rows["svc-a"]["svc-b"]["max_lifetime"] = "soon"
    grants.write_text(yaml.safe_dump(rows))
    with open_policy(edited, ceiling=CEILING) as policy:
        found = explained(policy)

    assert found.verdict.reasons == (Reason.POLICY_DENIED,)
    assert {each.name: each.standing for each in found.concerns}["lifetime"] is Standing.UNDEFINED
    assert found.stopped is not None
    assert found.stopped.stopped_text == "lifetime.seconds"
    assert found.lifetime[0].value is None


def test_a_policy_that_the_security_team_has_changed_is_told_as_it_is(edited: Path) -> None:
    """Another package, another rule in a stock one, and a grant that gives more than is granted."""
    cap = edited / "broker" / "exchange" / "cap"
    cap.mkdir()
    (cap / "cap.rego").write_text(
        'package broker.exchange.cap\n\ndeny contains "policy.denied" if'
        ' input.client.id == "svc-b"\n\nleast := 7\n'
    )
    edit(
        edited, "exchange/lifetime/lifetime.rego", "count(_bounds) == count(grants.rows) * 2\n", ""
    )
    edit(edited, "exchange/decision.rego", "lifetime.seconds,", "cap.least,")
    edit(
        *(edited, "exchange/decision.rego", "import data.broker.exchange.claims"),
        "import data.broker.exchange.cap\nimport data.broker.exchange.claims",
    )
    edit(
        *(edited, "exchange/decision.rego", "deny contains code if some code in grants.deny"),
        "deny contains code if some code in cap.deny\n\n"
        "deny contains code if some code in grants.deny",
    )
    with open_policy(edited, ceiling=CEILING) as policy:
        permitted = explained(policy)
        refused = explained(policy, client__id="svc-b")

    assert permitted.verdict.lifetime == 7
    assert [limit.of for limit in permitted.lifetime if limit.least] == ["a rule of the policy"]
    concern = next(each for each in refused.concerns if each.name == "cap")
    assert (concern.standing, concern.reasons) == (Standing.REFUSES, ("policy.denied",))
    assert [str(rule.place) for rule in concern.rules] == ["broker/exchange/cap/cap.rego:3"]


def test_a_decision_that_breaks_an_invariant_is_told_by_the_floor(edited: Path) -> None:
    """What the policy says and what becomes of it are two things."""
    edit(edited, "exchange/decision.rego", '"lifetime": lifetime.seconds', '"lifetime": 9999')
    with open_policy(edited, ceiling=CEILING) as policy:
        found = explained(policy)

    assert found.verdict.fault is Fault.FLOOR
    assert found.agreement is Agreement.SAME
    broken = [check.invariant.value for check in found.floor if check.finding is Finding.BROKEN]
    assert broken == ["lifetime"]


def test_a_policy_that_fails_is_told_with_file_and_line(edited: Path) -> None:
    """Two rules that contradict one another: no engine decides, and only one says where."""
    edit(
        edited, "exchange/mode/mode.rego", "agreed := mode if", 'agreed := "x"\n\nagreed := mode if'
    )
    with open_policy(edited, ceiling=CEILING) as policy:
        found = explained(policy)

    assert found.verdict.fault is Fault.FAILED
    assert found.agreement is Agreement.SAME
    assert "mode.rego:" in found.error


def test_a_policy_without_an_end_is_told_as_that(
    edited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine ends it in time, and so does whoever looks into it."""
    monkeypatch.setattr("broker.workbench.explain.observation._DEADLINE", 0.5)
    endless = (
        "some one in numbers.range(1, 9000); some two in numbers.range(1, 9000); one * two < 0"
    )
    edit(
        edited, "exchange/mode/mode.rego", "agreed := mode if {", f"agreed := mode if {{\n{endless}"
    )
    with open_policy(edited, ceiling=CEILING) as policy:
        found = explained(policy)

    assert found.verdict.fault is Fault.FAILED
    assert found.agreement is Agreement.SAME
    assert "took longer" in found.error


def test_two_evaluations_that_differ_are_told(
    policy: ExplainedPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then neither may be believed, and whoever explains must say so."""
    assert policy.observer is not None
    seen = policy.observer.observe(policy_input())
    other = Observation(seen.decision | {"lifetime": 1}, exchange=seen.exchange, rules=seen.rules)
    monkeypatch.setattr(type(policy.observer), "observe", lambda *_: other)

    found = explained(policy)

    assert found.agreement is Agreement.DIFFERENT
    assert found.render()["observed"]["lifetime"] == 1


def test_a_built_bundle_is_explained_by_the_rules_that_travel_in_it(
    bundle: Bundle, tmp_path: Path
) -> None:
    """As the folder is; only where the grants are written is not known."""
    path = tmp_path / "bundle.tar.gz"
    path.write_bytes(render_archive(bundle, "wasm"))
    with open_policy(path, ceiling=CEILING) as policy:
        found = explained(policy, subject__scopes=[])

    assert found.agreement is Agreement.SAME
    scopes = next(each for each in found.concerns if each.name == "scopes")
    assert [rule.place.file for rule in scopes.rules] == ["broker/exchange/scopes/scopes.rego"]
    assert [fate.places for fate in found.scopes] == [()]


def test_a_bundle_without_rego_is_explained_without_rules(bundle: Bundle, tmp_path: Path) -> None:
    """As older versions made it. What it decides and what the data says are still there."""
    path = tmp_path / "bundle.tar.gz"
    path.write_bytes(render_archive(replace(bundle, modules={}), "wasm"))
    with open_policy(path, ceiling=CEILING) as policy:
        found = explained(policy, subject__scopes=[])

    assert found.agreement is Agreement.NOT_COMPARED
    assert found.rules == ()
    scopes = next(each for each in found.concerns if each.name == "scopes")
    assert (scopes.standing, scopes.reasons) == (Standing.REFUSES, ("policy.scope_not_held",))
    assert [fate.cause for fate in found.scopes] == [Cause.NOT_HELD]


def test_every_rule_that_was_looked_into_is_there_with_its_state(policy: ExplainedPolicy) -> None:
    """Also of packages that nobody here knows by name."""
    found = explained(policy)

    by_place = {str(rule.place): rule for rule in found.rules}
    packages = {rule.package for rule in found.rules}
    assert {"broker.exchange", "broker.exchange.scopes", "broker.exchange.derivation"} <= packages
    assert len(by_place) == len(found.rules)
    allow = next(rule for rule in found.rules if rule.name == "allow")
    assert allow.state is State.HELD
    assert all(rule.stopped is not None for rule in found.rules if rule.state is State.FAILED)


inputs = st.fixed_dictionaries(
    {},
    optional={
        "client__id": st.sampled_from(
            ["svc-a", "svc-b", "svc-narrow", "svc-imp", "svc-purpose", "svc-derive", "svc-shallow"]
        ),
        "request__targets": st.sampled_from([[target()], [customers()], [target(), customers()]]),
        "request__scopes": st.lists(
            st.sampled_from(["orders.read", "orders.write", "customers.read", "no.such"]),
            unique=True,
        ),
        "request__purpose": st.sampled_from([None, "billing", "fun"]),
        "subject__scopes": st.lists(st.sampled_from(["orders.read", "orders.write"]), unique=True),
        "subject__scopeless": st.booleans(),
        "subject__expires_at": st.integers(TIME - 1, TIME + 400),
        "delegation__depth": st.integers(1, 9),
        "delegation__max_depth": st.integers(1, 8),
        "delegation__reenters": st.booleans(),
        "delegation__actor_token": st.booleans(),
    },
)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=inputs)
def test_what_is_explained_is_what_is_decided(
    policy: ExplainedPolicy, changes: dict[str, Any]
) -> None:
    """For any input: same decision, reasons that somebody gives, scopes and limits that add up."""
    case = read_case(policy_input(**changes))

    found = policy.explain(case)

    assert found.agreement is Agreement.SAME
    assert found.verdict == policy.candidate.ask(case.exchange)
    decided = found.decision if isinstance(found.decision, dict) else {}
    given_by = {code for each in found.concerns for code in each.reasons}
    assert given_by == set(decided["reasons"])
    granted = {
        each.scope for each in found.scopes if each.outcome in {Outcome.HELD, Outcome.DERIVED}
    }
    assert granted == set(found.verdict.scopes)
    if found.verdict.allowed:
        assert {each.value for each in found.lifetime if each.least} == {found.verdict.lifetime}
        assert {each.value for each in found.depth if each.least} == {found.verdict.max_depth}
    for each in found.scopes:
        if each.outcome is Outcome.POSSIBLE:
            assert each.scope in policy.ask_alone(case, each.scope).scopes


@settings(max_examples=2)
@given(
    changes=st.lists(inputs, min_size=60, max_size=60),
    asked=st.lists(exchanges(), min_size=20, max_size=20),
)
def test_both_evaluations_decide_alike(
    policy: ExplainedPolicy, changes: list[dict[str, Any]], asked: list[tuple[Exchange, int]]
) -> None:
    """The one that is explained and the one that counts, over inputs of every shape."""
    assert policy.observer is not None
    documents = [policy_input(**each) for each in changes]
    documents += [orjson.loads(orjson.dumps(build_input(exchange))) for exchange, _ in asked]

    seen = policy.observer.suppose("svc-a", [Supposition(each) for each in documents])

    for document, decision in zip(documents, seen, strict=True):
        counts = policy.candidate.evaluate(orjson.dumps(document)).output
        assert normal_decision(decision) == normal_decision(counts)
