"""The configuration: what ``broker.yaml`` and ``BROKER_…`` variables may say.

Everything is validated here, once, so that the rest of the broker never meets a bad value.
"""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from broker.domain import Target
from broker.oauth import AuthMethod, TokenType

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: object) -> object:
    """Return ``90s``, ``5m``, ``24h`` or ``30d`` as a ``timedelta``; other values unchanged."""
    if isinstance(text, str) and (match := re.fullmatch(r"([0-9]{1,9})([smhd])", text)):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    if isinstance(text, timedelta):
        return text
    raise ValueError("write a duration like 90s, 5m, 24h or 30d")


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"
]
SigningAlgorithm = Literal["ES256", "Ed25519", "RS256"]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Listen(_Section):
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)


class Admin(_Section):
    host: str = "127.0.0.1"
    port: int = Field(9090, ge=0, le=65535)
    token_file: Path | None = None


class Database(_Section):
    url: SecretStr | None = None  # None: embedded PostgreSQL (development)
    owner_url: SecretStr | None = None  # what ``broker migrate`` connects as; absent: ``url``
    data_dir: Path = Path(".broker")  # of the embedded one


class Keys(_Section):
    algorithm: SigningAlgorithm = "ES256"
    rotate_every: Duration = timedelta(days=30)
    kek_file: Path | None = None


class Policy(_Section):
    engine: Literal["wasm", "opa"] = "wasm"
    path: Path = Path("policies")
    url: str | None = None
    deadline: Annotated[timedelta, BeforeValidator(parse_duration)] = timedelta(milliseconds=50)


class Audit(_Section):
    deadline: Duration = timedelta(seconds=1)


class Rate(_Section):
    """``20/1m``: how many in how long."""

    count: int = Field(ge=1)
    per: timedelta


class Limits(_Section):
    authentication_failures: Rate = Rate(count=20, per=timedelta(minutes=1))


class Telemetry(_Section):
    otlp_endpoint: str | None = None
    trace_ratio: float = Field(0.01, ge=0, le=1)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class KnownAs(_Section):
    issuer: str
    id: str


class TrustedIssuer(_Section):
    """An issuer whose tokens may be presented, and every rule for them."""

    issuer: str
    alias: str
    jwks_uri: str | None = None
    discovery: bool = False
    jwks: dict[str, Any] | None = None
    jwks_file: Path | None = None
    ca_file: Path | None = None  # further trust anchors for its https
    allow_private_network: bool = False
    algorithms: tuple[Algorithm, ...]
    token_types: tuple[TokenType, ...] = (TokenType.ACCESS_TOKEN, TokenType.JWT)
    typ: tuple[str | None, ...] = ("at+jwt", "JWT", None)
    audiences: tuple[str, ...] = ()
    max_age: Duration = timedelta(hours=24)
    leeway: Duration = timedelta(seconds=30)
    require: tuple[str, ...] = ()
    scope_claim: str = "scope"
    scopeless: bool = False
    client_claim: str = "azp"
    subject: Literal["prefix", "keep"] = "prefix"
    asserts: tuple[Literal["act", "may_act", "max_delegation_depth"], ...] = ()
    policy_claims: tuple[str, ...] = ()
    one_time: bool = False
    clients: tuple[str, ...] = ("*",)


class ClientSettings(_Section):
    """A client and what it authenticates with."""

    id: str
    auth: AuthMethod = AuthMethod.CLIENT_SECRET_BASIC
    secrets: tuple[SecretStr, ...] = ()  # ``sha256:`` and 64 hex digits
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    jwks_file: Path | None = None
    allow_private_network: bool = False
    algorithms: tuple[Algorithm, ...] = ("ES256",)
    assertion_audience: Literal["issuer", "endpoint"] = "issuer"
    targets: tuple[str, ...] = ()
    known_as: tuple[KnownAs, ...] = ()
    default_target: str | None = None
    grant_types: tuple[Literal["token-exchange"], ...] = ("token-exchange",)


class Settings(_Section):
    """The whole of ``broker.yaml``."""

    issuer: str
    listen: Listen = Listen()
    admin: Admin = Admin()
    trusted_proxies: tuple[str, ...] = ()
    database: Database = Database()
    keys: Keys = Keys()
    policy: Policy = Policy()
    audit: Audit = Audit()
    telemetry: Telemetry = Telemetry()
    limits: Limits = Limits()
    max_delegation_depth: int = Field(8, ge=1, le=32)
    max_targets: int = Field(1, ge=1, le=16)
    issuers: tuple[TrustedIssuer, ...] = ()
    clients: tuple[ClientSettings, ...] = ()
    targets: tuple[Target, ...] = ()


def load_settings(path: Path | None) -> Settings:
    """Return the settings of ``path``, overridden by the environment.

    Raises ``ConfigurationError``, whose text names the key.
    """
    raise NotImplementedError
