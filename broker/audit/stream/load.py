"""The receiver that a text names."""

import ssl
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from broker.audit.stream.file import FileSink
from broker.audit.stream.otlp import OtlpSink
from broker.audit.stream.sink import Sink
from broker.audit.stream.syslog import SyslogSink
from broker.errors import ConfigurationError
from broker.settings.streams import FileDestination, OtlpDestination, SyslogDestination

PRODUCT_VERSION: Final = version("token-exchange-broker")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Whom to believe, and as whom to come; PEM."""

    ca: Path | None = None  # instead of the certificate authorities of the system
    certificate: Path | None = None
    key: Path | None = None


def build_sink(to: FileDestination | SyslogDestination | OtlpDestination, files: TlsFiles) -> Sink:
    """Return it; nothing is opened yet. Raises ``ConfigurationError`` for a file of TLS."""
    match to:
        case FileDestination():
            return FileSink(to.path)
        case SyslogDestination():
            return SyslogSink(to, _build_tls(files), product_version=PRODUCT_VERSION)
        case OtlpDestination():
            return OtlpSink(to, _build_tls(files), product_version=PRODUCT_VERSION)


def _build_tls(files: TlsFiles) -> ssl.SSLContext:
    """Return a client's settings: the name of the host is checked, and nothing turns that off."""
    try:
        tls = ssl.create_default_context(cafile=files.ca)
    except OSError:  # of which ``ssl.SSLError`` is one
        raise ConfigurationError(f"ca: {files.ca} has no certificates in PEM") from None
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.certificate is not None:
        try:
            # Without a terminal to ask at, a key under a password is one that cannot be read.
            tls.load_cert_chain(files.certificate, files.key, password=lambda: "")
        except (OSError, ValueError):
            raise ConfigurationError(
                f"cert: {files.certificate} and its key cannot be used; write both in PEM, the key"
                " without a password"
            ) from None
    return tls
