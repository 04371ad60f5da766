"""A bundle that was activated, made ready to decide; whatever is wrong with it is found here."""

from broker.errors import ConfigurationError
from broker.policy.activation import Mode, Trial
from broker.policy.bundle import Bundle, read_bundle
from broker.policy.engine import PROXY_ENTRYPOINT, PolicyUnavailable
from broker.policy.guest import compile_module, read_metadata
from broker.policy.rollout import Candidate, Engines
from broker.policy.signature import load_verification
from broker.policy.trial import Observer
from broker.policy.wasm import WasmEngine
from broker.settings import Policy


def open_bundle(archive: bytes, policy: Policy, *, proxy: bool, revision: str = "") -> Bundle:
    """Return the bundle if it may be put in force here, as far as can be told beforehand.

    It is whole, signed as ``policy`` demands, of this ``revision`` if one is named, decides about
    the token proxy if there is to be one (``proxy``), and an empty question does not hang it.
    Blocks for some tenths of a second. Raises ``ConfigurationError``.
    """
    shown = f"bundle {revision[:12]}" if revision else "the bundle"
    bundle = read_bundle(archive, shown, load_verification(policy.verification))
    if revision and bundle.revision != revision:
        raise ConfigurationError(f"{shown} is not what was activated under this revision")
    if proxy and not _decides_proxy(bundle):
        raise ConfigurationError(
            f"{shown} does not decide {PROXY_ENTRYPOINT}, and there are upstreams; copy"
            " policies/broker/proxy of the stock policy into it"
        )
    engine = WasmEngine(bundle, deadline=policy.deadline)
    try:
        engine.decide(b"{}")
    except PolicyUnavailable as unavailable:
        raise ConfigurationError(f"{shown} does not answer an empty question: {unavailable}") from (
            unavailable
        )
    finally:
        engine.close()
    return bundle


def open_engines(bundle: Bundle, policy: Policy) -> Engines:
    """Return what decides by this bundle. Raises ``ConfigurationError``."""
    proxy = None
    if _decides_proxy(bundle):
        proxy = WasmEngine(bundle, deadline=policy.deadline, entrypoint=PROXY_ENTRYPOINT)
    return Engines(WasmEngine(bundle, deadline=policy.deadline), proxy)


def open_candidate(bundle: Bundle, trial: Trial, policy: Policy) -> Candidate:
    """Return what tries this bundle; an observer is started. Raises ``ConfigurationError``."""
    engine = WasmEngine(bundle, deadline=policy.deadline)
    if trial.mode is Mode.CANARY:
        return Candidate(trial, canary=engine)
    observer = Observer(engine)
    observer.start()
    return Candidate(trial, observer=observer)


def _decides_proxy(bundle: Bundle) -> bool:
    return PROXY_ENTRYPOINT in read_metadata(compile_module(bundle.wasm))[0]
