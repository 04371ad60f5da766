"""The parts of the configuration that are about the broker itself."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from broker.settings.keys import OneWord
from broker.settings.problems import Problem, refuse
from broker.settings.values import (
    ConfigPath,
    DatabaseUrl,
    Duration,
    HttpsUrl,
    SigningAlgorithm,
    parse_duration,
    render_duration,
    within,
)


class Section(BaseModel):
    """A mapping whose keys are all known, and which nothing changes once it is read."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,  # a message must not repeat a secret
        validate_default=True,  # relative paths among them,
        revalidate_instances="always",  # also in a section that is left out
        allow_inf_nan=False,
    )

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong between the keys of this section."""
        return iter(())

    @model_validator(mode="after")
    def _refuse_problems(self) -> Self:
        refuse(self.problems())
        return self


class Listen(Section):
    """The listener that clients reach."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="TCP port; 0 lets the system choose.")


class Admin(Section):
    """The listener for health, metrics and the admin API."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(9090, ge=0, le=65535, description="TCP port; 0 lets the system choose.")
    token_file: ConfigPath | None = Field(
        None, description="File with the bearer token of the admin API; absent: the API is off."
    )


class Database(Section):
    """PostgreSQL, where keys, claimed ids and the audit trail live."""

    url: DatabaseUrl | None = Field(
        None,
        description="What the broker connects as (role broker_app); absent: embedded PostgreSQL.",
    )
    owner_url: DatabaseUrl | None = Field(
        None, description="What `broker migrate` connects as (role broker_owner); absent: `url`."
    )
    data_dir: ConfigPath = Field(
        Path(".broker"), description="Where an embedded PostgreSQL keeps its data."
    )


class Pkcs11(Section):
    """The PKCS#11 token (an HSM) that keeps the signing keys."""

    module: ConfigPath = Field(description="The library of its vendor, a shared object.")
    token_label: str = Field(
        min_length=1, max_length=32, description="CKA_LABEL of the token, as it was initialised."
    )
    pin_file: ConfigPath = Field(description="File with the user PIN.")


class Keys(Section):
    """The keys that issued tokens are signed with."""

    algorithm: SigningAlgorithm = Field("ES256", description="Signature algorithm by default.")
    provider: Literal["postgresql", "pkcs11"] = Field(
        "postgresql",
        description="Who makes and keeps new keys: `postgresql`, encrypted, or a `pkcs11` token.",
    )
    rotate_every: Annotated[Duration, within(timedelta(minutes=10), timedelta(days=366))] = Field(
        timedelta(days=30), description="How long a key signs before the next one takes over."
    )
    kek_file: ConfigPath | None = Field(
        None,
        description="File with the key-encryption key, 32 bytes in base64;"
        " made beside an embedded database, required with any other.",
    )
    second_kek_file: ConfigPath | None = Field(
        None,
        description="Another one that opens keys as well, while `broker keys rekey` changes it.",
    )
    pkcs11: Pkcs11 | None = Field(
        None, description="The token; also while it keeps keys that were made before."
    )

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong between provider, token and files."""
        if self.provider == "pkcs11" and self.pkcs11 is None:
            yield Problem(
                ("pkcs11",), "is required with provider: pkcs11: module, token_label and pin_file"
            )
        if self.second_kek_file is not None and self.kek_file is None:
            text = "is only beside kek_file, while one replaces the other"
            yield Problem(("second_kek_file",), text)
        if self.second_kek_file is not None and self.second_kek_file == self.kek_file:
            yield Problem(("second_kek_file",), "is the same as kek_file; remove it")


class Rate(OneWord, Section):
    """How many in how long, written like ``20/1m``."""

    count: int = Field(ge=1, le=1_000_000, description="How many.")
    per: Annotated[Duration, within(timedelta(seconds=1), timedelta(hours=24))] = Field(
        description="In how long."
    )

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:  # noqa: ANN401 — whatever YAML holds
        if isinstance(value, str):
            count, slash, per = value.partition("/")
            if slash and count.isascii() and count.isdigit() and len(count) <= 7:
                return {"count": int(count), "per": parse_duration(per)}
        elif isinstance(value, dict | Rate):
            return value
        raise ValueError("write a count and a duration, like 20/1m")

    @model_serializer(mode="plain", when_used="json")
    def _render(self) -> str:
        return f"{self.count}/{render_duration(self.per)}"

    def __str__(self) -> str:
        return self._render()


class Telemetry(Section):
    """Traces and logs. Metrics are always on, at the admin listener."""

    otlp_endpoint: HttpsUrl | None = Field(
        None, description="Where spans are sent by OTLP over HTTP; absent: nowhere."
    )
    trace_ratio: float = Field(
        0.01, ge=0, le=1, description="Share of requests traced when the caller does not say."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe level that is logged."
    )
