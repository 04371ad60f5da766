"""The kinds of value that the configuration is made of, each with what to write instead.

No text here repeats the value that was refused: it may be a secret in the wrong place.
"""

import re
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
)

_UNITS: Final = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9._~-]{1,255}")
_SCOPE_TOKEN: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,255}")  # RFC 6749 §3.3
_TOKEN_PREFIX: Final = re.compile(r"(?!eyJ)[A-Za-z0-9._~+/-]{3,64}")  # RFC 6750 §2.1, and no JWT's
_LOOPBACK: Final = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")
# Members of a JWK that only its owner may know. RFC 7518 §6.2.2, §6.3.2, §6.4.1.
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_SHA256_OF_NOTHING: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

MAX_LEEWAY: Final = timedelta(seconds=60)
MAX_LIFETIME: Final = timedelta(hours=24)


def parse_duration(value: object) -> object:
    """Return ``90s``, ``5m``, ``24h`` or ``30d`` as a ``timedelta``, and a ``timedelta`` as is."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    if isinstance(value, timedelta):
        return value
    raise ValueError("write a duration like 90s, 5m, 24h or 30d")


def render_duration(value: timedelta) -> str:
    """Return a spelling that ``parse_duration`` reads back."""
    for unit in ("d", "h", "m", "s"):
        size = timedelta(**{_UNITS[unit]: 1})
        # A day is 24h to most people, and nothing at all is 0s.
        fits = {"d": value > size, "s": True}.get(unit, value >= size)
        if value % size == timedelta() and fits:
            return f"{value // size}{unit}"
    return f"{value // timedelta(milliseconds=1)}ms"


def within(least: timedelta, most: timedelta) -> AfterValidator:
    """Return the rule that a duration lies between two others, both included."""

    def check(value: timedelta) -> timedelta:
        if not least <= value <= most:
            raise ValueError(
                f"write a duration from {render_duration(least)} to {render_duration(most)}"
            )
        return value

    return AfterValidator(check)


def is_loopback(host: str | None) -> bool:
    """Whether this host cannot be anything but this machine."""
    return host is not None and _LOOPBACK.fullmatch(host) is not None


def split_url(value: str) -> SplitResult | None:
    """Return the parts of an absolute URL; None if it is not exactly one, or holds credentials."""
    # ``urlsplit`` removes tabs and newlines, so what it accepts is not what was written.
    if not value.isascii() or not value.isprintable() or " " in value or "\\" in value:
        return None
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname or "@" in parts.netloc or port == 0:
        return None
    return parts


def normal_url(value: str) -> str:
    """Return what a careless comparison could take this URL for; never what we compare with."""
    parts = split_url(value)
    if parts is None:
        return value
    port = "" if parts.port in (None, {"https": 443, "http": 80}.get(parts.scheme)) else parts.port
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}?{parts.query}"


def _check_identifier(value: str) -> str:
    # This charset reads the same raw and form-encoded, so every library's Basic header means
    # the same client (RFC 6749 §2.3.1).
    if not _IDENTIFIER.fullmatch(value):
        raise ValueError("write 1 to 255 of A-Z a-z 0-9 . _ ~ -")
    return value


def _check_name(value: str) -> str:
    # Names are compared exactly, so a wildcard would only look as if it matched.
    if "*" in value:
        raise ValueError("write the exact value: * is not a wildcard here")
    if not _SCOPE_TOKEN.fullmatch(value):
        raise ValueError('write 1 to 255 printable ASCII characters, without space, " or \\')
    return value


def _check_token_prefix(value: str) -> str:
    if not _TOKEN_PREFIX.fullmatch(value):
        raise ValueError("write 3 to 64 of A-Z a-z 0-9 . _ ~ + / -, and not eyJ, as a JWT begins")
    return value


def _check_reference(value: str) -> str:
    return value if value == "*" else _check_identifier(value)


def _check_https_url(value: str) -> str:
    parts = split_url(value)
    if parts is None or parts.scheme not in {"https", "http"}:
        raise ValueError("write an https URL, without spaces or credentials")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("write https: plain http is only for localhost, 127.0.0.1 and [::1]")
    if "#" in value:
        raise ValueError("write the URL without a fragment (#)")
    return value


def _check_issuer(value: str) -> str:
    _check_https_url(value)
    if "?" in value:
        raise ValueError("write the issuer without a query (RFC 8414 §2)")
    if "*" in value:
        raise ValueError("write the exact issuer: * is not a wildcard here")
    return value


def _check_resource(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = None
    visible = value.isascii() and value.isprintable() and " " not in value
    if parts is None or not visible or not parts.scheme or not (parts.netloc or parts.path):
        raise ValueError("write an absolute URI (RFC 8707 §2)")
    if "#" in value:
        raise ValueError("write the URI without a fragment (#) (RFC 8707 §2)")
    if "*" in value:
        raise ValueError("write the exact URI: * is not a wildcard here")
    return value


def _check_database_url(value: SecretStr) -> SecretStr:
    if not re.match(r"postgres(ql)?(\+asyncpg)?://", value.get_secret_value()):
        raise ValueError("write a URL like postgresql://user:password@host:5432/name")
    return value


def _check_secret_digest(value: SecretStr) -> SecretStr:
    match = re.fullmatch(r"sha256:([0-9a-fA-F]{64})", value.get_secret_value())
    if match is None:
        raise ValueError(
            "write sha256: and 64 hex digits, never the secret itself;"
            " `broker clients new-secret` makes both"
        )
    if match[1].lower() == _SHA256_OF_NOTHING:
        raise ValueError("this is the hash of an empty secret; run `broker clients new-secret`")
    return value


def _check_key_set(value: dict[str, Any]) -> dict[str, Any]:
    keys = value.get("keys")
    if not isinstance(keys, list) or not keys or not all(isinstance(key, dict) for key in keys):
        raise ValueError("write {keys: [...]} with at least one JWK (RFC 7517 §5)")
    if any(_PRIVATE_MEMBERS & key.keys() or key.get("kty") == "oct" for key in keys):
        raise ValueError("write public keys only: one of these holds a secret or private part")
    return value


def _check_network(value: object) -> IPv4Network | IPv6Network:
    if isinstance(value, IPv4Network | IPv6Network):
        network = value
    else:
        try:
            network = ip_network(value if isinstance(value, str) else "")
        except ValueError:
            raise ValueError("write an address or network like 10.0.0.0/8 or ::1") from None
    if network.prefixlen == 0:
        raise ValueError("write the proxies' own network: with this, anyone could name its source")
    return network


def _resolve_path(value: Path, info: ValidationInfo) -> Path:
    if str(value) == ".":
        raise ValueError("write a path")
    folder = (info.context or {}).get("folder")
    return value if folder is None else folder / value


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(render_duration, return_type=str, when_used="json"),
]
Identifier = Annotated[str, AfterValidator(_check_identifier)]
Name = Annotated[str, AfterValidator(_check_name)]
TokenPrefix = Annotated[str, AfterValidator(_check_token_prefix)]
ClientReference = Annotated[str, AfterValidator(_check_reference)]
HttpsUrl = Annotated[str, AfterValidator(_check_https_url)]
IssuerUrl = Annotated[str, AfterValidator(_check_issuer)]
Resource = Annotated[str, AfterValidator(_check_resource)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_check_database_url)]
SecretDigest = Annotated[SecretStr, AfterValidator(_check_secret_digest)]
PublicKeySet = Annotated[dict[str, Any], AfterValidator(_check_key_set)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_check_network)]
ConfigPath = Annotated[Path, AfterValidator(_resolve_path)]  # relative to the file it stands in

# fmt: off
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "Ed25519", "EdDSA",
]
# fmt: on
# ``EdDSA`` is Ed25519 under its older name, for verifiers that know no other (RFC 9864 §2.2).
SigningAlgorithm = Literal["ES256", "Ed25519", "EdDSA", "RS256"]
