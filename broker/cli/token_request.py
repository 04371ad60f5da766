"""A token exchange as a client makes it, at any server. RFC 8693 §2.1, RFC 6749 §2.3, RFC 7523.

(1) the endpoint is given, or found by the issuer's metadata (RFC 8414 §3);
(2) the client authenticates by the one method that its credentials are for;
(3) nothing is followed: a redirect would repeat the form, tokens and all, at another place.
"""

import base64
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus, urlsplit

import httpx
import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from broker.jose.sign import SigningKey, load_signing_key, sign_compact
from broker.oauth import CLIENT_ASSERTION_TYPE_JWT_BEARER, AuthMethod
from broker.settings.values import is_loopback

ASSERTION_LIFETIME: Final = timedelta(seconds=60)
_METADATA: Final = ("oauth-authorization-server", "openid-configuration")
_MAX_ANSWER: Final = 1024 * 1024  # bytes
_MAX_DIGITS: Final = 10
_BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class CannotAsk(Exception):  # noqa: N818 — an outcome: there is no answer to show
    """The exchange could not be asked for, or what came back is no answer; says what to do."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(text)
        self.text = text
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """What the client authenticates with: a secret, a key, or nothing (a public client)."""

    client_id: str | None = None
    secret: str | None = field(default=None, repr=False)
    method: AuthMethod | None = None  # None: without authentication
    key: SigningKey | None = None
    key_id: str | None = None  # absent: the thumbprint of the key
    audience: str | None = None  # of assertions


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said; nothing but the status where it is busy and explains nothing."""

    status: int
    body: dict[str, Any] = field(repr=False)
    request_id: str | None
    milliseconds: float
    retry_after: float | None = None  # seconds

    @property
    def is_refusal(self) -> bool:
        """Whether it is an OAuth error. RFC 6749 §5.2."""
        return "error" in self.body

    @property
    def is_busy(self) -> bool:
        """Whether the same may succeed later. RFC 6585 §4, RFC 9110 §15.6.4."""
        return self.status in _BUSY


@dataclass(frozen=True, slots=True)
class _Reply:
    url: str
    status: int
    headers: httpx.Headers = field(repr=False)
    content: bytes = field(repr=False)
    seconds: float


def load_private_key(path: Path) -> SigningKey:
    """Return the key of a PEM file: P-256, Ed25519 or RSA. Raises ``CannotAsk``."""
    try:
        native = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise CannotAsk(f"{path}: cannot be read ({error.strerror})", "name another file") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CannotAsk(
            f"{path}: is no unencrypted private key in PEM",
            "make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        ) from None
    algorithm = {
        ec.EllipticCurvePrivateKey: "ES256",
        ed25519.Ed25519PrivateKey: "Ed25519",
        rsa.RSAPrivateKey: "RS256",
    }
    name = next((alg for kind, alg in algorithm.items() if isinstance(native, kind)), "")
    try:
        der = native.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return load_signing_key(der, name)
    except ValueError:
        raise CannotAsk(
            f"{path}: is not a P-256, Ed25519 or RSA key of 2048 bits",
            "make one with: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256",
        ) from None


async def discover_token_endpoint(client: httpx.AsyncClient, issuer: str) -> str:
    """Return the token endpoint from the issuer's metadata. RFC 8414 §3. Raises ``CannotAsk``."""
    tried = []
    for url in _metadata_urls(issuer):
        tried.append(url)
        reply = await _send(client, client.build_request("GET", url))
        if reply.status != HTTPStatus.OK:
            continue
        metadata = _json_object(reply)
        # RFC 8414 §3.3: else one issuer could speak for another.
        if metadata.get("issuer") != issuer:
            raise CannotAsk(
                f"{url} speaks for another issuer than {issuer}",
                f"give --issuer exactly as it says: {metadata.get('issuer')}",
            )
        endpoint = metadata.get("token_endpoint")
        if isinstance(endpoint, str):
            return endpoint
    raise CannotAsk(
        f"there is no metadata with a token_endpoint at {' or '.join(tried)}",
        "name the endpoint itself with --token-endpoint",
    )


async def ask(
    client: httpx.AsyncClient,
    endpoint: str,
    form: list[tuple[str, str]],
    credentials: ClientCredentials,
) -> Answer:
    """Return the server's answer to the form, whatever it is. Raises ``CannotAsk`` if none.

    A load balancer that has no server to pass the form to answers with a page of its own: that is
    an answer too, one that is busy.
    """
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    more, authorization = authenticate_form(credentials, endpoint, datetime.now(UTC))
    if authorization is not None:
        headers["Authorization"] = authorization
    body = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in form + more)
    request = client.build_request("POST", endpoint, content=body.encode(), headers=headers)
    reply = await _send(client, request)
    answer = Answer(
        status=reply.status,
        body=_json_object(reply),
        request_id=reply.headers.get("x-request-id"),
        milliseconds=reply.seconds * 1000,
        retry_after=_retry_after(reply.headers.get("retry-after"), time.time()),
    )
    if answer.is_refusal or answer.is_busy:
        return answer
    if not isinstance(answer.body.get("access_token"), str):
        raise CannotAsk(
            f"the answer ({answer.status}) has neither access_token nor error (RFC 8693 §2.2)",
            "check that --token-endpoint is a token endpoint",
        )
    return answer


def _retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that the field asks for: a number, or a date. RFC 9110 §10.2.3."""
    if value is None:
        return None
    if value.isascii() and value.isdigit() and len(value) < _MAX_DIGITS:
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, OverflowError):
        return None


def authenticate_form(
    credentials: ClientCredentials, endpoint: str, now: datetime
) -> tuple[list[tuple[str, str]], str | None]:
    """Return what authentication adds to the form, and the ``Authorization`` header if any."""
    client_id = credentials.client_id or ""
    match credentials.method:
        case AuthMethod.CLIENT_SECRET_BASIC:
            # RFC 6749 §2.3.1: each half is form-encoded before they are joined.
            halves = (quote_plus(client_id), quote_plus(credentials.secret or ""))
            return [], f"Basic {base64.b64encode(':'.join(halves).encode()).decode()}"
        case AuthMethod.CLIENT_SECRET_POST:
            return [("client_id", client_id), ("client_secret", credentials.secret or "")], None
        case AuthMethod.PRIVATE_KEY_JWT:
            return [
                ("client_id", client_id),
                ("client_assertion_type", CLIENT_ASSERTION_TYPE_JWT_BEARER),
                ("client_assertion", _assertion(credentials, endpoint, now)),
            ], None
        case None:
            return ([("client_id", client_id)] if client_id else []), None


def _assertion(credentials: ClientCredentials, endpoint: str, now: datetime) -> str:
    """Return a client assertion. RFC 7523 §3."""
    key = credentials.key
    if key is None:
        raise CannotAsk("private_key_jwt needs a key", "name it with --private-key-file")
    issued = int(now.timestamp())
    claims = {
        "iss": credentials.client_id,
        "sub": credentials.client_id,
        "aud": credentials.audience or endpoint,
        "iat": issued,
        "exp": issued + int(ASSERTION_LIFETIME.total_seconds()),
        "jti": secrets.token_urlsafe(16),
    }
    header = {
        "alg": key.algorithm,
        "kid": credentials.key_id or key.kid,
        "typ": "client-authentication+jwt",
    }
    return sign_compact(key, header, orjson.dumps(claims))


def check_transport(url: str, *, allow_http: bool) -> None:
    """Raise ``CannotAsk`` where tokens and secrets would travel readable by others."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise CannotAsk("this is no URL of a server", "write it with https:// and a host")
    if parts.scheme == "http" and not is_loopback(parts.hostname) and not allow_http:
        raise CannotAsk(
            f"{url} would carry tokens and secrets unencrypted",
            "use https, or --allow-http where that is what you want",
        )


def _metadata_urls(issuer: str) -> list[str]:
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    inserted = [f"{origin}/.well-known/{name}{path}" for name in _METADATA]
    # OpenID Connect Discovery §4 appends where RFC 8414 inserts.
    return [*inserted, f"{origin}{path}/.well-known/openid-configuration"] if path else inserted


async def _send(client: httpx.AsyncClient, request: httpx.Request) -> _Reply:
    host = request.url.host
    started = time.perf_counter()
    content = b""
    try:
        response = await client.send(request, stream=True, follow_redirects=False)
        try:
            async for part in response.aiter_bytes():
                content += part
                if len(content) > _MAX_ANSWER:
                    raise CannotAsk(f"{host} answered with more than 1 MiB", "check the URL")
        finally:
            await response.aclose()
    except httpx.TimeoutException:
        raise CannotAsk(f"{host} did not answer in time", "try again, or use --timeout") from None
    except httpx.ConnectError as error:
        raise _unreachable(request.url, error) from None
    except httpx.HTTPError:
        raise CannotAsk(f"the connection to {host} broke", "try again") from None
    seconds = time.perf_counter() - started
    return _Reply(str(request.url), response.status_code, response.headers, content, seconds)


def _unreachable(url: httpx.URL, error: Exception) -> CannotAsk:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return CannotAsk(
            f"the certificate of {url.host} is not trusted here",
            "name the file with its certificate authority: --ca-file",
        )
    return CannotAsk(
        f"nothing answers at {url.scheme}://{url.netloc.decode()}",
        "check host and port, and that the server runs",
    )


def _json_object(reply: _Reply) -> dict[str, Any]:
    if 300 <= reply.status < 400:
        raise CannotAsk(
            f"{reply.url} redirects, and tokens do not follow",
            "name the place that it redirects to",
        )
    try:
        body = orjson.loads(reply.content)
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict):
        return body
    if reply.status in _BUSY:
        return {}
    raise CannotAsk(
        f"{reply.url} answered {reply.status}, and not with a JSON object",
        "check that the URL is a token endpoint",
    )
