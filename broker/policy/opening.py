"""A bundle that was activated, made ready to decide; whatever is wrong with it is found here."""

from broker.errors import ConfigurationError
from broker.policy.activation import Mode, Trial
from broker.policy.bundle import Bundle, read_bundle
from broker.policy.engine import PROXY_ENTRYPOINT, PolicyUnavailable
from broker.policy.rollout import Candidate, Engines
from broker.policy.signature import load_verification
from broker.policy.store import BundleUnknown
from broker.policy.trial import Observer
from broker.policy.wasm import WasmEngine
from broker.settings import Policy


def check_bundle(archive: bytes, policy: Policy, *, proxy: bool) -> Bundle:
    """Return the bundle if it may be put in force here, as far as can be told beforehand.

    It is whole, signed as ``policy`` demands, decides about the token proxy if there is to be one
    (``proxy``), and an empty question does not hang it. Blocks for some tenths of a second.
    Raises ``ConfigurationError``.
    """
    bundle = read_bundle(archive, "the bundle", load_verification(policy.verification))
    _open_engines(bundle, policy, "the bundle", proxy=proxy).close()
    return bundle


def open_engines(archive: bytes, revision: str, policy: Policy, *, proxy: bool) -> Engines:
    """Return what decides by the bundle of this revision, checked. Raises likewise."""
    bundle = _read(archive, revision, policy)
    return _open_engines(bundle, policy, _shown(revision), proxy=proxy)


def open_candidate(archive: bytes, trial: Trial, policy: Policy) -> Candidate:
    """Return what tries this bundle, checked; an observer is started. Raises likewise."""
    bundle = _read(archive, trial.revision, policy)
    engine = _open(bundle, policy, _shown(trial.revision))
    if trial.mode is Mode.CANARY:
        return Candidate(trial, canary=engine)
    observer = Observer(engine)
    observer.start()
    return Candidate(trial, observer=observer)


def _read(archive: bytes, revision: str, policy: Policy) -> Bundle:
    shown = _shown(revision)
    bundle = read_bundle(archive, shown, load_verification(policy.verification))
    if bundle.revision != revision:
        raise ConfigurationError(f"{shown} is not what was activated under this revision")
    return bundle


def _open_engines(bundle: Bundle, policy: Policy, shown: str, *, proxy: bool) -> Engines:
    # The names of what it decides stand in the module as they are; to compile it takes longer.
    if PROXY_ENTRYPOINT.encode() not in bundle.wasm:
        if proxy:
            raise ConfigurationError(
                f"{shown} does not decide {PROXY_ENTRYPOINT}, and there are upstreams; copy"
                " policies/broker/proxy of the stock policy into it"
            )
        return Engines(_open(bundle, policy, shown), None)
    engine = _open(bundle, policy, shown)
    try:
        return Engines(
            engine, WasmEngine(bundle, deadline=policy.deadline, entrypoint=PROXY_ENTRYPOINT)
        )
    except BaseException:
        engine.close()
        raise


def _open(bundle: Bundle, policy: Policy, shown: str) -> WasmEngine:
    """Return an engine that has answered an empty question."""
    engine = WasmEngine(bundle, deadline=policy.deadline)
    try:
        engine.probe()
    except PolicyUnavailable as unavailable:
        engine.close()
        raise ConfigurationError(
            f"{shown} does not answer an empty question: {unavailable}"
        ) from unavailable
    return engine


def _shown(revision: str) -> str:
    return f"bundle {revision[:12]}"


def said_of(error: Exception, revision: str) -> str:
    """Return what is wrong with a bundle in a line, without what an unknown error would print."""
    if isinstance(error, ConfigurationError | BundleUnknown):
        return str(error)
    return f"bundle {revision[:12]} cannot be loaded ({type(error).__name__})"
