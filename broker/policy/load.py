"""The policy engine that the configuration asks for."""

from broker.policy.bundle import build_bundle, load_bundle
from broker.policy.engine import PolicyEngine
from broker.policy.opa import OpaEngine
from broker.policy.wasm import WasmEngine
from broker.settings import Policy


def load_engine(policy: Policy) -> PolicyEngine:
    """Return an engine with the policy as it is now; blocks while that is compiled.

    Raises ``ConfigurationError`` if the policy cannot be used. An OPA server that is down is no
    such error: the engine is unavailable until it is back.
    """
    if policy.engine == "opa":
        assert policy.url is not None  # noqa: S101 — the settings have refused it
        return OpaEngine(policy.url, deadline=policy.deadline)
    bundle = build_bundle(policy.path) if policy.path.is_dir() else load_bundle(policy.path)
    return WasmEngine(bundle, deadline=policy.deadline)
