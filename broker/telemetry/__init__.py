"""Spans, metrics and logs: what the code calls. How they leave the process is in ``export``.

Labels come from closed sets: nothing that a request brings becomes one (design §7).
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation

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
    description="Duration of each step of an exchange; at most twenty a second are measured.",
)
# One mapping for each step, made once: they are on the path of every exchange.
_LABELS: Final = {name: {"step": name} for name in STEPS}
# To record every one would take more of an exchange than most of its steps.
_APART: Final = 0.05  # seconds, between two measurements of a step
_measured: Final = dict.fromkeys(STEPS, float("-inf"))
# Whether the request is traced: asking OpenTelemetry takes longer than most steps.
_traced: Final = ContextVar("traced", default=False)
# Added up here and read when somebody asks, for the same reason.
_outcomes: Final[Counter[str]] = Counter()


def _observe_outcomes(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(count, {"reason": reason}) for reason, count in _outcomes.items()]


meter.create_observable_counter(
    "broker.exchange.outcomes",
    callbacks=[_observe_outcomes],
    unit="1",
    description="Exchanges by outcome: issued, or the reason of the refusal.",
)


def is_tracing() -> bool:
    """Return whether spans leave this process; a caller's own trace is in the logs in any case."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@contextmanager
def request_span(request_id: str, caller: Context | None) -> Iterator[None]:
    """Make what runs inside it the span of a request, child of the caller's if there is one."""
    with tracer.start_as_current_span(
        "request",
        context=caller,
        kind=trace.SpanKind.SERVER,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        token = _traced.set(span.is_recording())
        span.set_attribute("broker.request_id", request_id)
        try:
            yield
        finally:
            _traced.reset(token)


class Step:
    """One run of a step that is measured, and a span if the request is traced."""

    __slots__ = ("_began", "_name", "_span")

    def __init__(self, name: str, *, traced: bool) -> None:
        self._name = name
        # A span that nobody will see costs as much as the step that it is for.
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
        self._began = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._began - _measured[self._name] >= _APART:
            _measured[self._name] = self._began
            _durations.record(time.perf_counter() - self._began, _LABELS[self._name])
        if self._span is not None:
            self._span.__exit__(kind, error, traceback)


# Of the many runs of a step that nobody looks at; one for all.
_UNMEASURED: Final = nullcontext()


def step(name: str) -> Step | nullcontext[None]:
    """Return what measures one of ``STEPS``, to be used in a ``with`` statement."""
    traced = _traced.get()
    if traced or time.perf_counter() - _measured[name] >= _APART:
        return Step(name, traced=traced)
    return _UNMEASURED


def count_outcome(reason: str) -> None:
    """Count what became of an exchange: ``issued``, or the value of a ``Reason``."""
    _outcomes[str(reason)] += 1
    if _traced.get():
        trace.get_current_span().set_attribute("broker.outcome", reason)
