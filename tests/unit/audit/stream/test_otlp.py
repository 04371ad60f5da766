"""OpenTelemetry's log records, as their data model has them."""

from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber

from broker.audit.stream.message import Severity
from broker.audit.stream.otlp import build_request
from tests.streaming import attributes_of, message


def test_a_request_says_who_sends_and_what():
    """OTLP: one resource, one scope, a record for each message."""
    request = build_request([message(1), message(2)], product_version="0.1.0")

    (logs,) = request.resource_logs
    (scope,) = logs.scope_logs
    resource = {one.key: one.value.string_value for one in logs.resource.attributes}
    assert {"service.name": "broker", "service.version": "0.1.0"} == resource
    assert "broker.audit" == scope.scope.name
    assert [1, 2] == [int(attributes_of(one)["broker.audit.seq"]) for one in scope.log_records]


def test_a_record_has_the_time_the_body_and_what_tells_a_repetition():
    """Ours: the body is the JSON as text; ``log.record.uid`` is the id."""
    request = build_request([message(3)], product_version="1")

    (record,) = request.resource_logs[0].scope_logs[0].log_records
    assert 1795521600_000250_000 == record.time_unix_nano
    assert '{"kind":"exchange"}' == record.body.string_value
    assert "broker.audit.exchange" == record.event_name
    assert {
        "broker.audit.writer": "0d6c7f9e",
        "broker.audit.seq": "3",
        "log.record.uid": "00000000-0000-7000-8000-000000000003",
    } == attributes_of(record)


def test_every_severity_is_one_of_the_data_model():
    """OTel logs data model: each has its number, the worse the higher."""
    request = build_request([message(severity=one) for one in Severity], product_version="1")

    records = request.resource_logs[0].scope_logs[0].log_records
    numbers = [one.severity_number for one in records]
    assert sorted(numbers, reverse=True) == numbers
    assert 5 == len(set(numbers))
    assert SeverityNumber.SEVERITY_NUMBER_INFO == numbers[-1]
