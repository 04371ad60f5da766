"""How an issuer is asked about its tokens. RFC 7662."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr

from broker.settings.problems import Problem
from broker.settings.sections import Section
from broker.settings.values import ConfigPath, Duration, HttpsUrl, TokenPrefix, within

MAX_ASK: Final = timedelta(seconds=3)  # as long as any fetch may take
MAX_KEPT: Final = timedelta(seconds=30)


class Introspection(Section):
    """Asking an issuer about its tokens, by its introspection endpoint (RFC 7662)."""

    endpoint: HttpsUrl = Field(description="URL of its introspection endpoint.")
    client_id: str = Field(
        min_length=1,
        max_length=1024,
        description="What this broker is called there; it authenticates by `client_secret_basic`.",
    )
    client_secret_file: ConfigPath | None = Field(
        None, description="File with its client secret there, readable by the broker alone."
    )
    client_secret: SecretStr | None = Field(
        None, description="The same from the environment, as `${NAME}`; never the secret itself."
    )
    ca_file: ConfigPath | None = Field(
        None, description="Further trust anchors (PEM) for asking it."
    )
    allow_private_network: bool = Field(
        default=False,
        description="Its host may be at a private or loopback address,"
        " and on loopback be reached by plain http.",
    )
    tokens: Literal["opaque", "jwt", "all"] = Field(
        "opaque",
        description="What is asked about: `opaque` access tokens, which are accepted in no other"
        " way; `jwt`, once they are verified; or `all` of both.",
    )
    prefix: TokenPrefix | None = Field(
        None,
        description="How each of its opaque tokens begins, exactly; absent: any opaque token is"
        " its, for one issuer at most.",
    )
    cache: Annotated[Duration, within(timedelta(), MAX_KEPT)] = Field(
        timedelta(seconds=1), description="How long an answer is believed; 0s: always ask."
    )
    deadline: Annotated[Duration, within(timedelta(milliseconds=50), MAX_ASK)] = Field(
        timedelta(seconds=1), description="How long an answer may take."
    )
    unreachable: Literal["refuse", "accept"] = Field(
        "refuse",
        description="What becomes of a JWT that was verified while there is no answer about it;"
        " an opaque token is always refused then.",
    )

    @property
    def asks_about_opaque(self) -> bool:
        """Whether its opaque tokens are accepted."""
        return self.tokens != "jwt"

    @property
    def asks_about_jwts(self) -> bool:
        """Whether a JWT that was verified is asked about."""
        return self.tokens != "opaque"

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong between address, secret, and what is asked about."""
        yield from super().problems()
        if self.endpoint.startswith("http:") and not self.allow_private_network:
            yield Problem(
                ("endpoint",), "write https, or allow_private_network: true for http on loopback"
            )
        if (self.client_secret_file is None) == (self.client_secret is None):
            yield Problem((), "write exactly one of client_secret_file and client_secret")
        if self.client_secret is not None and not self.client_secret.get_secret_value():
            yield Problem(("client_secret",), "is empty")
        if self.unreachable == "accept" and not self.asks_about_jwts:
            yield Problem(
                ("unreachable",),
                "accept is only for tokens: jwt or all; nothing else is known of an opaque token",
            )
        if self.prefix is not None and not self.asks_about_opaque:
            yield Problem(("prefix",), "is only for tokens: opaque or all; remove it")
