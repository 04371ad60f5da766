"""What leaves the process beside its answers: spans to a collector, logs, metrics."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families

from tests.configuration import secret
from tests.decisions import allowance
from tests.fixtures.postgres import OneDatabase
from tests.jwts import subject_jwt
from tests.loopback import Loopback, http_answer, json_answer, loopback
from tests.server import BrokerClient, BrokerProcess, eventually, talk_to, write_configuration
from tests.wire import assert_issued, assert_refused, basic, exchange_form

QUESTION = "/v1/data/broker/exchange/decision?provenance=true"
PROBE = "/v1/data/broker/exchange?provenance=true"
STEPS = {
    *("parse", "authenticate", "verify", "delegate"),
    *("decide", "mint", "commit", "respond"),
}


@dataclass
class Watched:
    """A broker whose policy server and collector are the test's."""

    broker: BrokerClient
    outside: Loopback

    def exported(self) -> list[bytes]:
        """Every export, as it was sent."""
        # A request whose body is on its way has a path and no body yet; it has both the next time.
        sent = zip(self.outside.paths, self.outside.bodies, strict=False)
        return [body for path, body in sent if path == "/v1/traces"]

    def spans(self, trace_id: str) -> list[Span]:
        """The spans of one trace that have arrived."""
        return [
            span
            for body in self.exported()
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if span.trace_id.hex() == trace_id
        ]

    async def whole_trace(self, trace_id: str) -> dict[str, Span]:
        """The spans of a trace by their names, once its first one has ended."""

        async def ended() -> bool:
            return any(span.name == "request" for span in self.spans(trace_id))

        await eventually(ended)
        return {span.name: span for span in self.spans(trace_id)}


@pytest.fixture
async def watched(fresh: OneDatabase, tmp_path: Path) -> AsyncIterator[Watched]:
    answers = {
        QUESTION: json_answer({"result": allowance()}),
        PROBE: json_answer({"result": {}}),
        "/v1/traces": http_answer(b"", content_type="application/x-protobuf"),
    }
    async with loopback(answers) as outside:
        config = write_configuration(
            tmp_path,
            fresh.app_url,
            policy={"engine": "opa", "url": outside.url(""), "deadline": "2s"},
            telemetry={"otlp_endpoint": outside.url(""), "trace_ratio": 0},
        )
        # Sent at once instead of every five seconds. OpenTelemetry's own setting.
        process = BrokerProcess(config, environ={"OTEL_BSP_SCHEDULE_DELAY": "50"})
        try:
            await asyncio.to_thread(process.wait_ready)
            async with talk_to(process, fresh.auditor_url) as client:
                yield Watched(client, outside)
        finally:
            assert 0 == await asyncio.to_thread(process.stop)


def caller(*, sampled: bool = True) -> tuple[str, str, dict[str, str]]:
    """A trace and a span of a caller, and the header that names them."""
    trace_id, span_id = os.urandom(16).hex(), os.urandom(8).hex()
    flags = "01" if sampled else "00"
    return trace_id, span_id, {"traceparent": f"00-{trace_id}-{span_id}-{flags}"}


@pytest.mark.row("OP-10", "OP-03")
async def test_an_exchange_is_a_span_of_its_caller_s_trace_with_one_for_each_step(
    watched: Watched,
) -> None:
    """W3C Trace Context §3.2: and no attribute of any span holds a token or a secret."""
    trace_id, span_id, headers = caller()
    subject_token = subject_jwt()
    response = await watched.broker.exchange(
        exchange_form(subject_token=subject_token), headers=headers
    )
    issued = assert_issued(response)["access_token"]
    spans = await watched.whole_trace(trace_id)

    assert {"request", *STEPS} == set(spans)
    request = spans["request"]
    assert span_id == request.parent_span_id.hex()
    assert {request.span_id} == {spans[name].parent_span_id for name in STEPS}
    named = {attribute.key: attribute.value.string_value for attribute in request.attributes}
    assert response.headers["x-request-id"] == named["broker.request_id"]
    assert "issued" == named["broker.outcome"]
    everything = b"".join(watched.exported())
    for text in (subject_token, issued, secret("svc-a"), "eyJ", "alice"):
        assert text.encode() not in everything, text


async def test_a_refusal_ends_its_trace_where_it_was_refused(watched: Watched) -> None:
    """Ours: the outcome is the reason, which is of a closed set."""
    trace_id, _, headers = caller()
    form = exchange_form(subject_token=subject_jwt(exp=1))
    assert_refused(await watched.broker.exchange(form, headers=headers), "invalid_request")
    spans = await watched.whole_trace(trace_id)

    assert {"request", "parse", "authenticate", "verify"} == set(spans)
    outcome = {a.key: a.value.string_value for a in spans["request"].attributes}["broker.outcome"]
    assert "subject_token.expired" == outcome
    assert all(not span.events for span in spans.values())


async def test_a_caller_that_does_not_sample_is_not_traced(watched: Watched) -> None:
    """W3C Trace Context §3.2.2.5: its flag is honoured, and so is our ratio without one."""
    unsampled, _, headers = caller(sampled=False)
    assert_issued(await watched.broker.exchange(headers=headers))
    assert_issued(await watched.broker.exchange())
    trace_id, _, headers = caller()
    assert_issued(await watched.broker.exchange(headers=headers))
    await watched.whole_trace(trace_id)

    assert [] == watched.spans(unsampled)
    traces = {
        span.trace_id
        for body in watched.exported()
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.name == "request"
    }
    assert {bytes.fromhex(trace_id)} == traces


@pytest.mark.row("OP-10", "OP-03")
async def test_a_log_line_names_the_request_and_the_trace(watched: Watched) -> None:
    """Ours: from an alarm one finds the audit row and the caller's trace."""
    watched.outside.answers[QUESTION] = json_answer({"decision_id": "undefined"})
    trace_id, _, headers = caller()
    response = await watched.broker.exchange(headers=headers)
    assert_refused(response, "invalid_request")

    (alarm,) = [line for line in watched.broker.process.logged() if line["level"] == "ERROR"]
    assert response.headers["x-request-id"] == alarm["request_id"]
    assert trace_id == alarm["trace_id"]
    (row,) = await watched.broker.rows()
    assert ("policy.undefined", alarm["request_id"]) == (row["reason"], row["request_id"])


async def test_a_collector_that_is_down_costs_no_exchange(watched: Watched) -> None:
    """Ours: traces are for us, and nobody's token waits for them."""
    watched.outside.answers["/v1/traces"] = http_answer(b"", status="503 Service Unavailable")
    for _ in range(5):
        _, _, headers = caller()
        assert_issued(await watched.broker.exchange(headers=headers))
    # It comes back, or the process would try for a while to send the rest when it is stopped.
    watched.outside.answers["/v1/traces"] = http_answer(b"", content_type="application/x-protobuf")


async def series(broker: BrokerClient) -> set[tuple[str, ...]]:
    """Every series of the metrics: name and labels."""
    text = (await broker.admin("/metrics")).text
    return {
        (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items())))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def strange(broker: BrokerClient) -> None:
    """Send something that nobody has sent before, in each place where a client chooses."""
    word = uuid.uuid4().hex
    known = {"auth": basic()}
    await asyncio.gather(
        broker.exchange(auth=(word, word)),
        broker.exchange(exchange_form(audience=word), **known),
        broker.exchange(exchange_form(resource=f"https://{word}.test/"), **known),
        broker.exchange(exchange_form(scope=word), **known),
        broker.exchange(exchange_form(purpose=word), **known),
        broker.exchange(exchange_form(grant_type=word), **known),
        broker.exchange(exchange_form(subject_token=word), **known),
        broker.exchange(exchange_form(subject_token_type=f"urn:{word}"), **known),
        broker.exchange(exchange_form(requested_token_type=f"urn:{word}"), **known),
        broker.exchange(exchange_form(subject_token=subject_jwt(iss=f"https://{word}")), **known),
        broker.exchange(exchange_form(subject_token=subject_jwt(sub=word)), **known),
        broker.exchange(exchange_form(subject_token=subject_jwt(kid=word)), **known),
        broker.exchange(exchange_form(subject_token=subject_jwt(typ=word)), **known),
        broker.exchange(exchange_form(**{word: word}), **known),
        broker.exchange(headers={"x-forwarded-for": "192.0.2.1", word: word}, **known),
        broker.request("POST", f"/{word}", data=[(word, word)]),
        broker.request(word.upper(), "/token"),
        broker.get(f"/.well-known/{word}"),
    )


async def test_what_clients_choose_makes_no_series(broker: BrokerClient) -> None:
    """Ours: labels are of closed sets, so no client can fill the memory of whoever collects."""
    await strange(broker)
    assert_issued(await broker.exchange())
    before = await series(broker)
    for _ in range(10):
        await strange(broker)
    after = await series(broker)

    assert set() == after - before
    assert len(after) < 1000
