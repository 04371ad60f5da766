"""Requests that cannot be led astray: bounded in size and time, to an address that was checked.

What holds when ``fetch``, ``ask``, ``submit`` or ``download`` returns (ATK-SSRF-01, ATK-SSRF-03,
RFC 8725 §3.10):

(1) the URL is https, without credentials or fragment; plain http only to loopback, if allowed;
(2) every address of its host is public, or private ones are allowed for it;
(3) the connection went to one of exactly those addresses: no second look-up could change them;
(4) the certificate is that of the URL's host, TLS is 1.2 or newer (RFC 8414 §6.1);
(5) the answer is 200, not encoded, JSON by its media type, and within the bounds; one to
    ``submit`` may have another status, no redirect, and then what is not JSON is not read. One to
    ``download`` may be anything, and is read if it is 200 or JSON, within the caller's bound.

Nothing is followed, retried elsewhere or read from the environment (no proxies). A connection is
for one request, and what is asked with credentials is sent only over one that (3) and (4) hold for.
"""

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, quote_plus, urlencode, urlsplit

import httpx

from broker.issuers.address import is_loopback, is_public

MAX_DOCUMENT: Final = 256 * 1024  # bytes
MAX_ANSWER: Final = 16 * 1024  # bytes, of what is asked about one token
MAX_REPLY: Final = 64 * 1024  # bytes, of what is answered to a form
FETCH_DEADLINE: Final = 3.0  # seconds, for everything from the look-up of the name on
_CONNECT_DEADLINE: Final = 1.0  # seconds an address: leaves time for the next one
_MAX_ADDRESSES: Final = 3

Resolve = Callable[[str, int], Awaitable[tuple[str, ...]]]


class FetchFault(StrEnum):
    """Why a document could not be had. Closed: a label of metrics and a field of logs."""

    URL_NOT_ALLOWED = "url_not_allowed"
    NAME_UNKNOWN = "name_unknown"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    TIMEOUT = "timeout"
    REDIRECT = "redirect"
    STATUS = "status"
    CONTENT_TYPE = "content_type"
    CONTENT_ENCODING = "content_encoding"
    TOO_LARGE = "too_large"
    FILE_UNREADABLE = "file_unreadable"
    NOT_A_KEY_SET = "not_a_key_set"
    NO_USABLE_KEY = "no_usable_key"
    NOT_METADATA = "not_metadata"
    ISSUER_MISMATCH = "issuer_mismatch"
    FOREIGN_JWKS_URI = "foreign_jwks_uri"
    FOREIGN_ENDPOINT = "foreign_endpoint"
    NOT_AN_ANSWER = "not_an_answer"
    NOT_ASKED = "not_asked"
    BUSY = "busy"


@dataclass(frozen=True, slots=True)
class Document:
    """What was fetched, and when its server says that was."""

    body: bytes
    date: datetime | None  # RFC 9110 §6.6.1; to the second, and None where it is not said


@dataclass(frozen=True, slots=True)
class Reply:
    """What an endpoint answered to a form: an error as much as what was asked for."""

    status: int
    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    body: bytes = field(repr=False)  # JSON by its media type, or empty


@dataclass(frozen=True, slots=True)
class BasicCredentials:
    """What we authenticate with at somebody else's endpoint. RFC 6749 §2.3.1."""

    client_id: str
    client_secret: str = field(repr=False)

    @property
    def header(self) -> str:
        """The value of the Authorization header; a secret itself."""
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        return f"Basic {b64encode(pair.encode()).decode()}"


@dataclass(frozen=True, slots=True)
class _Message:
    """What is sent, but for where to, and how much is read of the answer."""

    method: str
    accept: str
    max_answer: int  # bytes
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    any_status: bool = False  # an error is an answer
    raw: bool = False  # whatever it is, and a redirect is an answer that nobody follows here


_GET: Final = _Message("GET", "application/json, application/jwk-set+json", MAX_DOCUMENT)


class FetchFailed(Exception):  # noqa: N818 — an outcome that the caller plans for
    """The document was not obtained; ``fault`` says why and nothing of the answer is kept."""

    def __init__(self, fault: FetchFault) -> None:
        super().__init__(fault.value)
        self.fault = fault


def build_tls(ca_file: Path | None = None) -> ssl.SSLContext:
    """Return a client's TLS settings; ``ca_file`` (PEM) adds trust anchors, never removes checks.

    Costly: one context serves any number of fetchers. Raises ``OSError`` for a bad ``ca_file``.
    """
    context = httpx.create_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context


async def resolve_name(host: str, port: int) -> tuple[str, ...]:
    """Return the addresses of a host, as the operating system orders them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class GuardedFetcher:
    """Fetches JSON from the hosts that the configuration names."""

    def __init__(
        self,
        tls: ssl.SSLContext,
        *,
        allow_private_network: bool = False,
        resolve: Resolve = resolve_name,
        deadline: float = FETCH_DEADLINE,
    ) -> None:
        """``allow_private_network``: also private addresses, and plain http on loopback."""
        self._tls = tls
        self._private = allow_private_network
        self._resolve = resolve
        self._deadline = deadline

    async def fetch(self, url: str) -> bytes:
        """Return the body of a JSON document.

        Raises ``FetchFailed``.
        """
        return (await self.fetch_document(url)).body

    async def fetch_document(self, url: str) -> Document:
        """Return a JSON document with its date, for whoever compares clocks.

        Raises ``FetchFailed``.
        """
        return await self._send(url, _GET)

    async def ask(self, url: str, form: Mapping[str, str], credentials: BasicCredentials) -> bytes:
        """Send a form by POST; return the JSON that is answered, of at most ``MAX_ANSWER``.

        Raises ``FetchFailed``.
        """
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": credentials.header,
        }
        body = urlencode(form).encode()
        asked = _Message("POST", "application/json", MAX_ANSWER, headers, body)
        return (await self._send(url, asked)).body

    async def submit(self, url: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send a form that is encoded already; return what is answered, whatever its status.

        Raises ``FetchFailed``, whose cause may hold what was sent: it is not for keeping.
        """
        submitted = _Message("POST", "application/json", MAX_REPLY, headers, body, any_status=True)
        return await self._exchange(url, submitted)

    async def download(self, url: str, headers: Mapping[str, str], *, most: int) -> Reply:
        """Return what is answered to a GET, whatever it is; of an answer that is 200 also its body.

        A redirect is not followed: to whoever does, the next address is a URL like this one.
        Raises ``FetchFailed``, whose cause may hold what was sent: it is not for keeping.
        """
        accept = headers.get("Accept", "*/*")
        return await self._exchange(url, _Message("GET", accept, most, headers, raw=True))

    async def _send(self, url: str, message: _Message) -> Document:
        return _document(await self._exchange(url, message))

    async def _exchange(self, url: str, message: _Message) -> Reply:
        parts = _checked_url(url, private=self._private)  # (1)
        try:
            async with asyncio.timeout(self._deadline):
                return await self._try_each(parts, message)
        except TimeoutError as error:
            raise FetchFailed(FetchFault.TIMEOUT) from error

    async def _try_each(self, parts: SplitResult, message: _Message) -> Reply:
        fault = FetchFault.UNREACHABLE
        for address in await self._addresses(parts):
            try:
                return await self._read(parts, address, message)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                # Nobody there, or not who it should be: the host may have another address.
                fault = _connect_fault(error)
            except httpx.TimeoutException as error:
                raise FetchFailed(FetchFault.TIMEOUT) from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise FetchFailed(FetchFault.UNREACHABLE) from error
        raise FetchFailed(fault)

    async def _addresses(self, parts: SplitResult) -> tuple[str, ...]:
        try:
            found = await self._resolve(parts.hostname or "", _port(parts))
        except (OSError, UnicodeError) as error:  # the latter for a label that is no DNS label
            raise FetchFailed(FetchFault.NAME_UNKNOWN) from error
        if not found:
            raise FetchFailed(FetchFault.NAME_UNKNOWN)
        # (2) All of them: a name with one bad address is a name that somebody plays with.
        allowed = all(self._private or is_public(address) for address in found)
        if parts.scheme == "http":
            allowed = allowed and all(is_loopback(address) for address in found)
        if not allowed:
            raise FetchFailed(FetchFault.ADDRESS_NOT_ALLOWED)
        return found[:_MAX_ADDRESSES]

    async def _read(self, parts: SplitResult, address: str, message: _Message) -> Reply:
        # (3) The URL names the address, so that the library has no name left to look up;
        # (4) the host is still what the certificate and the Host header are about.
        literal = f"[{address}]" if ":" in address else address
        url = f"{parts.scheme}://{literal}:{_port(parts)}{parts.path or '/'}"
        transport = httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False, retries=0)
        client = httpx.AsyncClient(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(self._deadline, connect=_CONNECT_DEADLINE),
        )
        async with (
            client,
            client.stream(
                message.method,
                f"{url}?{parts.query}" if parts.query else url,
                headers={
                    "Host": parts.netloc,
                    "Accept": message.accept,
                    "Accept-Encoding": "identity",
                    "User-Agent": "token-exchange-broker",
                    **message.headers,
                },
                content=message.body,
                extensions={"sni_hostname": parts.hostname},
            ) as response,
        ):
            if message.raw:
                _check_encoding(response)
            else:
                _check_head(response, any_status=message.any_status)
            readable = response.status_code == httpx.codes.OK or _is_json(response)
            body = await _bounded_body(response, message.max_answer) if readable else b""
            return Reply(response.status_code, dict(response.headers), body)


def _checked_url(url: str, *, private: bool) -> SplitResult:
    # ``urlsplit`` forgives what other readers do not (tabs, backslashes), so that goes first.
    if not url.isascii() or not url.isprintable() or any(char in url for char in ' \\"<>^`{|}'):
        raise FetchFailed(FetchFault.URL_NOT_ALLOWED)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise FetchFailed(FetchFault.URL_NOT_ALLOWED) from error
    allowed = parts.scheme == "https" or (parts.scheme == "http" and private)
    if not allowed or not parts.hostname or port == 0 or "@" in parts.netloc or "#" in url:
        raise FetchFailed(FetchFault.URL_NOT_ALLOWED)
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _connect_fault(error: BaseException | None) -> FetchFault:
    """Tell a certificate that is not right from a host that is not there."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return FetchFault.TLS
        error = error.__cause__ or error.__context__
    return FetchFault.UNREACHABLE


def _check_head(response: httpx.Response, *, any_status: bool) -> None:
    """(5) Before a byte of the body is read."""
    if response.is_redirect:
        raise FetchFailed(FetchFault.REDIRECT)
    good = response.status_code == httpx.codes.OK
    if not good and not any_status:
        raise FetchFailed(FetchFault.STATUS)
    if good and not _is_json(response):
        raise FetchFailed(FetchFault.CONTENT_TYPE)
    _check_encoding(response)


def _check_encoding(response: httpx.Response) -> None:
    # We asked for none, and so a small answer cannot unfold into a large one.
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise FetchFailed(FetchFault.CONTENT_ENCODING)


def _is_json(response: httpx.Response) -> bool:
    media_type: str = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


def _document(reply: Reply) -> Document:
    return Document(reply.body, _date(reply.headers))


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        date = parsedate_to_datetime(headers["date"])
        # What a cache has kept is as old as it says. RFC 9111 §5.1.
        age = int(headers.get("age", "0")[:9])
        return date + timedelta(seconds=age) if date.tzinfo is not None else None
    except (KeyError, ValueError, OverflowError):
        return None


async def _bounded_body(response: httpx.Response, most: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        # What the answer says of its own length is not asked: only what arrives counts.
        if len(body) > most:
            raise FetchFailed(FetchFault.TOO_LARGE)
    return bytes(body)
