"""Streams of a broker, before anything is opened."""

import pytest

from broker.app.streaming import Streaming
from broker.errors import ConfigurationError
from broker.settings.streams import AuditStream
from tests.audit import VAULT, now

URL = "postgresql://broker_app@localhost/broker"
SIEM = {"name": "siem", "to": "syslog+tls://siem.example.com:6514"}


def test_a_file_that_cannot_be_used_names_its_stream(tmp_path):
    """Ours: at the start, and not when the first row is due."""
    stream = AuditStream.model_validate(SIEM | {"ca_file": tmp_path / "nothing"})
    with pytest.raises(ConfigurationError, match=r"audit\.streams, siem: ca: .* in PEM"):
        Streaming((stream,), URL, VAULT, now)


def test_streams_that_fare_well_are_not_spoken_of():
    """Ours: what an operator is told of is trouble."""
    streaming = Streaming((AuditStream.model_validate(SIEM),), URL, VAULT, now)

    assert {} == streaming.describe()
