"""A demo identity provider: it gives anybody a token of the user that they name. Loopback only.

GET /.well-known/openid-configuration    its metadata, RFC 8414 §2
GET /jwks                                its public keys, RFC 7517 §5
GET /alice?audience=checkout&scope=…     a token of the user alice, as text
"""

import ssl
import threading
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import orjson

from broker.jose.sign import generate_signing_key, sign_compact

SCOPES: Final = "orders.read orders.write inventory.read profile"
LIFETIME: Final = 3600  # seconds
_PARAMETERS: Final = frozenset({"audience", "scope", "lifetime", "max_delegation_depth"})
_READ_TIMEOUT: Final = 10  # seconds


def _utc_now() -> datetime:
    return datetime.now(UTC)


class DemoIssuer:
    """An issuer with one ES256 key, made when it is made and gone with it.

    ``issuer`` is its identifier where others reach it by another address than its own.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        issuer: str | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._key = generate_signing_key("ES256")
        self._clock = clock
        # Bound at once, so that a port which is taken is known here, as ``OSError``.
        self._server = _Server((host, port), _Handler, bind_and_activate=True)
        self._server.demo_issuer = self
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        scheme = "http" if tls is None else "https"
        self.issuer = issuer or f"{scheme}://{host}:{self.port}"
        self._thread: threading.Thread | None = None

    @property
    def jwks_uri(self) -> str:
        """Where its keys are."""
        return f"{self.issuer}/jwks"

    @property
    def jwks(self) -> dict[str, Any]:
        """Its public keys."""
        return {"keys": [self._key.public_jwk]}

    @property
    def metadata(self) -> dict[str, Any]:
        """What discovery finds."""
        return {
            "issuer": self.issuer,
            "jwks_uri": self.jwks_uri,
            "id_token_signing_alg_values_supported": [self._key.algorithm],
            "response_types_supported": ["none"],
            "subject_types_supported": ["public"],
        }

    def issue(
        self,
        subject: str,
        *,
        audience: str = "checkout",
        scope: str = SCOPES,
        lifetime: int = LIFETIME,
        **claims: Any,  # noqa: ANN401 — whatever a demo wants the token to say
    ) -> str:
        """Return a signed token of ``subject``; ``lifetime`` in seconds."""
        now = int(self._clock().timestamp())
        payload = {
            "iss": self.issuer,
            "sub": subject,
            "aud": audience,
            "scope": scope,
            "iat": now,
            "exp": now + lifetime,
            "jti": str(uuid.uuid4()),
            **claims,
        }
        header = {"alg": self._key.algorithm, "kid": self._key.kid, "typ": "at+jwt"}
        return sign_compact(self._key, header, orjson.dumps(payload))

    def write_jwks(self, path: Path) -> None:
        """Write its public keys to a file, for a broker that reads them from there."""
        path.write_bytes(orjson.dumps(self.jwks))

    def start(self) -> None:
        """Serve from a thread, until ``stop``."""
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.05},
            name="demo-issuer",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and close the socket."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()

    def serve_forever(self) -> None:
        """Serve from this thread."""
        self._server.serve_forever(poll_interval=0.5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    demo_issuer: DemoIssuer

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a connection that broke is its peer's affair."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "demo-issuer"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = _READ_TIMEOUT

    def do_GET(self) -> None:
        issuer = self.server.demo_issuer
        url = urlsplit(self.path)
        match url.path:
            case "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server":
                self._answer(orjson.dumps(issuer.metadata), "application/json", "max-age=300")
            case "/jwks":
                self._answer(orjson.dumps(issuer.jwks), "application/jwk-set+json", "max-age=300")
            case path if path[1:].isidentifier():
                self._answer_token(path[1:], dict(parse_qsl(url.query)))
            case _:
                self._answer(b"not found\n", "text/plain", status=HTTPStatus.NOT_FOUND)

    def _answer_token(self, subject: str, parameters: dict[str, str]) -> None:
        numbers = ("lifetime", "max_delegation_depth")
        known = parameters.keys() <= _PARAMETERS
        if not known or not all(parameters.get(name, "0").isdecimal() for name in numbers):
            text = f"allowed: {', '.join(sorted(_PARAMETERS))}; numbers are whole\n"
            self._answer(text.encode(), "text/plain", status=HTTPStatus.BAD_REQUEST)
            return
        limit = parameters.get("max_delegation_depth")
        token = self.server.demo_issuer.issue(
            subject,
            audience=parameters.get("audience", "checkout"),
            scope=parameters.get("scope", SCOPES),
            lifetime=int(parameters.get("lifetime", LIFETIME)),
            **({} if limit is None else {"max_delegation_depth": int(limit)}),
        )
        self._answer(token.encode(), "text/plain", "no-store")

    def _answer(
        self, body: bytes, media_type: str, cache: str = "no-store", status: int = HTTPStatus.OK
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", cache)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — http.server's name
        """Say nothing: the terminal belongs to the show."""
