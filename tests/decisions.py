"""Decision documents that take overrides, as a policy engine answers them."""

from typing import Any

from broker.domain import Evaluation, Exchange, Permit
from broker.policy.floor import judge
from tests import builders


def allowance(**overrides: Any) -> dict[str, Any]:
    """A yes to what ``builders.exchange`` asks."""
    values: dict[str, Any] = {
        "allow": True,
        "reasons": [],
        "targets": ["svc-b"],
        "scopes": ["orders.read"],
        "derived": [],
        "lifetime": 120,
        "mode": "delegation",
        "max_depth": 3,
        "reentry": False,
        "purpose": None,
        "claims": [],
        "obligations": [],
    }
    return values | overrides


def refusal(*reasons: str) -> dict[str, Any]:
    """A no for these reasons."""
    return {"allow": False, "reasons": list(reasons or ("policy.denied",))}


def evaluation(output: Any, **overrides: Any) -> Evaluation:
    """What an engine answered."""
    values: dict[str, Any] = {"revision": "r1", "input": b"{}", "output": output}
    return Evaluation(**values | overrides)


def permit(asked: Exchange | None = None, *, ceiling: int = 8, **overrides: Any) -> Permit:
    """What the floor makes of a yes; overrides are members of the decision."""
    decision = judge(
        asked or builders.exchange(), evaluation(allowance(**overrides)), ceiling=ceiling
    )
    assert isinstance(decision, Permit), decision
    return decision
