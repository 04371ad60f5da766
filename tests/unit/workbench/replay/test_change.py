"""How a decision changes, as the report names it."""

from typing import Any

import pytest

from broker.domain import Deny, Permit
from broker.policy.difference import Kind
from broker.policy.floor import assess
from broker.workbench.replay.change import Change, Said, find_changes, say_decision, say_failure
from broker.workbench.replay.words import KINDS
from tests import builders
from tests.decisions import allowance, evaluation, refusal

ASKED = builders.exchange(
    subject=builders.verified_token(
        scopes=frozenset({"orders.read", "orders.write"}), claims={"email": "a@b.test"}
    ),
    targets=(builders.target(claims=("email",)),),
    scopes=("orders.read", "orders.write"),
)


def said(output: dict[str, Any]) -> Said:
    """What the floor makes of it."""
    decision: Permit | Deny = assess(ASKED, evaluation(output), ceiling=8)
    return say_decision(decision, output.get("lifetime", 0))


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        pytest.param(allowance(), allowance(), [], id="nothing"),
        pytest.param(
            refusal(), allowance(), [Change(Kind.PERMITTED, "orders.read")], id="permitted"
        ),
        pytest.param(
            allowance(),
            refusal("policy.target_not_granted"),
            [Change(Kind.REFUSED, "policy.target_not_granted; had orders.read")],
            id="refused",
        ),
        pytest.param(
            allowance(),
            allowance(scopes=["orders.read", "orders.write"]),
            [Change(Kind.WIDER_SCOPES, "orders.write")],
            id="wider",
        ),
        pytest.param(
            allowance(),
            allowance(scopes=["orders.write"]),
            [
                Change(Kind.WIDER_SCOPES, "orders.write"),
                Change(Kind.NARROWER_SCOPES, "orders.read"),
            ],
            id="something else",
        ),
        pytest.param(
            allowance(lifetime=120),
            allowance(lifetime=60),
            [Change(Kind.SHORTER_LIFE, "120 s → 60 s")],
            id="shorter",
        ),
        pytest.param(
            allowance(reuse=30),
            allowance(lifetime=240, reuse=60),
            [Change(Kind.LONGER_LIFE, "120 s → 240 s"), Change(Kind.LONGER_REUSE, "30 s → 60 s")],
            id="longer twice",
        ),
        pytest.param(
            allowance(), allowance(max_depth=5), [Change(Kind.DEEPER, "3 → 5")], id="deeper"
        ),
        pytest.param(
            allowance(claims=["email"]),
            allowance(mode="impersonation"),
            [Change(Kind.IMPERSONATION, ""), Change(Kind.FEWER_CLAIMS, "email")],
            id="another mode and no claim",
        ),
        pytest.param(
            allowance(),
            allowance(obligations=["alert"]),
            [Change(Kind.MORE_OBLIGATIONS, "alert")],
            id="an obligation",
        ),
        pytest.param(
            allowance(),
            allowance(derived=[{"scope": "orders.read", "from": "orders.write"}]),
            [Change(Kind.DERIVATION, "orders.read from orders.write")],
            id="derived",
        ),
        pytest.param(
            refusal(),
            refusal("policy.scope_not_held"),
            [Change(Kind.REASON, "policy.denied → policy.scope_not_held")],
            id="another reason",
        ),
        pytest.param(
            allowance(),
            allowance(scopes=["billing"]),
            [Change(Kind.FAILED, "policy.floor_violation_scope: scope; had orders.read")],
            id="more than the floor lets",
        ),
        pytest.param(
            allowance(),
            {"allow": "yes"},
            [Change(Kind.FAILED, "policy.malformed; had orders.read")],
            id="no decision",
        ),
    ],
)
def test_a_change_says_what(
    before: dict[str, Any], after: dict[str, Any], changes: list[Change]
) -> None:
    """And the ones that widen come first."""
    assert list(find_changes(said(before), said(after))) == changes


def test_a_policy_that_fails_is_told_from_one_that_says_no() -> None:
    """Whoever reads "refused" looks for the rule, and there is none."""
    failed = say_failure("the policy failed: late")

    assert find_changes(said(allowance()), failed) == (
        Change(Kind.FAILED, "the policy failed: late; had orders.read"),
    )
    assert find_changes(failed, said(allowance())) == (Change(Kind.PERMITTED, "orders.read"),)
    assert find_changes(failed, failed) == ()


def test_every_kind_has_its_word() -> None:
    """A new kind is given one, or this fails."""
    assert set(KINDS) == set(Kind)
