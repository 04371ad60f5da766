"""Why a scope is not granted, and that what is suggested would grant it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from broker.workbench.candidate import open_candidate
from broker.workbench.explain.case import read_case
from broker.workbench.explain.change import Who
from broker.workbench.explain.observation import Supposition
from broker.workbench.explain.policy import ExplainedPolicy, open_policy
from broker.workbench.explain.why_not import WhyNot, explain_absence
from broker.workbench.recorded import read_exchange
from tests.integration.policy.inputs import TIME, customers, policy_input, scopeless, target
from tests.integration.policy.test_explain import CEILING, OWN, inputs

READ, WRITE = "orders.read", "orders.write"
DERIVED = (
    "derive orders.read from orders.write in the grant svc-a → svc-b"
    " (whoever holds orders.write gets it)"
)
OF_IDENTITY = (
    "derive orders.read from identity in the grant svc-a → svc-b"
    " (whoever comes from that issuer gets it)"
)


@pytest.fixture(scope="module")
def policy(policy_folder: Path) -> Iterator[ExplainedPolicy]:
    """The stock policy with the test grants."""
    with open_policy(policy_folder, ceiling=CEILING) as opened:
        yield opened


def why_not(policy: ExplainedPolicy, scope: str, **changes: Any) -> WhyNot:
    """The answer for an input that was changed."""
    return explain_absence(policy, policy.explain(read_case(policy_input(**changes))), scope)


def remedies(answer: WhyNot) -> list[list[str]]:
    """What is suggested, in words."""
    return [[change.text for change in remedy.changes] for remedy in answer.remedies]


@pytest.mark.parametrize(
    ("scope", "changes", "cause", "suggested"),
    [
        pytest.param(
            *(WRITE, {}, "the request did not ask for it"),
            [["ask for orders.write"]],
            id="not-asked-for",
        ),
        pytest.param(
            *(READ, {"subject__scopes": [WRITE]}, "the subject does not hold it"),
            [
                ["present a subject token that holds orders.read"],
                [DERIVED],
            ],
            id="not-held",
        ),
        pytest.param(
            "admin",
            {
                "request__targets": [target(scopes=["admin"])],
                "request__scopes": ["admin"],
                "subject__scopes": ["admin"],
            },
            "no grant of svc-a for svc-b lists or derives it",
            [["add admin to scopes of the grant svc-a → svc-b"]],
            id="not-granted",
        ),
        pytest.param(
            *(READ, {"request__targets": [target(scopes=[WRITE])]}, "svc-b does not know it"),
            [["add orders.read to scopes of target svc-b in the configuration"]],
            id="unknown-at-the-target",
        ),
        pytest.param(
            *(READ, {"client__id": "svc-no-grant"}),
            "no grant of svc-no-grant for svc-b lists or derives it",
            [["give svc-no-grant a grant for svc-b with scopes [orders.read]"]],
            id="no-grant",
        ),
        pytest.param(
            *(READ, {"request__scopes": [READ, "no.such"]}),
            "the request is refused as a whole for no.such",
            [
                ["do not ask for no.such in the same request"],
                ["set excess of the grant svc-a → svc-b to narrow"],
            ],
            id="another-scope-refuses",
        ),
        pytest.param(
            "customers.read",
            scopeless(subject__scopes=[], subject__scopeless=False),
            "the subject does not hold it, nor what it could follow from (orders.write, identity)",
            [["present a subject token that holds orders.write"]],
            id="source-not-held",
        ),
        pytest.param(
            *(READ, {"client__id": "svc-purpose"}, "purpose refuses (policy.purpose_missing)"),
            [["send a purpose: support-case or billing"]],
            id="purpose",
        ),
        pytest.param(
            *(READ, {"client__id": "svc-shallow", "delegation__depth": 2}),
            "it is exchange 2, and the grant svc-shallow → svc-b allows 1",
            [["raise max_depth of the grant svc-shallow → svc-b to 2"]],
            id="depth",
        ),
        pytest.param(
            *(READ, {"delegation__reenters": True}, "loop refuses (delegation.loop)"),
            [["set reentry of the grant svc-a → svc-b to true"]],
            id="loop",
        ),
        pytest.param(
            *(READ, {"client__id": "svc-idp-only", "subject__issuer": "https://other.test"}),
            "issuers refuses (policy.issuer_not_allowed)",
            [["add https://other.test to issuers of the grant svc-idp-only → svc-b"]],
            id="issuer",
        ),
        pytest.param(
            *(READ, {"client__id": "svc-imp", "delegation__actor_token": True}),
            "mode refuses (policy.impersonation_with_actor_token)",
            [["set mode of the grant svc-imp → svc-b to delegation"]],
            id="mode",
        ),
        pytest.param(
            *(READ, {"subject__expires_at": TIME}, "nothing is left of the life of a token"),
            [["present a subject token that has not expired"]],
            id="expired",
        ),
        pytest.param(
            "customers.read",
            {"request__targets": [target(), customers()], "request__scopes": ["customers.read"]},
            "svc-b does not know it",
            [
                [
                    "present a subject token that holds customers.read",
                    "add customers.read to scopes of the grant svc-a → svc-b",
                    "add customers.read to scopes of target svc-b in the configuration",
                ]
            ],
            id="several-things-at-once",
        ),
    ],
)
def test_the_smallest_changes_are_named(
    policy: ExplainedPolicy,
    scope: str,
    changes: dict[str, Any],
    cause: str,
    suggested: list[list[str]],
) -> None:
    """Who can do it alone comes first; a new derivation last, for it is no small thing."""
    answer = why_not(policy, scope, **changes)

    assert any(cause in each for each in answer.causes), answer.causes
    assert remedies(answer)[: len(suggested)] == suggested
    assert answer.paragraph.startswith(f"{scope} is not granted: ")
    assert "This would grant it: " + "; and ".join(suggested[0]) in answer.paragraph


def test_what_is_granted_needs_no_answer(policy: ExplainedPolicy) -> None:
    """And nothing is tried for it."""
    answer = why_not(policy, READ)

    assert (answer.granted, answer.tried, answer.remedies) == (True, 0, ())


def test_nothing_is_suggested_that_the_floor_forbids(policy: ExplainedPolicy) -> None:
    """No grant helps an exchange beyond the subject's own bound; the floor is named."""
    answer = why_not(policy, READ, delegation__depth=3, delegation__max_depth=2)

    assert answer.remedies == ()
    assert answer.forbidden == ("depth",)
    assert "the floor below every policy forbids it (depth)" in answer.paragraph


def test_identity_is_suggested_only_for_whom_the_configuration_says_it(
    policy: ExplainedPolicy,
) -> None:
    """A subject that has scopes of its own has none of its identity."""
    changes: dict[str, Any] = {"subject__scopes": []}
    with_scopes = why_not(policy, READ, **changes)
    without = why_not(policy, READ, **changes, subject__scopeless=True)

    assert not any("identity" in text for each in remedies(with_scopes) for text in each)
    assert [OF_IDENTITY] in remedies(without)


def test_a_rule_of_ones_own_is_named_and_never_suggested_away(
    policy_folder: Path, tmp_path: Path
) -> None:
    """What it asks is to be met, or it is to be changed by whoever wrote it."""
    folder = tmp_path / "policies"
    shutil.copytree(policy_folder, folder)
    rule = folder / "broker/rules/moving/moving.rego"
    rule.parent.mkdir(parents=True, exist_ok=True)
    rule.write_text(OWN)
    with open_policy(folder, ceiling=CEILING) as policy:
        answer = why_not(policy, READ, request__source="198.51.100.99")

    assert answer.causes == ("broker.rules.moving denies: That network is being moved",)
    assert remedies(answer) == [
        ["meet what broker.rules.moving asks (That network is being moved), or change that rule"]
    ]
    change = answer.remedies[0].changes[0]
    assert (change.who, str(change.place)) == (Who.RULE, "broker/rules/moving/moving.rego:10")


def test_a_grant_that_is_suggested_grants_once_it_is_written(
    policy: ExplainedPolicy, policy_folder: Path, tmp_path: Path
) -> None:
    """By the engine that counts, over the data as it then is."""
    document = policy_input(client__id="svc-no-grant")
    answer = why_not(policy, READ, client__id="svc-no-grant")
    made = answer.remedies[0].changes[0].make(Supposition(document))
    folder = tmp_path / "policies"
    shutil.copytree(policy_folder, folder)
    data = folder / "broker/grants/data.yaml"
    data.write_text(
        yaml.safe_dump(yaml.safe_load(data.read_text()) | {"svc-no-grant": made.grants})
    )

    with open_candidate(folder, ceiling=CEILING) as candidate:
        verdict = candidate.ask(read_exchange(document))

    assert verdict == answer.remedies[0].verdict
    assert verdict.scopes == (READ,)


def test_a_bundle_without_rego_gets_causes_and_no_suggestions(policy: ExplainedPolicy) -> None:
    """Nothing can be tried without the rules."""
    bare = ExplainedPolicy(policy.candidate, CEILING, policy.grants, policy.places, None)

    answer = why_not(bare, READ, subject__scopes=[])

    assert answer.causes == ("the subject does not hold it",)
    assert (answer.remedies, answer.tried) == ((), None)
    assert "name its folder" in answer.paragraph


@settings(max_examples=4)
@given(changes=inputs)
def test_every_suggestion_was_granted_when_it_was_tried(
    policy: ExplainedPolicy, changes: dict[str, Any]
) -> None:
    """For any request: what is suggested gives the scope, and the floor has let it pass."""
    for scope in (READ, "customers.read"):
        answer = why_not(policy, scope, **changes)
        for remedy in answer.remedies:
            assert remedy.verdict.allowed
            assert scope in remedy.verdict.scopes
            # What only the client or the subject changes, the engine that counts grants as well.
            made = Supposition(policy_input(**changes))
            for change in remedy.changes:
                made = change.make(made)
            if made.grants is None and not made.without:
                assert policy.candidate.ask(read_exchange(made.input)) == remedy.verdict
