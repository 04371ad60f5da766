"""What the outside says of the keys that are fetched: those of issuers, and of clients by URL."""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from broker.cli.findings import Finding, bad, good, warning
from broker.cli.inspect_keys import Party, PartyKeys, judge_keys
from broker.issuers.discovery import fetch_jwks_uri, metadata_urls
from broker.issuers.fetch import Document, FetchFailed, FetchFault, GuardedFetcher, build_tls
from broker.settings import TrustedIssuer

# A server says its time to the second, and it takes a moment to arrive.
NOTABLE_SKEW: Final = timedelta(seconds=5)

_PRIVATE: Final = (
    "give its host a public address, or say allow_private_network: true if that is meant"
)
_HTTPS: Final = (
    "write https, without credentials or fragment; http only on loopback, and only with"
    " allow_private_network: true"
)
_FAULTS: Final = {
    FetchFault.URL_NOT_ALLOWED: ("its URL is not fetched", _HTTPS),
    FetchFault.NAME_UNKNOWN: ("its host has no address", "check the name, and the resolver here"),
    FetchFault.ADDRESS_NOT_ALLOWED: ("its host is at a private address", _PRIVATE),
    FetchFault.UNREACHABLE: (
        "nothing answers there",
        "check host and port, that it runs, and that a firewall lets this machine through",
    ),
    FetchFault.TLS: (
        "its certificate is not trusted here",
        "name its certificate authority with ca_file, or have the certificate renewed",
    ),
    FetchFault.TIMEOUT: (
        "it does not answer in 3 s",
        "ask its operator; the broker waits no longer",
    ),
    FetchFault.REDIRECT: ("it redirects, and keys do not follow", "write the URL that it leads to"),
    FetchFault.STATUS: ("it answers with an error", "open the URL yourself; it must answer 200"),
    FetchFault.CONTENT_TYPE: (
        "what it answers is not JSON by its media type",
        "have it served as application/json or application/jwk-set+json",
    ),
    FetchFault.CONTENT_ENCODING: (
        "it answers compressed, though asked not to",
        "switch compression off for this URL",
    ),
    FetchFault.TOO_LARGE: ("it answers with more than 256 KiB", "leave only current keys in it"),
    FetchFault.NOT_METADATA: (
        "its metadata names no jwks_uri",
        "write jwks_uri instead of discovery: true",
    ),
    FetchFault.ISSUER_MISMATCH: (
        "its metadata speaks for another issuer",
        "write the issuer exactly as the metadata says it, to the slash at the end",
    ),
    FetchFault.FOREIGN_JWKS_URI: (
        "its metadata places the keys on another host",
        "write jwks_uri instead of discovery: true, if that host is right",
    ),
}


@dataclass(frozen=True, slots=True)
class FetchedKeys:
    """What was found out about one party."""

    findings: list[Finding]
    keys: PartyKeys | None


async def probe_party(party: Party, tls: ssl.SSLContext) -> FetchedKeys:
    """Return what is to be said of the keys of one party, fetched as the broker would."""
    settings = party.settings
    try:
        own = tls if settings.ca_file is None else build_tls(settings.ca_file)
    except (OSError, ValueError):
        return FetchedKeys([], None)  # said by the inspection
    fetcher = GuardedFetcher(own, allow_private_network=settings.allow_private_network)
    where = settings.jwks_uri or ""
    try:
        if party.discover is not None:
            where = metadata_urls(party.discover)[0]
            where = await fetch_jwks_uri(party.discover, fetcher)
        document = await fetcher.fetch_document(where)
    except FetchFailed as failed:
        text, remedy = _FAULTS.get(failed.fault, (failed.fault.value, "ask its operator"))
        return FetchedKeys([bad(party.subject, f"{where}: {text}", remedy)], None)
    now = datetime.now(UTC)
    findings, keys = judge_keys(party, document.body)
    return FetchedKeys([*findings, *_clock(party, document, now)], keys)


def _clock(party: Party, document: Document, now: datetime) -> Iterator[Finding]:
    settings = party.settings
    if document.date is None or not isinstance(settings, TrustedIssuer):
        return
    yield judge_skew(f"clock of issuer {party.name}", document.date - now, allowed=settings.leeway)


def judge_skew(subject: str, skew: timedelta, *, allowed: timedelta) -> Finding:
    """Return how far another clock is from ours; positive: it is ahead."""
    seconds = abs(skew.total_seconds())
    if seconds <= NOTABLE_SKEW.total_seconds():
        return good(subject, "agrees with this machine's")
    side = "ahead of" if skew > timedelta() else "behind"
    text = f"is {seconds:.0f} s {side} this machine's"
    remedy = "synchronise both by NTP, this machine's first"
    if abs(skew) > allowed:
        beyond = f"{text}, more than the {allowed.total_seconds():.0f} s allowed"
        return bad(subject, beyond, remedy)
    return warning(subject, text, remedy)
