"""The whole of ``broker.yaml`` in one frozen value, with the rules between its parts kept."""

import re
from collections.abc import Iterator
from typing import Final

from pydantic import Field, ValidationInfo, field_validator

from broker.settings.audit import Audit
from broker.settings.limits import Limits
from broker.settings.parties import ClientSettings, TargetSettings, TrustedIssuer
from broker.settings.policy import Policy
from broker.settings.problems import Problem
from broker.settings.rules import (
    audit_problems,
    client_problems,
    issuer_problems,
    listener_problems,
    target_problems,
)
from broker.settings.sections import (
    Admin,
    Database,
    Keys,
    Listen,
    Section,
    Telemetry,
)
from broker.settings.upstreams import Proxy, Upstream, proxy_problems
from broker.settings.values import HttpsUrl, IssuerUrl, Network

_ERROR_URI: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+")  # RFC 6749 §5.2


class Settings(Section):
    """What the broker runs with."""

    issuer: IssuerUrl = Field(
        description="Our issuer identifier, the `iss` of issued tokens; http only on loopback."
    )
    listen: Listen = Field(Listen(), description="The listener that clients reach.")
    admin: Admin = Field(Admin(), description="The listener for health, metrics and the admin API.")
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="Networks of the proxies whose forwarding headers are believed."
    )
    database: Database = Field(
        Database(), description="PostgreSQL, where keys, claimed ids and the audit trail live."
    )
    keys: Keys = Field(Keys(), description="The keys that issued tokens are signed with.")
    policy: Policy = Field(Policy(), description="Who decides, and where the rules are.")
    audit: Audit = Field(Audit(), description="The audit trail.")
    telemetry: Telemetry = Field(Telemetry(), description="Traces and logs.")
    error_uri: HttpsUrl | None = Field(
        None,
        description="A page for client developers, named by refusals as `error_uri` (RFC 6749"
        " §5.2) with the request's id at its end.",
    )
    limits: Limits = Field(Limits(), description="How much anyone may ask.")
    # Longer chains would be nested deeper than the JSON that is read (16).
    max_delegation_depth: int = Field(
        8, ge=1, le=14, description="Most exchanges that one token may come from, whatever grants."
    )
    max_targets: int = Field(1, ge=1, le=16, description="Most targets that one token may be for.")
    issuers: tuple[TrustedIssuer, ...] = Field(
        (), description="Issuers whose tokens may be presented."
    )
    clients: tuple[ClientSettings, ...] = Field((), description="Clients that may exchange.")
    targets: tuple[TargetSettings, ...] = Field(
        (), description="Resource servers that tokens are issued for."
    )

    proxy: Proxy = Field(Proxy(), description="The token proxy.")
    upstreams: tuple[Upstream, ...] = Field(
        (), description="Identity providers whose tokens the token proxy fetches."
    )

    @property
    def token_endpoint(self) -> str:
        """The URL of the token endpoint."""
        return f"{self.issuer}/token"

    @field_validator("issuer")
    @classmethod
    def _refuse_trailing_slash(cls, value: str) -> str:
        if value.endswith("/"):
            raise ValueError("write our issuer without a slash at the end: the endpoints add it")
        return value

    @field_validator("error_uri")
    @classmethod
    def _refuse_other_characters(cls, value: str | None) -> str | None:
        if value is not None and _ERROR_URI.fullmatch(value) is None:
            raise ValueError("write it in ASCII, without quotation marks and backslashes")
        return value

    @field_validator("targets")
    @classmethod
    def _default_algorithm(
        cls, value: tuple[TargetSettings, ...], info: ValidationInfo
    ) -> tuple[TargetSettings, ...]:
        if "keys" not in info.data:
            return value
        update = {"algorithm": info.data["keys"].algorithm}
        return tuple(
            target if "algorithm" in target.model_fields_set else target.model_copy(update=update)
            for target in value
        )

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong between the sections."""
        yield from listener_problems(self.listen, self.admin)
        yield from proxy_problems(self.proxy, self.listen, self.admin.port, self.upstreams)
        sealed = self.keys.provider == "postgresql"
        if sealed and self.database.url is not None and self.keys.kek_file is None:
            yield Problem(
                ("keys", "kek_file"),
                "is required with database.url: a file with 32 random bytes in base64",
            )
        if self.database.url is not None:
            yield from audit_problems(self.audit)
        yield from issuer_problems(self.issuer, self.issuers, self.clients, self.targets)
        yield from client_problems(self.issuers, self.clients, self.targets)
        yield from target_problems(self.issuer, self.clients, self.targets)
