"""Where new policy bundles come from: a web server, or an OCI registry.

What comes is believed for its signature alone, which is checked before anything in it is read. So
the network can withhold a bundle and serve an old one; it cannot make one. Hosts, addresses, sizes
and times are bounded as for every other document that is fetched.

A registry is asked as the OCI distribution specification (1.1) has it: a manifest by its tag, then
the one layer by its digest. Where it wants a token, that is had from the server that it names, as
for ``docker pull``.
"""

import hashlib
import re
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlencode, urljoin

from broker.errors import ConfigurationError
from broker.issuers.fetch import FetchFailed, GuardedFetcher, Reply, build_tls
from broker.jose.errors import Malformed
from broker.jose.json import parse_json
from broker.policy.archive import MAX_ARCHIVE
from broker.settings import BundleSource

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"  # as ``opa`` and ``oras`` push it
_DEADLINE: Final = 30.0  # seconds, for one answer of at most ``MAX_ARCHIVE``
_MAX_MANIFEST: Final = 256 * 1024  # bytes
_MAX_TOKEN: Final = 16 * 1024  # bytes
_MAX_REDIRECTS: Final = 3  # of a layer, to where the registry keeps it
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE: Final = re.compile(r'([a-z_]+)="([^"\\]{0,1024})"')
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class SourceFailed(Exception):  # noqa: N818 — an outcome that the caller plans for
    """There is no bundle to be had now; the text says why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class NewBundle:
    """What a source has, and what it calls this state of it."""

    archive: bytes = field(repr=False)
    tag: str  # to be asked with the next time


class Source(Protocol):
    """Somewhere that bundles come from."""

    async def fetch(self, tag: str | None) -> NewBundle | None:
        """Return the bundle; None: it is what was called ``tag``. Raises ``SourceFailed``."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What we show: a token, or name and password; nothing prints it."""

    token: str | None = field(default=None, repr=False)
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def headers(self) -> Mapping[str, str]:
        """The header that shows them; a secret itself."""
        if self.token is not None:
            return {"Authorization": f"Bearer {self.token}"}
        return self.basic

    @property
    def basic(self) -> Mapping[str, str]:
        """The same of name and password only."""
        if self.username is None:
            return {}
        pair = f"{self.username}:{self.password}".encode()
        return {"Authorization": f"Basic {b64encode(pair).decode()}"}


def open_source(settings: BundleSource) -> Source:
    """Return what asks there. Raises ``ConfigurationError`` for a file that cannot be read."""
    where = "policy.source"
    token = _secret(settings.token_file, f"{where}.token_file")
    password = _secret(settings.password_file, f"{where}.password_file")
    credentials = Credentials(token, settings.username, password)
    try:
        tls = build_tls(settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"{where}.ca_file: {settings.ca_file} holds no certificates in PEM"
        ) from error
    fetcher = GuardedFetcher(
        tls, allow_private_network=settings.allow_private_network, deadline=_DEADLINE
    )
    if settings.repository is None:
        return WebSource(fetcher, settings.url, credentials)
    return Registry(fetcher, settings.url, settings.repository, settings.tag, credentials)


@dataclass(frozen=True, slots=True)
class WebSource:
    """A bundle under a URL. RFC 9110 §8.8.3: by its ETag it is fetched only when it changes."""

    fetcher: GuardedFetcher
    url: str
    credentials: Credentials

    async def fetch(self, tag: str | None) -> NewBundle | None:
        """Return the bundle; None: the server says that it is as before."""
        headers = dict(self.credentials.headers)
        if tag is not None and tag.startswith(("W/", '"')):
            headers["If-None-Match"] = tag
        reply = await _get(self.fetcher, self.url, headers, MAX_ARCHIVE)
        if reply.status == 304 and "If-None-Match" in headers:
            return None
        if reply.status != 200:
            raise SourceFailed(f"the server answered {reply.status}")
        # Without an ETag what it is called is what it is.
        named = reply.headers.get("etag") or hashlib.sha256(reply.body).hexdigest()
        return None if named == tag else NewBundle(reply.body, named)


@dataclass(frozen=True, slots=True)
class Registry:
    """A tag of a repository in an OCI registry."""

    fetcher: GuardedFetcher
    url: str
    repository: str
    tag: str
    credentials: Credentials

    async def fetch(self, tag: str | None) -> NewBundle | None:
        """Return the layer that the tag means now; None: its manifest is the one of before."""
        root = f"{self.url.rstrip('/')}/v2/{self.repository}"
        asked = {"Accept": MANIFEST, **self.credentials.headers}
        reply = await _get(self.fetcher, f"{root}/manifests/{self.tag}", asked, _MAX_MANIFEST)
        if reply.status == 401:
            asked = {"Accept": MANIFEST, **await self._authenticate(reply)}
            reply = await _get(self.fetcher, f"{root}/manifests/{self.tag}", asked, _MAX_MANIFEST)
        if reply.status != 200:
            raise SourceFailed(f"the registry answered {reply.status} for the manifest")
        named = _digest_of(reply.body)
        if named == tag:
            return None
        digest, size = _layer_of(reply)
        headers = {name: text for name, text in asked.items() if name == "Authorization"}
        content = await self._blob(f"{root}/blobs/{digest}", headers, size)
        if len(content) != size or _digest_of(content) != digest:
            raise SourceFailed("the layer is not what its manifest says")
        return NewBundle(content, named)

    async def _blob(self, url: str, headers: Mapping[str, str], size: int) -> bytes:
        for _ in range(_MAX_REDIRECTS):
            reply = await _get(self.fetcher, url, headers, size)
            if reply.status == 200:
                return reply.body
            if reply.status not in _REDIRECTS or "location" not in reply.headers:
                raise SourceFailed(f"the registry answered {reply.status} for the layer")
            # To wherever it is kept, as guarded as before, and without our credentials: what
            # comes is held against its digest.
            url, headers = urljoin(url, reply.headers["location"]), {}
        raise SourceFailed("the registry redirects without end")

    async def _authenticate(self, refused: Reply) -> Mapping[str, str]:
        """Return the header that the registry wants."""
        challenge = refused.headers.get("www-authenticate", "")
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "basic" and self.credentials.username is not None:
            return self.credentials.basic
        named = dict(_CHALLENGE.findall(rest))
        if scheme.lower() != "bearer" or "realm" not in named or self.credentials.token is not None:
            raise SourceFailed("the registry does not accept our credentials")
        query = {"scope": f"repository:{self.repository}:pull"}
        if "service" in named:
            query["service"] = named["service"]
        joint = "&" if "?" in named["realm"] else "?"
        url = f"{named['realm']}{joint}{urlencode(query)}"
        reply = await _get(self.fetcher, url, self.credentials.basic, _MAX_TOKEN)
        if reply.status != 200:
            raise SourceFailed(f"the registry's token server answered {reply.status}")
        try:
            document = parse_json(reply.body)
        except Malformed:
            document = None
        members = document if isinstance(document, dict) else {}
        token = members.get("token") or members.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise SourceFailed("the registry's token server gave no token")
        return {"Authorization": f"Bearer {token}"}


async def _get(fetcher: GuardedFetcher, url: str, headers: Mapping[str, str], most: int) -> Reply:
    try:
        return await fetcher.download(url, headers, most=most)
    except FetchFailed as failed:
        # Not as the cause: it may hold our credentials.
        raise SourceFailed(f"it cannot be fetched ({failed.fault.value})") from None


def _layer_of(reply: Reply) -> tuple[str, int]:
    """Return digest and size of the one layer."""
    try:
        manifest = parse_json(reply.body)
    except Malformed:
        raise SourceFailed("the manifest is not JSON") from None
    if not isinstance(manifest, dict) or manifest.get("mediaType", MANIFEST) != MANIFEST:
        raise SourceFailed("the tag means no OCI image manifest")
    match manifest.get("layers"):
        case [{"mediaType": media, "digest": str(digest), "size": int(size)}] if media == LAYER:
            if _DIGEST.fullmatch(digest) and 0 < size <= MAX_ARCHIVE:
                return digest, size
    raise SourceFailed(f"the manifest has not exactly one layer of {LAYER}, by SHA-256")


def _digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _secret(path: Path | None, where: str) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{where}: {path} cannot be read") from error
