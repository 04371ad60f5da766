"""A policy that is asked beside the one in force: compiled, asked and judged in this process.

It decides as the broker would: the same guest, deadline and bounds, and the floor after it. What it
does wrong is an answer and never an error: ``Verdict.fault`` says it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from broker.domain import Deny, Evaluation, Exchange, Permit
from broker.policy.bundle import Bundle, build_bundle, load_bundle
from broker.policy.engine import PolicyUnavailable
from broker.policy.floor import assess
from broker.policy.input import build_input
from broker.policy.wasm import WasmEngine
from broker.workbench.verdict import Fault, Verdict, verdict_of


class Candidate:
    """One policy; used by one thread, and closed by whoever opened it."""

    def __init__(self, bundle: Bundle, *, ceiling: int) -> None:
        """``ceiling`` is ``max_delegation_depth``. Raises ``ConfigurationError``."""
        self.bundle = bundle
        self._ceiling = ceiling
        self._engine = WasmEngine(bundle)

    @property
    def revision(self) -> str:
        """The digest of the bundle."""
        return self.bundle.revision

    def evaluate(self, input: bytes) -> Evaluation:  # noqa: A002 — the word of OPA
        """Return what the policy says, unjudged. Raises ``PolicyUnavailable``."""
        return self._engine.decide(input)

    def ask(self, exchange: Exchange, input: bytes | None = None) -> Verdict:  # noqa: A002 — the word of OPA
        """Return what would become of this exchange.

        ``input`` is its policy input where that is at hand already, as JSON.
        """
        asked = orjson.dumps(build_input(exchange)) if input is None else input
        decision = self.judge(exchange, asked)
        return decision if isinstance(decision, Verdict) else verdict_of(decision)

    def judge(self, exchange: Exchange, input: bytes) -> Permit | Deny | Verdict:  # noqa: A002 — the word of OPA
        """Return the same, still with the exchange in it; a ``Verdict`` if the policy failed."""
        try:
            evaluation = self._engine.decide(input)
        except PolicyUnavailable as unavailable:
            return Verdict(fault=Fault.FAILED, detail=str(unavailable))
        return assess(exchange, evaluation, ceiling=self._ceiling)

    def close(self) -> None:
        """Give its memory back and end its watch."""
        self._engine.close()


@contextmanager
def open_candidate(path: Path, *, ceiling: int) -> Iterator[Candidate]:
    """Open the policy of a folder, or of a built bundle. Raises ``ConfigurationError``."""
    bundle = build_bundle(path) if path.is_dir() else load_bundle(path)
    candidate = Candidate(bundle, ceiling=ceiling)
    try:
        yield candidate
    finally:
        candidate.close()
