"""The places outside that a configuration names."""

import ssl

from broker.audit.publish.file import FileSink
from broker.audit.publish.s3 import ObjectSink
from broker.audit.publish.sink import Sink
from broker.audit.publish.witness import WitnessSink
from broker.settings.audit import Checkpoints


def build_sinks(checkpoints: Checkpoints, tls: ssl.SSLContext) -> list[Sink]:
    """Return them; nothing is opened yet. Raises ``ConfigurationError``."""
    sinks: list[Sink] = []
    if checkpoints.file is not None:
        sinks.append(FileSink(checkpoints.file))
    if checkpoints.s3 is not None:
        sinks.append(ObjectSink(checkpoints.s3))
    sinks += [WitnessSink(each.url, each.vkey, tls) for each in checkpoints.witnesses]
    return sinks
