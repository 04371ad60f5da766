"""How much anyone may ask: the section ``limits``, and what a client has of its own."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field

from broker.settings.problems import Problem
from broker.settings.sections import Rate, Section
from broker.settings.upstreams import RedisUrl
from broker.settings.values import ConfigPath, Duration, is_loopback, within

_SECOND: Final = timedelta(seconds=1)


class Quota(Section):
    """What one party may ask; what is absent is not bounded."""

    rate: Rate | None = Field(None, description="How many in how long, evenly, like `500/1s`.")
    burst: int | None = Field(
        None, ge=1, le=1_000_000, description="How many at once after a pause; absent: as `rate`."
    )
    concurrent: int | None = Field(
        None, ge=1, le=100_000, description="How many at the same time, in one process."
    )
    daily: int | None = Field(
        None, ge=1, le=10**9, description="How many from midnight to midnight, UTC."
    )

    def problems(self) -> Iterator[Problem]:
        """Yield a burst of no rate."""
        if self.burst is not None and self.rate is None:
            yield Problem(("burst",), "is part of a rate; write rate beside it")


class ClientLimits(Section):
    """What one client may ask, instead of what all may."""

    client: Quota | None = Field(None, description="In all; absent: `limits.client`.")
    client_target: Quota | None = Field(
        None, description="For each target; absent: `limits.client_target`."
    )


class LimitStore(Section):
    """A server of the Redis protocol in which processes count together."""

    url: RedisUrl = Field(
        description="`rediss://…`, or `redis://…` on loopback; perhaps with credentials."
    )
    ca_file: ConfigPath | None = Field(
        None, description="Trust anchors (PEM) for the server; absent: the system's."
    )
    deadline: Annotated[Duration, within(timedelta(milliseconds=5), _SECOND)] = Field(
        timedelta(milliseconds=50),
        description="How long it may take; without an answer each process counts for itself.",
    )

    def problems(self) -> Iterator[Problem]:
        """Yield a store beyond loopback that is spoken to in plain."""
        url = self.url.get_secret_value()
        if url.startswith("redis:") and not is_loopback(urlsplit(url).hostname):
            yield Problem(("url",), "write rediss: plain redis is only for loopback")


class Limits(Section):
    """How much anyone may ask. Without `store` each process counts for itself."""

    authentication_failures: Rate = Field(
        Rate(count=20, per=timedelta(minutes=1)),
        description="Failed authentications of one client from one address, then 429;"
        " ten times as many over all clients from one address.",
    )
    introspections: Rate = Field(
        Rate(count=1000, per=_SECOND),
        description="Introspections of one client by one process, then 429.",
    )
    source: Rate = Field(
        Rate(count=5000, per=_SECOND),
        description="Requests of one address to one process, before anything is judged, then 429."
        " Behind a load balancer write trusted_proxies, or it is that one address.",
    )
    client: Quota = Field(
        Quota(concurrent=256),
        description="Exchanges of each client, then 429.",
    )
    client_target: Quota = Field(
        Quota(), description="Exchanges of each client for each target, then 429."
    )
    waiting: int = Field(
        1024,
        ge=8,
        le=4000,
        description="Exchanges that wait for their turn in one process; beyond, requests are"
        " answered 503 before they are read.",
    )
    store: LimitStore | None = Field(
        None,
        description="Where the rates and days of clients are counted for all processes together.",
    )
