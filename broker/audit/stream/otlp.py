"""OpenTelemetry logs over HTTP: a request for each lot, which the receiver answers. OTLP 1.x.

Success is an answer that says so; what it does not say was not taken. Headers, for receivers that
want to know who comes, are those of the environment (``OTEL_EXPORTER_OTLP_LOGS_HEADERS`` or
``OTEL_EXPORTER_OTLP_HEADERS``), as everything that speaks OTLP has them.
"""

import os
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import (
    LogRecord,
    ResourceLogs,
    ScopeLogs,
    SeverityNumber,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.util.re import parse_env_headers

from broker.audit.stream.message import Message, Severity, portions
from broker.audit.stream.sink import Undelivered
from broker.settings.streams import OtlpDestination

_HEADERS: Final = ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_MEDIA_TYPE: Final = "application/x-protobuf"
_SCOPE: Final = "broker.audit"
_TOGETHER: Final = 1024 * 1024  # bytes of one request; receivers take four or more
_WITHIN: Final = 30.0  # seconds for one answer
_MAX_ANSWER: Final = 64 * 1024  # bytes
_LONGEST_AFTER: Final = 300.0  # seconds, whatever the receiver says
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# The data model's numbers for what syslog calls so.
_SEVERITIES: Final[Mapping[Severity, tuple[SeverityNumber.ValueType, str]]] = {
    Severity.CRITICAL: (SeverityNumber.SEVERITY_NUMBER_FATAL, "CRITICAL"),
    Severity.ERROR: (SeverityNumber.SEVERITY_NUMBER_ERROR, "ERROR"),
    Severity.WARNING: (SeverityNumber.SEVERITY_NUMBER_WARN, "WARNING"),
    Severity.NOTICE: (SeverityNumber.SEVERITY_NUMBER_INFO2, "NOTICE"),
    Severity.INFORMATIONAL: (SeverityNumber.SEVERITY_NUMBER_INFO, "INFO"),
}


class OtlpSink:
    """One receiver."""

    kind: Final = "otlp"

    def __init__(self, to: OtlpDestination, tls: ssl.SSLContext, *, product_version: str) -> None:
        """``tls``: whom to believe, and as whom to come. Nothing is opened yet."""
        self._to = to
        self._version = product_version
        headers = next((found for name in _HEADERS if (found := os.environ.get(name))), "")
        self._client = httpx.AsyncClient(
            verify=tls,
            timeout=_WITHIN,
            trust_env=False,
            follow_redirects=False,
            headers={**parse_env_headers(headers, liberal=True), "content-type": _MEDIA_TYPE},
        )

    async def deliver(self, messages: Sequence[Message]) -> int:
        """Return how many the receiver has refused for good. Raises ``Undelivered``."""
        refused = 0
        for some in portions(messages, _TOGETHER):
            request = build_request(some, product_version=self._version)
            refused += await self._post(request.SerializeToString())
        return refused

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _post(self, body: bytes) -> int:
        try:
            async with self._client.stream(
                "POST", f"{self._to.url}/v1/logs", content=body
            ) as response:
                answer = b""
                async for part in response.aiter_bytes():
                    answer += part
                    if len(answer) > _MAX_ANSWER:
                        raise Undelivered(f"{self._to}: its answer is too long")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Undelivered(f"{self._to}: {_reason_of(error)}") from error
        if response.status_code != httpx.codes.OK:
            # Also of those that a client is not to repeat as they are: whoever mends the receiver,
            # or what we know of it, must not find that something was left out meanwhile.
            after = _parse_after(response.headers.get("retry-after"))
            raise Undelivered(f"{self._to}: it answers {response.status_code}", after=after)
        return self._parse_answer(response.headers.get("content-type", ""), answer)

    def _parse_answer(self, media_type: str, answer: bytes) -> int:
        if media_type.partition(";")[0].strip().lower() != _MEDIA_TYPE and answer:
            raise Undelivered(f"{self._to}: its answer is not one of OTLP; is the path right?")
        try:
            said = ExportLogsServiceResponse.FromString(answer)
        except DecodeError:
            raise Undelivered(f"{self._to}: its answer is not one of OTLP") from None
        # These are not to be sent again, says the protocol.
        return max(0, int(said.partial_success.rejected_log_records))


def build_request(messages: Sequence[Message], *, product_version: str) -> ExportLogsServiceRequest:
    """Return the request for these messages; the body of each is its JSON as text."""
    resource = Resource(
        attributes=_attributes({"service.name": "broker", "service.version": product_version})
    )
    logs = ScopeLogs(
        scope=InstrumentationScope(name=_SCOPE, version=product_version),
        log_records=[_build_record(message) for message in messages],
    )
    return ExportLogsServiceRequest(
        resource_logs=[ResourceLogs(resource=resource, scope_logs=[logs])]
    )


def _build_record(message: Message) -> LogRecord:
    number, text = _SEVERITIES[message.severity]
    at = (message.at - _EPOCH) // _MICROSECOND * 1000
    named = {f"broker.audit.{name}": value for name, value in message.attributes.items()}
    # By this receivers tell a repetition: semantic conventions, ``log.record.uid``.
    named["log.record.uid"] = named.pop("broker.audit.id")
    return LogRecord(
        time_unix_nano=at,
        observed_time_unix_nano=at,
        severity_number=number,
        severity_text=text,
        event_name=f"broker.audit.{message.kind}",
        body=AnyValue(string_value=message.body.decode()),
        attributes=_attributes(named),
    )


def _attributes(named: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=name, value=AnyValue(string_value=value)) for name, value in named.items()]


def _parse_after(value: str | None) -> float | None:
    """Return the seconds of a ``Retry-After``. RFC 9110 §10.2.3."""
    if value is None:
        return None
    try:
        if value.isascii() and value.isdecimal():
            seconds = float(value[:9])
        else:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(0.0, seconds), _LONGEST_AFTER)


def _reason_of(error: Exception) -> str:
    """Return what failed; of a certificate, what is wrong with it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause.verify_message.rstrip(".")
        cause = cause.__cause__ or cause.__context__
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout():
            return "it cannot be reached"
        case httpx.TimeoutException():
            return "it does not answer in time"
        case _:
            return type(error).__name__
