"""The policy engines that the configuration asks for: one for each question."""

from broker.errors import ConfigurationError
from broker.policy.bundle import Bundle, build_bundle, load_bundle
from broker.policy.engine import PROXY_ENTRYPOINT, PolicyEngine
from broker.policy.guest import compile_module, read_metadata
from broker.policy.opa import OpaEngine
from broker.policy.signature import load_verification
from broker.policy.wasm import WasmEngine
from broker.settings import Policy


def load_engine(policy: Policy) -> PolicyEngine:
    """Return an engine with the policy as it is now; blocks while that is compiled.

    Raises ``ConfigurationError`` if the policy cannot be used. An OPA server that is down is no
    such error: the engine is unavailable until it is back.
    """
    return load_engines(policy, proxy=False)[0]


def load_engines(policy: Policy, *, proxy: bool) -> tuple[PolicyEngine, PolicyEngine | None]:
    """Return the engine for exchanges and, if that is asked for, the one for the token proxy.

    Both have one policy, of one moment. Raises ``ConfigurationError`` as above, also if there is
    to be a token proxy and the policy does not decide about it.
    """
    if policy.engine == "opa":
        assert policy.url is not None  # noqa: S101 — the settings have refused it
        exchange = OpaEngine(policy.url, deadline=policy.deadline)
        if not proxy:
            return exchange, None
        return exchange, OpaEngine(
            policy.url, deadline=policy.deadline, entrypoint=PROXY_ENTRYPOINT
        )
    bundle = load_configured(policy)
    if not proxy:
        return WasmEngine(bundle, deadline=policy.deadline), None
    require_proxy(bundle, policy)
    return (
        WasmEngine(bundle, deadline=policy.deadline),
        WasmEngine(bundle, deadline=policy.deadline, entrypoint=PROXY_ENTRYPOINT),
    )


def load_configured(policy: Policy) -> Bundle:
    """Return the policy of ``policy.path``. Raises ``ConfigurationError``."""
    verification = load_verification(policy.verification)
    if not policy.path.is_dir():
        return load_bundle(policy.path, verification)
    if verification is not None:
        raise ConfigurationError(
            f"policy.path: {policy.path} is a folder, and policy.verification asks for a signed"
            " bundle; make one with broker policy build --signing-key"
        )
    return build_bundle(policy.path)


def require_proxy(bundle: Bundle, policy: Policy) -> None:
    """Raise ``ConfigurationError`` unless the policy decides about the token proxy."""
    decided, _ = read_metadata(compile_module(bundle.wasm))
    if PROXY_ENTRYPOINT not in decided:
        raise ConfigurationError(
            f"policy.path: {policy.path} does not decide {PROXY_ENTRYPOINT}, and there are"
            " upstreams; copy policies/broker/proxy of the stock policy into it"
        )
