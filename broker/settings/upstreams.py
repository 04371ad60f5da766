"""The token proxy: whose tokens it fetches and keeps, for whom, and where it listens."""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from broker.oauth import MAX_NAME
from broker.settings.problems import Path, Problem
from broker.settings.sections import Listen, Section
from broker.settings.values import (
    ConfigPath,
    Duration,
    HttpsUrl,
    Identifier,
    IssuerUrl,
    Name,
    is_loopback,
    within,
)

# What the proxy reads itself, and so is declared by nobody.
OWN_PARAMETERS: Final = frozenset(
    {
        *("grant_type", "scope", "audience", "resource", "client_id", "client_secret"),
        *("client_assertion", "client_assertion_type"),
    }
)


def _check_client(value: str) -> str:
    if not value or len(value) > MAX_NAME or not value.isprintable():
        raise ValueError("write the client id as the identity provider has it, or '*' alone")
    return value


def _check_parameter(value: str) -> str:
    if value in OWN_PARAMETERS:
        raise ValueError("is forwarded, or refused, whatever is written here; remove it")
    return value


def _check_redis_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not re.match(r"rediss?://[^/?#]", text) or not text.isprintable():
        raise ValueError("write a URL like rediss://:password@host:6379/0")
    return value


RedisUrl = Annotated[SecretStr, AfterValidator(_check_redis_url)]
# Not an identifier of ours: how ids look is the identity provider's to say.
UpstreamClient = Annotated[str, AfterValidator(_check_client)]


class Upstream(Section):
    """An identity provider whose client-credentials tokens are fetched once and kept."""

    name: Identifier = Field(
        description="Its part of the path `/proxy/{name}/token`, and a label in metrics."
    )
    token_endpoint: HttpsUrl | None = Field(None, description="URL of its token endpoint.")
    issuer: IssuerUrl | None = Field(
        None, description="Instead: find the token endpoint by this issuer's metadata (RFC 8414)."
    )
    ca_file: ConfigPath | None = Field(
        None, description="Further trust anchors (PEM) for asking it."
    )
    allow_private_network: bool = Field(
        default=False,
        description="Its host may be at a private or loopback address,"
        " and on loopback be reached by plain http.",
    )
    clients: tuple[UpstreamClient, ...] = Field(
        description="Ids of its clients that may ask here, exactly, or ['*'] alone."
    )
    parameters: tuple[Annotated[Name, AfterValidator(_check_parameter)], ...] = Field(
        (),
        description="Further parameters that are forwarded, beside `scope`, `audience` and"
        " `resource`; any other is refused.",
    )
    timeout: Annotated[Duration, within(timedelta(milliseconds=100), timedelta(seconds=10))] = (
        Field(timedelta(seconds=3), description="How long an answer may take, retries included.")
    )
    margin: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="Share of a token's life, but at least 15 s, in which it is renewed in the"
        " background while it is still served.",
    )

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with where it is asked, and for whom."""
        yield from super().problems()
        if (self.token_endpoint is None) == (self.issuer is None):
            yield Problem((), "write exactly one of token_endpoint and issuer")
        for key in ("token_endpoint", "issuer"):
            if (getattr(self, key) or "").startswith("http:") and not self.allow_private_network:
                text = "write https, or allow_private_network: true for http on loopback"
                yield Problem((key,), text)
        if "*" in self.clients and len(self.clients) > 1:
            yield Problem(("clients",), "write '*' alone, or client ids")


class SharedStore(Section):
    """A server of the Redis protocol where processes share tokens, encrypted."""

    url: RedisUrl = Field(
        description="`rediss://…`, or `redis://…` on loopback; perhaps with credentials."
    )
    key_file: ConfigPath = Field(
        description="File with 32 random bytes in base64, the same for all that share."
    )
    ca_file: ConfigPath | None = Field(
        None, description="Trust anchors (PEM) for the server; absent: the system's."
    )
    deadline: Annotated[Duration, within(timedelta(milliseconds=5), timedelta(seconds=1))] = Field(
        timedelta(milliseconds=50),
        description="How long the store may take; without an answer there is none.",
    )


class Proxy(Section):
    """The token proxy itself; what it fetches is listed under `upstreams`."""

    listen: Listen | None = Field(
        None, description="An address of its own; absent: the listener that clients reach."
    )
    mesh_terminates_tls: bool = Field(
        default=False,
        description="Says that what comes by plain http came by TLS up to this host: required"
        " where the proxy listens on more than loopback, for client secrets come in.",
    )
    memory: int = Field(
        64,
        ge=1,
        le=4096,
        description="MiB of tokens that one process keeps; the least recently used go first.",
    )
    store: SharedStore | None = Field(
        None, description="Where processes share tokens; absent: each has its own."
    )

    def problems(self) -> Iterator[Problem]:
        """Yield what would show the credentials of the store to the network."""
        yield from super().problems()
        url = "" if self.store is None else self.store.url.get_secret_value()
        host = urlsplit(url).hostname
        if url.startswith("redis:") and not is_loopback(host) and not self.mesh_terminates_tls:
            text = "write rediss: plain redis is only for loopback, or where a mesh terminates TLS"
            yield Problem(("store", "url"), text)


def proxy_problems(
    proxy: Proxy, listen: Listen, admin_port: int, upstreams: Sequence[Upstream]
) -> Iterator[Problem]:
    """Yield what would show secrets to the network, or make two upstreams one."""
    own = proxy.listen
    if own is not None and own.port in {listen.port, admin_port} - {0}:
        yield Problem(("proxy", "listen", "port"), "write another port than the other listeners'")
    where = own or listen
    if upstreams and not is_loopback(where.host) and not proxy.mesh_terminates_tls:
        yield Problem(
            ("proxy", "mesh_terminates_tls"),
            "write true if TLS ends at a mesh's sidecar or a proxy before the broker; otherwise"
            " client secrets cross the network in plain: write proxy.listen with host: 127.0.0.1",
        )
    first: dict[str, int] = {}
    for index, upstream in enumerate(upstreams):
        path: Path = ("upstreams", index, "name")
        if first.setdefault(upstream.name, index) != index:
            text = f"is the same as upstreams[{first[upstream.name]}].name; only one may have it"
            yield Problem(path, text)
