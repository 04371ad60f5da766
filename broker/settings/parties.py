"""Whom the broker deals with: issuers it trusts, clients it serves, targets it issues for."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from broker.domain import Target
from broker.oauth import RESERVED_CLAIMS, AuthMethod, TokenType
from broker.settings.introspection import Introspection
from broker.settings.limits import ClientLimits
from broker.settings.problems import Problem, refuse
from broker.settings.sections import Section
from broker.settings.values import (
    MAX_LEEWAY,
    MAX_LIFETIME,
    Algorithm,
    ClientReference,
    ConfigPath,
    Duration,
    HttpsUrl,
    Identifier,
    IssuerUrl,
    Name,
    PublicKeySet,
    Resource,
    SecretDigest,
    SigningAlgorithm,
    within,
)

_ZERO: Final = timedelta()
_SECOND: Final = timedelta(seconds=1)
_SECRET_METHODS: Final = frozenset({AuthMethod.CLIENT_SECRET_BASIC, AuthMethod.CLIENT_SECRET_POST})


class KnownAs(Section):
    """The name of a client at an issuer."""

    issuer: IssuerUrl = Field(description="A trusted issuer.")
    id: str = Field(min_length=1, max_length=1024, description="What it calls the client.")


class _KeySources(Section):
    """Where public keys come from: exactly one of several places."""

    jwks_uri: HttpsUrl | None = Field(None, description="URL of the JWK Set (RFC 7517 §5).")
    jwks: PublicKeySet | None = Field(None, description="The JWK Set itself.")
    jwks_file: ConfigPath | None = Field(None, description="File that holds the JWK Set.")
    ca_file: ConfigPath | None = Field(
        None, description="Further trust anchors (PEM) for fetching its keys and metadata."
    )
    allow_private_network: bool = Field(
        default=False,
        description="The host of the keys may be at a private or loopback address,"
        " and on loopback be reached by plain http.",
    )

    def _key_sources(self) -> list[str]:
        names = ("jwks_uri", "jwks", "jwks_file")
        return [name for name in names if getattr(self, name) is not None]

    def _fetches(self) -> bool:
        return self.jwks_uri is not None

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with how the keys are fetched."""
        yield from super().problems()
        if (self.jwks_uri or "").startswith("http:") and not self.allow_private_network:
            yield Problem(
                ("jwks_uri",), "write https, or allow_private_network: true for http on loopback"
            )
        if self.ca_file and not self._fetches():
            yield Problem(("ca_file",), "is only for keys that are fetched; remove it")


class TrustedIssuer(_KeySources):
    """An issuer whose tokens may be presented, and every rule for them."""

    issuer: IssuerUrl = Field(description="Its identifier, exactly as `iss` has it.")
    alias: Identifier = Field(description="Short name: prefix of its subjects, label in metrics.")
    discovery: bool = Field(
        default=False, description="Find the JWK Set by the issuer's metadata (RFC 8414)."
    )
    algorithms: tuple[Algorithm, ...] = Field(
        description="Signature algorithms accepted; there is no default. Empty without keys alone."
    )
    token_types: tuple[TokenType, ...] = Field(
        (TokenType.ACCESS_TOKEN, TokenType.JWT),
        min_length=1,
        description="Declared token types accepted, in full or by their last part.",
    )
    typ: tuple[Annotated[str, Field(min_length=1)] | None, ...] = Field(
        ("at+jwt", "JWT", None),
        min_length=1,
        description="JOSE header `typ` accepted; null: absent.",
    )
    audiences: tuple[Name, ...] = Field(
        (), description="`aud` values that mean this broker at that issuer."
    )
    max_age: Annotated[Duration, within(_SECOND, timedelta(days=366))] = Field(
        timedelta(hours=24), description="Oldest token accepted, by `iat`."
    )
    leeway: Annotated[Duration, within(_ZERO, MAX_LEEWAY)] = Field(
        timedelta(seconds=30), description="Difference of clocks allowed for `nbf` and `iat`."
    )
    one_time: bool = Field(
        default=False, description="Each token is exchanged at most once; implies `require: [jti]`."
    )
    require: tuple[Name, ...] = Field(
        (), description="Claims that must be there beyond iss, sub, aud, exp and iat."
    )
    scope_claim: Name = Field("scope", description="Claim with the scopes: text or a list.")
    scopeless: bool = Field(
        default=False, description="Its tokens have no scopes; grants may derive them of identity."
    )
    client_claim: Name = Field("azp", description="Claim with the client a token was issued to.")
    subject: Literal["prefix", "keep"] = Field(
        "prefix",
        description="`sub` in issued tokens: `<alias>:<sub>`, or as it is, for one issuer at most.",
    )
    asserts: tuple[Literal["act", "may_act", "max_delegation_depth"], ...] = Field(
        (), description="Which of these claims are believed; one not listed is a refusal."
    )
    policy_claims: tuple[Name, ...] = Field(
        (), description="The only further claims that policy and the audit record see."
    )
    clients: tuple[ClientReference, ...] = Field(
        ("*",), min_length=1, description="Who may present its tokens; * alone: every client."
    )
    introspection: Introspection | None = Field(
        None,
        description="Asking it about its tokens (RFC 7662): for opaque ones, or for what it has"
        " revoked.",
    )

    @field_validator("token_types", mode="before")
    @classmethod
    def _expand_token_types(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        short = {token_type.value.rpartition(":")[2]: token_type for token_type in TokenType}
        return [short.get(item, item) if isinstance(item, str) else item for item in value]

    @field_validator("require")
    @classmethod
    def _require_jti(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        # What is used once is told apart by its ``jti``, so it has to have one.
        implied = info.data.get("one_time") and "jti" not in value
        return (*value, "jti") if implied else value

    @property
    def has_keys(self) -> bool:
        """Whether it signs tokens at all; one without keys has opaque tokens alone."""
        return bool(self._key_sources()) or self.discovery

    def _fetches(self) -> bool:
        return self.discovery or super()._fetches()

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong between the keys of this issuer."""
        yield from super().problems()
        sources = self._key_sources() + ["discovery"] * self.discovery
        asked = self.introspection
        keyless = not sources and not self.algorithms and asked is not None
        if not self.algorithms and not keyless:
            yield Problem(("algorithms",), "write at least one")
        if len(sources) != 1 and not keyless:
            has = " and ".join(sources) or "none"
            yield Problem(
                (),
                "write exactly one of jwks_uri, discovery: true, jwks and jwks_file"
                f" (there is {has})",
            )
        if self.discovery and self.issuer.startswith("http:") and not self.allow_private_network:
            yield Problem(
                ("discovery",), "an http issuer on loopback needs allow_private_network: true"
            )
        if "*" in self.clients and len(self.clients) > 1:
            yield Problem(("clients",), "write ['*'] alone, or the ids of the clients")
        if asked is not None:
            yield from self._introspection_problems(asked, keyless=keyless)

    def _introspection_problems(self, asked: Introspection, *, keyless: bool) -> Iterator[Problem]:
        if keyless and asked.asks_about_jwts:
            yield Problem(
                ("introspection", "tokens"),
                "a JWT is asked about once it is verified; write opaque, or where its keys are",
            )
        if asked.asks_about_opaque and TokenType.ACCESS_TOKEN not in self.token_types:
            yield Problem(
                ("introspection", "tokens"), "an opaque token needs access_token in token_types"
            )


class ClientSettings(_KeySources):
    """A client and what it authenticates with."""

    id: Identifier = Field(description="Its `client_id`.")
    auth: AuthMethod = Field(
        AuthMethod.CLIENT_SECRET_BASIC, description="The one method that it authenticates by."
    )
    secrets: tuple[SecretDigest, ...] = Field(
        (),
        max_length=2,
        description="`sha256:` and 64 hex digits each; two while a secret is being replaced.",
    )
    algorithms: tuple[Algorithm, ...] = Field(
        ("ES256",), min_length=1, description="Signature algorithms of its assertions."
    )
    assertion_audience: Literal["issuer", "endpoint"] = Field(
        "issuer",
        description="`aud` of its assertions: our issuer; `endpoint` also allows the URL"
        " of the token endpoint.",
    )
    targets: tuple[Name, ...] = Field((), description="The targets that this client is.")
    known_as: tuple[KnownAs, ...] = Field((), description="What other issuers call it.")
    default_target: Name | None = Field(
        None, description="Target of a request that names none; absent: invalid_target."
    )
    grant_types: tuple[Literal["token-exchange"], ...] = Field(
        ("token-exchange",), description="What it may use; an empty list: nothing."
    )
    limits: ClientLimits = Field(
        ClientLimits(), description="How much it may ask, where that is not as for all clients."
    )

    def problems(self) -> Iterator[Problem]:
        """Yield what does not fit the method of authentication."""
        yield from super().problems()
        sources = self._key_sources()
        if self.auth in _SECRET_METHODS:
            if not self.secrets:
                yield Problem(
                    ("secrets",),
                    f"is required for {self.auth}; `broker clients new-secret` makes one",
                )
            for name in sources:
                yield Problem((name,), "is only for auth: private_key_jwt; remove it")
        else:
            if self.secrets:
                yield Problem(("secrets",), f"is not for {self.auth}; remove it")
            if len(sources) != 1:
                has = " and ".join(sources) or "none"
                yield Problem(
                    (), f"write exactly one of jwks_uri, jwks and jwks_file (there is {has})"
                )


class TargetSettings(Target):
    """A resource server that tokens are issued for."""

    model_config = Section.model_config

    name: Name = Field(description="Its logical name, for the parameter `audience`; unique.")
    resources: tuple[Resource, ...] = Field(
        (), description="URIs for the parameter `resource` (RFC 8707), matched exactly."
    )
    audience: Name = Field("", description="The `aud` of its tokens; absent: the name.")
    scopes: frozenset[Name] = Field(frozenset(), description="The scopes that it knows.")
    max_lifetime: Annotated[Duration, within(_SECOND, MAX_LIFETIME)] = Field(
        timedelta(minutes=5), description="Longest life of its tokens."
    )
    format: Literal["jwt", "reference"] = Field(
        "jwt",
        description="What its tokens are: `jwt`, which it verifies itself, or `reference`, opaque"
        " and resolved by introspection.",
    )
    algorithm: SigningAlgorithm = Field(
        "ES256", description="What its tokens are signed with; absent: keys.algorithm."
    )
    claims: tuple[Name, ...] = Field(
        (), description="Claims of the subject token that its tokens carry on."
    )

    @field_validator("audience", mode="before")
    @classmethod
    def _default_audience(cls, value: object, info: ValidationInfo) -> object:
        return info.data.get("name", "-") if value == "" else value

    @field_validator("claims")
    @classmethod
    def _refuse_reserved(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        refuse(
            Problem((index,), "the broker writes this claim itself; remove it")
            for index, claim in enumerate(value)
            if claim in RESERVED_CLAIMS
        )
        return value
