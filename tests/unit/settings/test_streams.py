"""Where a stream goes: what can be written, and what is refused."""

import pytest
from pydantic import ValidationError

from broker.settings.audit import Audit
from broker.settings.streams import parse_destination

GOOD = {"name": "siem", "to": "syslog+tls://siem.example.com:6514"}


@pytest.mark.parametrize(
    ("text", "read"),
    [
        pytest.param("file:/var/log/a.jsonl", "file:/var/log/a.jsonl", id="file"),
        pytest.param("file:///var/log/a.jsonl", "file:/var/log/a.jsonl", id="file-url"),
        pytest.param("file:a.jsonl", "file:a.jsonl", id="file-here"),
        pytest.param("syslog+tls://siem.test", "syslog+tls://siem.test:6514", id="syslog"),
        pytest.param("syslog+tls://siem.test:99/", "syslog+tls://siem.test:99", id="syslog-port"),
        pytest.param("syslog+tls://[::1]:6514", "syslog+tls://[::1]:6514", id="syslog-ipv6"),
        pytest.param("otlp+https://otel.test", "otlp+https://otel.test", id="otlp"),
        pytest.param("otlp+https://otel.test/a/", "otlp+https://otel.test/a", id="otlp-path"),
        pytest.param("otlp+http://127.0.0.1:4318", "otlp+http://127.0.0.1:4318", id="otlp-plain"),
    ],
)
def test_a_destination_is_read_as_one_text(text, read):
    """Issue: syslog over TLS, OTLP, or a file; two spellings of one are one."""
    assert read == str(parse_destination(text))


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        pytest.param("", "write file:PATH", id="empty"),
        pytest.param("file:", "write file:PATH", id="file-without-path"),
        pytest.param("file:/var/log/", "write file:PATH", id="file-is-folder"),
        pytest.param("file://host/a", "write file:PATH", id="file-of-another-host"),
        pytest.param("syslog://siem.test", "leaves encrypted or not at all", id="syslog-plain"),
        pytest.param("syslog+udp://siem.test", "leaves encrypted or not", id="syslog-udp"),
        pytest.param("syslog+tls://siem.test/a", "has no path", id="syslog-path"),
        pytest.param("syslog+tls://siem.test:0", "without spaces or cred", id="port-0"),
        pytest.param("syslog+tls://u:p@siem.test", "without spaces or cred", id="credentials"),
        pytest.param("syslog+tls://siem.test?a", "without a query", id="query"),
        pytest.param("otlp+http://otel.test", "only for loopback", id="otlp-plain"),
        pytest.param("https://otel.test", "write file:PATH", id="another-scheme"),
        pytest.param("otlp+https://otel.test#a", "without a query", id="fragment"),
    ],
)
def test_what_is_no_destination_says_what_to_write(text, remedy):
    """Issue: a clear error; nothing leaves over plain text."""
    with pytest.raises(ValueError, match=remedy.replace("+", r"\+")) as caught:
        parse_destination(text)

    assert "u:p" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        pytest.param({"cert_file": "a.pem"}, "both cert_file and key_file", id="cert-alone"),
        pytest.param({"key_file": "a.pem"}, "both cert_file and key_file", id="key-alone"),
        pytest.param({"to": "file:a.jsonl"}, "write the whole path", id="file-from-anywhere"),
        pytest.param({"to": "nowhere"}, "write file:PATH", id="to"),
        pytest.param({"name": "a b"}, "A-Z a-z 0-9", id="name"),
        pytest.param({"format": "csv"}, "native", id="format"),
    ],
)
def test_a_stream_that_cannot_be_is_refused(changes, remedy):
    """Ours: an error at the start names the key and what to write."""
    with pytest.raises(ValidationError, match=remedy):
        Audit.model_validate({"streams": [GOOD | changes]})


def test_two_streams_do_not_share_a_name():
    """Ours: they would share one place in the log, and each would have half of it."""
    with pytest.raises(ValidationError, match="another name for each stream"):
        Audit.model_validate({"streams": [GOOD, GOOD | {"to": "file:/a"}]})
