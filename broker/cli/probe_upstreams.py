"""What the outside says of the token proxy: its upstreams, and the store that processes share."""

import ssl
from typing import Final

from broker.app.proxying import build_shared_store
from broker.cli.findings import Finding, bad, good, warning
from broker.errors import ConfigurationError
from broker.issuers.discovery import fetch_token_endpoint
from broker.issuers.fetch import FetchFailed, FetchFault, GuardedFetcher
from broker.issuers.sources import tls_for
from broker.proxy.answer import Failure, UpstreamToken, read_reply
from broker.proxy.store import StoreUnavailable
from broker.settings import Settings, Upstream

_ASKED: Final = b"grant_type=client_credentials"  # and by nobody: there is a refusal to be had
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
_NOWHERE: Final = b"doctor"  # where no token stands
_MENDS: Final = {
    FetchFault.ADDRESS_NOT_ALLOWED: "set allow_private_network: true if that is meant",
    FetchFault.FOREIGN_ENDPOINT: "write token_endpoint: it is on another host than the issuer",
    FetchFault.ISSUER_MISMATCH: "write the issuer exactly as its metadata has it",
    FetchFault.TLS: "write the anchor of its certificate as ca_file",
}


async def probe_upstream(upstream: Upstream, tls: ssl.SSLContext) -> list[Finding]:
    """Return whether an upstream answers as a token endpoint does."""
    subject = f"token endpoint of {upstream.name}"
    try:
        fetcher = GuardedFetcher(
            tls_for(f"upstreams: {upstream.name}", upstream.ca_file, tls),
            allow_private_network=upstream.allow_private_network,
            deadline=upstream.timeout.total_seconds(),
        )
        endpoint = upstream.token_endpoint or await fetch_token_endpoint(
            upstream.issuer or "", fetcher
        )
        answer = read_reply(await fetcher.submit(endpoint, _ASKED, _FORM))
    except FetchFailed as failed:
        mend = _MENDS.get(failed.fault, "check that it runs, and the way there")
        return [bad(subject, f"does not answer ({failed.fault.value})", mend)]
    except ConfigurationError as error:
        return [bad(subject, str(error), "correct ca_file")]
    if isinstance(answer, UpstreamToken):
        return [warning(subject, f"{endpoint} gives a token to anybody", "tell who runs it")]
    if isinstance(answer, Failure):
        text = f"{endpoint} does not answer as RFC 6749 §5.2 has it"
        return [warning(subject, text, "check that this is its token endpoint")]
    return [good(subject, f"{endpoint} answers, and refuses who does not authenticate")]


async def probe_store(settings: Settings) -> list[Finding]:
    """Return whether the shared store answers; nothing where there is none."""
    if settings.proxy.store is None:
        return []
    store = build_shared_store(settings.proxy.store)
    try:
        await store.find(_NOWHERE)
    except StoreUnavailable as failed:
        # The proxy does without it, so it is not bad.
        text = f"the shared store does not answer in time ({failed})"
        return [
            warning("proxy store", text, "check that it runs, its URL, and proxy.store.deadline")
        ]
    finally:
        await store.aclose()
    return [good("proxy store", "answers")]
