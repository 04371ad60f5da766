"""Spans, metrics and logs: what the code calls. How they leave the process is in ``export``.

Labels come from closed sets: nothing that a request brings becomes one (design §7).
"""

import time
from itertools import cycle
from types import TracebackType
from typing import Final, Self

from opentelemetry import metrics, trace

# OpenTelemetry's API objects: inert until ``export.configure`` has set the providers.
tracer = trace.get_tracer("broker")
meter = metrics.get_meter("broker")

STEPS: Final = (
    *("parse", "authenticate", "verify", "delegate"),
    *("decide", "mint", "commit", "respond"),
)
_durations = meter.create_histogram(
    "broker.exchange.step.duration",
    unit="s",
    description="Duration of each step of an exchange; of each step every eighth is measured.",
)
_outcomes = meter.create_counter(
    "broker.exchange.outcomes",
    unit="1",
    description="Exchanges by outcome: issued, or the reason of the refusal.",
)
# One mapping for each step, made once: they are on the path of every exchange.
_LABELS: Final = {name: {"step": name} for name in STEPS}
# To record every one would take more of an exchange than most of its steps.
_MEASURED: Final = {name: cycle((True, *(False,) * 7)) for name in STEPS}


class Step:
    """One run of a step: a span if the request is traced, a duration if it is its turn."""

    __slots__ = ("_began", "_name", "_span")

    def __init__(self, name: str) -> None:
        self._name = name if next(_MEASURED[name]) else None
        # A span that nobody will see costs as much as the step that it is for.
        traced = trace.get_current_span().is_recording()
        self._span = (
            tracer.start_as_current_span(
                name,
                # An exception's text is not ours to publish; the outcome has its reason.
                record_exception=False,
                set_status_on_exception=False,
            )
            if traced
            else None
        )

    def __enter__(self) -> Self:
        if self._span is not None:
            self._span.__enter__()
        if self._name is not None:
            self._began = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._name is not None:
            _durations.record(time.perf_counter() - self._began, _LABELS[self._name])
        if self._span is not None:
            self._span.__exit__(kind, error, traceback)


def step(name: str) -> Step:
    """Return what measures one of ``STEPS``, to be used in a ``with`` statement."""
    return Step(name)


def count_outcome(reason: str) -> None:
    """Count what became of an exchange: ``issued``, or the value of a ``Reason``."""
    _outcomes.add(1, {"reason": reason})
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attribute("broker.outcome", reason)
