"""The streams of the trail in the configuration, and where one goes, as a text names it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from broker.settings.problems import Problem
from broker.settings.sections import Section
from broker.settings.values import ConfigPath, Identifier, is_loopback, split_url

_SYSLOG_PORT: Final = 6514  # RFC 5425 §4.1
_SCHEMES: Final = {"https": "otlp+https", "http": "otlp+http"}
_REMEDY: Final = "write file:PATH, syslog+tls://HOST:6514 or otlp+https://HOST:4318"

Form = Literal["native", "ocsf"]


@dataclass(frozen=True, slots=True)
class FileDestination:
    """Lines are appended to a file."""

    path: Path

    def __str__(self) -> str:
        return f"file:{self.path}"


@dataclass(frozen=True, slots=True)
class SyslogDestination:
    """A receiver of RFC 5425: syslog over TLS."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"syslog+tls://{_bracketed(self.host)}:{self.port}"


@dataclass(frozen=True, slots=True)
class OtlpDestination:
    """A receiver of OTLP logs over HTTP; its ``url`` is without ``/v1/logs``."""

    url: str

    def __str__(self) -> str:
        scheme, _, rest = self.url.partition("://")
        return f"{_SCHEMES[scheme]}://{rest}"


Destination = FileDestination | SyslogDestination | OtlpDestination


def parse_destination(text: str) -> Destination:
    """Return where that is. Raises ``ValueError``, which does not repeat the text."""
    if text.startswith("file:"):
        return _parse_file(text.removeprefix("file:"))
    parts = split_url(text)
    if parts is None:
        raise ValueError(f"{_REMEDY}, without spaces or credentials")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("write it without a query (?) and a fragment (#)")
    host = parts.hostname or ""
    match parts.scheme:
        case "syslog+tls":
            if parts.path not in {"", "/"}:
                raise ValueError("write syslog+tls://HOST:6514: a receiver of syslog has no path")
            return SyslogDestination(host, parts.port or _SYSLOG_PORT)
        case "otlp+https" | "otlp+http":
            scheme = parts.scheme.removeprefix("otlp+")
            if scheme == "http" and not is_loopback(host):
                raise ValueError("write otlp+https: plain http is only for loopback")
            return OtlpDestination(f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}")
        case "syslog" | "syslog+tcp" | "syslog+udp":
            raise ValueError(
                "write syslog+tls://HOST:6514: the trail leaves encrypted or not at all"
            )
        case _:
            raise ValueError(_REMEDY)


def _parse_file(path: str) -> FileDestination:
    # ``file://host/path`` names another machine's file, and ``file:///path`` one here.
    path = path.removeprefix("//") if path.startswith("///") else path
    if not path or path.startswith("//") or path.endswith("/") or not path.isprintable():
        raise ValueError("write file:PATH, like file:/var/log/broker/audit.jsonl")
    return FileDestination(Path(path))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _check_destination(value: str) -> str:
    parse_destination(value)
    return value


DestinationUrl = Annotated[str, AfterValidator(_check_destination)]


class AuditStream(Section):
    """The trail as it grows, brought to a receiver by whichever process is first."""

    name: Identifier = Field(description="Its name; how far it has come is kept under this.")
    to: DestinationUrl = Field(
        description="`syslog+tls://HOST:6514`, `otlp+https://HOST:4318` or `file:PATH`."
    )
    format: Form = Field("native", description="The record as it is stored, or an event of OCSF.")
    start: Literal["start", "now"] = Field(
        "start", description="Where a new name begins: at the first row that there is, or now."
    )
    open: bool = Field(
        default=False, description="Whether what identifies persons leaves in plain."
    )
    ca_file: ConfigPath | None = Field(
        None, description="Whom to believe (PEM), instead of the authorities of the system."
    )
    cert_file: ConfigPath | None = Field(
        None, description="Certificate to come with (PEM), where the receiver asks for one."
    )
    key_file: ConfigPath | None = Field(None, description="Its private key (PEM).")

    @property
    def destination(self) -> Destination:
        """Where it goes."""
        return parse_destination(self.to)

    def problems(self) -> Iterator[Problem]:
        """Yield what does not fit together."""
        if (self.cert_file is None) != (self.key_file is None):
            yield Problem(("key_file",), "write both cert_file and key_file, or neither")
        destination = self.destination
        if isinstance(destination, FileDestination) and not destination.path.is_absolute():
            yield Problem(("to",), "write the whole path, like file:/var/log/broker/audit.jsonl")
