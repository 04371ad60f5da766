"""The part of the configuration that is about policy: who decides, by which bundles."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from broker.settings.problems import Problem
from broker.settings.sections import Section
from broker.settings.values import ConfigPath, Duration, HttpsUrl, within

BundleAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]


class Verification(Section):
    """Whose signature policy bundles must have, as `opa build --signing-key` makes it."""

    key_file: ConfigPath = Field(description="File with the public key, in PEM.")
    algorithm: BundleAlgorithm = Field("RS256", description="What it is signed with.")
    key_id: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="The key's name; a signature that names another one is refused.",
    )
    scope: str = Field(
        "", max_length=255, description="The `scope` that the signature must have; empty: none."
    )


class BundleSource(Section):
    """Where new policy bundles come from: a web server, or an OCI registry."""

    url: HttpsUrl = Field(
        description="The bundle, or with `repository` the registry: https, or http on loopback."
    )
    repository: str | None = Field(
        None,
        pattern=r"^[a-z0-9]+([._/-]+[a-z0-9]+)*$",
        max_length=255,
        description="Repository in an OCI registry, like `security/broker-policy`.",
    )
    tag: str = Field(
        "latest",
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$",
        description="Its tag in that repository.",
    )
    every: Annotated[Duration, within(timedelta(seconds=1), timedelta(hours=24))] = Field(
        timedelta(minutes=1), description="How often to look, give or take a fifth."
    )
    mode: Literal["enforce", "observe"] = Field(
        "enforce", description="What a new bundle becomes: the policy, or a candidate beside it."
    )
    username: str | None = Field(None, max_length=255, description="Whom to authenticate as.")
    password_file: ConfigPath | None = Field(None, description="File with the password of it.")
    token_file: ConfigPath | None = Field(None, description="File with a bearer token, instead.")
    ca_file: ConfigPath | None = Field(None, description="File with further trust anchors, in PEM.")
    allow_private_network: bool = Field(
        default=False,
        description="Whether the host may have private or loopback addresses;"
        " on loopback also plain http.",
    )

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong between the credentials."""
        if (self.username is None) != (self.password_file is None):
            yield Problem(("password_file",), "goes with username; write both or none")
        if self.token_file is not None and self.username is not None:
            yield Problem(("token_file",), "is instead of username; remove one of the two")


class Policy(Section):
    """Who decides, and where the rules are."""

    engine: Literal["wasm", "opa"] = Field(
        "wasm", description="`wasm` decides in this process, `opa` asks an OPA server."
    )
    path: ConfigPath = Field(
        Path("policies"), description="Bundle root to compile, or a bundle that is built already."
    )
    url: HttpsUrl | None = Field(
        None, description="OPA server, for engine `opa`: https, or http on loopback."
    )
    verification: Verification | None = Field(
        None,
        description="Whose signature every bundle must have; absent: none is asked for.",
    )
    source: BundleSource | None = Field(
        None, description="Where new bundles come from by themselves; absent: from nowhere."
    )
    deadline: Annotated[Duration, within(timedelta(milliseconds=1), timedelta(seconds=5))] = Field(
        timedelta(milliseconds=50), description="How long a decision may take."
    )

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong between engine and address."""
        if self.engine == "opa" and self.url is None:
            yield Problem(("url",), "is required with engine: opa, like http://127.0.0.1:8181")
        if self.engine == "wasm" and self.url is not None:
            yield Problem(("url",), "is only for engine: opa; remove one of the two")
        if self.engine == "opa" and self.verification is not None:
            text = "is only for engine: wasm; the server verifies its bundles itself"
            yield Problem(("verification",), text)
        if self.engine == "opa" and self.source is not None:
            yield Problem(("source",), "is only for engine: wasm; the server has its own bundles")
        if self.source is not None and self.verification is None:
            text = "needs policy.verification: what comes over a network must be signed"
            yield Problem(("source",), text)
