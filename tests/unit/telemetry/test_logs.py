"""Logs: one line of JSON each, whatever is in them, and never an exception's text."""

import json
import logging
import sys
from typing import Any

import pytest
from opentelemetry import trace

from broker.telemetry.logs import JsonFormatter, current_request_id


def line_of(message: str, **parts: Any) -> str:
    """A record, rendered."""
    record = logging.makeLogRecord({"msg": message, "levelname": "INFO", "name": "t", **parts})
    return JsonFormatter().format(record)


@pytest.mark.row("ATK-LOG-01")
@pytest.mark.parametrize(
    "text",
    [
        pytest.param('a\r\n{"level":"forged"}', id="line-break"),
        pytest.param("\x1b[2J\x1b]0;title\x07", id="terminal-control"),
        pytest.param('"}', id="json-breaker"),
        pytest.param("a\u2028b", id="unicode-line-separator"),
        pytest.param("\udcff", id="lone-surrogate"),
    ],
)
def test_nothing_in_a_message_ends_its_line(text: str) -> None:
    """What came from outside stays inside one JSON string."""
    line = line_of("said", value=text)

    assert 1 == len(line.splitlines())
    assert "\x1b" not in line
    assert "said" == json.loads(line)["message"]


@pytest.mark.row("CVE-2025-65015", "OP-03")
def test_an_exception_is_logged_without_its_text() -> None:
    """A library's text may repeat a token; the types and places of the whole chain are enough."""
    try:
        try:
            raise ValueError("eyJhbGciOi.canary")
        except ValueError as cause:
            raise RuntimeError("outer canary") from cause
    except RuntimeError:
        line = line_of("failed", exc_info=sys.exc_info())

    assert "canary" not in line
    assert ["builtins.RuntimeError", "builtins.ValueError"] == [
        error["type"] for error in json.loads(line)["error"]
    ]


def test_what_cannot_be_json_is_shown_by_its_type() -> None:
    """Not by its repr, which may hold a secret."""
    assert "<object>" == json.loads(line_of("m", thing=object()))["thing"]


def test_a_line_names_the_request_and_the_trace_that_it_belongs_to() -> None:
    """So that logs, traces and audit rows can be put side by side."""
    context = trace.SpanContext(1, 2, is_remote=True)
    token = current_request_id.set("request-1")
    try:
        with trace.use_span(trace.NonRecordingSpan(context)):
            line = json.loads(line_of("m"))
    finally:
        current_request_id.reset(token)

    assert ("request-1", f"{1:032x}", f"{2:016x}") == (
        line["request_id"],
        line["trace_id"],
        line["span_id"],
    )


def test_a_long_message_is_cut() -> None:
    """No input makes a log line grow without bound."""
    assert len(line_of("x" * 100_000)) < 3000
