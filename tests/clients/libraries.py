"""OAuth client libraries that nobody here wrote, each asked for an exchange in the same words.

Each is told the issuer, as in production an https URL, and finds the rest. What a deployment has in
front of the broker, a name and TLS for it, is stood in for where the library lets one choose how
its requests travel; nothing else of it is changed.
"""

import asyncio
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url
from joserfc.jwk import ECKey
from requests.adapters import HTTPAdapter

from tests.configuration import secret
from tests.jwts import BROKER_ISSUER, CLIENT_KEY, b64url, public_jwk
from tests.wire import GRANT_TYPE, Form

SOURCES = Path(__file__).parent
CLIENTS = SOURCES.parents[1] / ".tools" / "oauth-clients"
NOT_RUN = "not run: {} is not in .tools/oauth-clients (make test fetches it)"
WITHIN = 30  # seconds for a program to answer: a slow machine starts one in two


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, and by which method. What it knows is right unless said otherwise."""

    id: str = "svc-a"
    method: str = "client_secret_basic"
    secret: str = ""

    def knows(self) -> dict[str, Any]:
        """What the library is told of it."""
        return {
            "id": self.id,
            "method": self.method,
            "secret": self.secret or secret(self.id),
            "key": private_jwk(),
        }


class Library(Protocol):
    """A client library, as far as a token exchange goes."""

    name: str

    def is_here(self) -> bool:
        """Whether this machine has it."""

    async def exchange(self, url: str, client: Client, form: Form) -> dict[str, Any]:
        """Ask the broker at ``url``; return its ``token`` or ``refusal`` as the library has it."""


def private_jwk() -> dict[str, Any]:
    """The key of the test configuration's clients that have one."""
    number = CLIENT_KEY.private_numbers().private_value
    return public_jwk(CLIENT_KEY, d=b64url(number.to_bytes(32, "big")))


class Loopback(HTTPAdapter):
    """Where requests to the issuer go in a test."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        request.url = request.url.replace(BROKER_ISSUER, self._url)
        return super().send(request, **options)


class Authlib:
    """Authlib's session over requests."""

    name = "authlib"

    def is_here(self) -> bool:
        return True

    async def exchange(self, url: str, client: Client, form: Form) -> dict[str, Any]:
        return await asyncio.to_thread(self._exchange, url, client, form)

    def _exchange(self, url: str, client: Client, form: Form) -> dict[str, Any]:
        key = ECKey.import_key(private_jwk())
        with OAuth2Session(
            client.id,
            key if client.method == "private_key_jwt" else client.knows()["secret"],
            token_endpoint_auth_method=client.method,
        ) as session:
            session.mount(BROKER_ISSUER, Loopback(url))
            document = session.get(
                get_well_known_url(BROKER_ISSUER, external=True), withhold_token=True
            )
            metadata = AuthorizationServerMetadata(document.json())
            metadata.validate()
            audience = self.assertion_audience(metadata)
            session.register_client_auth_method(PrivateKeyJWT(audience, alg="ES256"))
            parameters = dict(form) | {"grant_type": GRANT_TYPE}
            try:
                token = session.fetch_token(metadata["token_endpoint"], **parameters)
            except OAuthError as raised:
                refusal = {
                    "raised": type(raised).__name__,
                    "error": raised.error,
                    "error_description": raised.description,
                }
                return {"refusal": refusal}
            return {"token": dict(token)}

    def assertion_audience(self, metadata: AuthorizationServerMetadata) -> str | None:
        return metadata["issuer"]


class AuthlibByItself(Authlib):
    """Authlib that is not told for whom its assertions are: it takes the token endpoint."""

    name = "authlib-by-itself"

    def assertion_audience(self, metadata: AuthorizationServerMetadata) -> str | None:
        return None


@dataclass(frozen=True, slots=True)
class Program:
    """A library of another language, in a program of a few lines."""

    name: str
    source: str  # whose copy among the clients says what they were installed from
    command: tuple[str, ...]

    def is_here(self) -> bool:
        copy, source = CLIENTS / self.source, SOURCES / self.source
        current = copy.exists() and copy.read_bytes() == source.read_bytes()
        return current and shutil.which(self.command[0]) is not None

    async def exchange(self, url: str, client: Client, form: Form) -> dict[str, Any]:
        parameters = [list(pair) for pair in form if pair[0] != "grant_type"]
        asked = {"issuer": BROKER_ISSUER, "client": client.knows(), "parameters": parameters}
        return await self.ask(url, asked)

    async def ask(self, url: str, asked: dict[str, Any]) -> dict[str, Any]:
        """Run it once. Only standard input knows a secret."""
        process = await asyncio.create_subprocess_exec(
            *self.command,
            cwd=CLIENTS,  # where bare names of modules are looked for
            env=os.environ | {"BROKER_ISSUER": BROKER_ISSUER, "BROKER_URL": url},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            said, complained = await asyncio.wait_for(
                process.communicate(json.dumps(asked).encode()), WITHIN
            )
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        assert 0 == process.returncode, complained.decode()
        return json.loads(said)


def javascript(library: str, text: str) -> Program:
    """A module's text, run by Node."""
    loopback = (SOURCES / "loopback.mjs").as_uri()
    options = ("--import", loopback, "--input-type=module", "--eval", text)
    return Program(library, "package.json", ("node", *options))


AUTHLIB = Authlib()
AUTHLIB_BY_ITSELF = AuthlibByItself()
OAUTH4WEBAPI = javascript("oauth4webapi", (SOURCES / "oauth4webapi.mjs").read_text())
OPENID_CLIENT = javascript("openid-client", (SOURCES / "openid-client.mjs").read_text())
ZITADEL = Program("zitadel", "zitadel.go", (str(CLIENTS / "zitadel"),))
RESOURCE_SERVER = javascript(
    "oauth4webapi", (SOURCES / "oauth4webapi-resource-server.mjs").read_text()
)
