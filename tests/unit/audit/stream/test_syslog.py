"""Syslog as it goes over the wire: RFC 5424 messages in frames of RFC 5425."""

from hypothesis import given
from hypothesis import strategies as st

from broker.audit.stream.message import Severity
from broker.audit.stream.syslog import frame, render_message
from tests.streaming import message, parse_syslog

AT = "2026-11-24T12:00:00.000250Z"


def rendered(**overrides):
    return render_message(message(**overrides), host="host.example", version="0.1.0")


def test_a_message_has_the_form_of_rfc_5424():
    """RFC 5424 §6: facility 13 is the audit's; the id tells a repetition from a second event."""
    assert (
        f"<110>1 {AT} host.example broker 0d6c7f9e exchange"
        ' [origin software="broker" swVersion="0.1.0"]'
        '[broker@32473 id="00000000-0000-7000-8000-000000000001" writer="0d6c7f9e" seq="1"]'
        ' {"kind":"exchange"}'
    ).encode() == rendered()


def test_the_severity_is_in_the_priority():
    """RFC 5424 §6.2.1: facility times eight, and the severity."""
    priorities = [parse_syslog(rendered(severity=one)).priority for one in Severity]

    assert [106, 107, 108, 109, 110] == priorities


def test_a_frame_counts_octets():
    """RFC 5425 §4.3: not characters."""
    assert "5 \u00fcber".encode() == frame("\u00fcber".encode())


def test_text_beyond_ascii_is_marked_as_utf_8():
    """RFC 5424 §6.4: the mark says so; without it, it is ASCII."""
    assert rendered(body='{"a":"ü"}'.encode()).endswith(b'] \xef\xbb\xbf{"a":"\xc3\xbc"}')


def test_a_header_without_a_value_has_a_hyphen():
    """RFC 5424 §6.2: NILVALUE; nothing of a name that is no printable ASCII."""
    raw = render_message(message(kind="\u00e9 "), host="", version="1")

    assert ("-", "-") == (parse_syslog(raw).host, parse_syslog(raw).msgid)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_no_value_breaks_out_of_its_place(value):
    """RFC 5424 §6.3.3: quotes, backslashes and brackets are escaped; no control character is."""
    attributes = {"id": "1", "writer": "w", "seq": "1", "client": value}
    found = parse_syslog(rendered(attributes=attributes))
    expected = "".join(" " if ord(c) < 32 or 127 <= ord(c) < 160 else c for c in value)

    assert {"origin", "broker@32473"} == found.data.keys()
    assert expected == found.data["broker@32473"]["client"]
    assert '{"kind":"exchange"}' == found.text
