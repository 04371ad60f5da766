"""The policy in an OPA server, asked over HTTP.

What holds when ``evaluate`` returns (drill 5, CVE-2025-46569):

(1) the path is fixed at the start: nothing of a request is ever in the URL;
(2) the server answered 200 with JSON within the deadline, which counts connecting as well, and
    within ``MAX_ANSWER``; no redirect was followed and no proxy of the environment used;
(3) an answer without ``result`` is an undefined decision, never an empty one;
(4) the server is not older than 1.4.0.

Which policy decided is what the server says: the revision of its bundle, from the manifest that
``broker policy build`` writes. A server that was given a folder has no revision, and then this
says ``unversioned``: what the broker has in its own ``policy.path`` may be another policy, so its
digest would be a guess, and an audit trail holds none.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import aiohttp
import orjson
from opa_client.opa_async import AsyncOpaClient

from broker.circuit import Circuit, State
from broker.domain import Evaluation
from broker.policy.engine import (
    ENTRYPOINT,
    MAX_INPUT,
    MAX_OUTPUT,
    UNREADABLE,
    PolicyUnavailable,
    count_fault,
)
from broker.telemetry import meter

DEADLINE: Final = timedelta(milliseconds=50)
UNVERSIONED: Final = "unversioned"
MAX_ANSWER: Final = 1024 * 1024  # bytes; beyond ``MAX_OUTPUT`` only to know what the server is
_OLDEST: Final = (1, 4, 0)
_PROVED_FOR: Final = 5.0  # seconds that an answer proves the server to be there
_CONNECTIONS: Final = 128  # more decisions at a time wait for one, within their deadline
_MAX_NAME: Final = 256  # characters of a revision or decision id

_gauge = meter.create_gauge(
    "broker.policy.circuit", description="0 the policy server is asked, 1 it is tried, 2 it is not."
)


class OpaEngine:
    """A ``PolicyEngine`` over a server. ``url`` is its root: https, or http on loopback."""

    def __init__(
        self,
        url: str,
        *,
        deadline: timedelta = DEADLINE,
        entrypoint: str = ENTRYPOINT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = _Client(url, deadline.total_seconds())
        self._question = f"/data/{entrypoint}?provenance=true"
        # Of the package, not of the decision: it is there even if nothing is decided without an
        # input.
        self._probed = f"/data/{entrypoint.rpartition('/')[0]}?provenance=true"
        # One server has one gauge, and the engine that exchanges ask says how it is.
        report = _gauge.set if entrypoint == ENTRYPOINT else lambda _: None
        self._circuit = Circuit(monotonic, report=report)
        self._monotonic = monotonic
        self._revision = UNVERSIONED
        self._proved_at: float | None = None  # None: it has not answered yet
        self._probe: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def revision(self) -> str:
        """What the server last said; each ``Evaluation`` has that of its own answer."""
        return self._revision

    @property
    def available(self) -> bool:
        """Whether the server answers, and has a policy for the entrypoint.

        If it has not answered for a while it is asked again in the background, so a broker to
        which nobody sends requests becomes ready by itself, and stops being so.
        """
        proved = self._proved_at
        if not self._closed and (proved is None or self._monotonic() - proved > _PROVED_FOR):
            self._start_probe()
        return proved is not None and self._circuit.state is State.CLOSED and not self._closed

    async def evaluate(self, input: bytes) -> Evaluation:  # noqa: A002 — the word of OPA
        """Return what the server's policy says; its output is None if it is undefined.

        Raises ``PolicyUnavailable`` if the server did not answer sensibly within the deadline,
        or has failed so often that it is not asked.
        """
        if len(input) > MAX_INPUT:
            count_fault("opa", "input")
            return Evaluation(self._revision, input, None)
        body, answer = await self._ask(self._question, input)
        if len(body) > MAX_OUTPUT:
            count_fault("opa", "output")
        output = UNREADABLE if len(body) > MAX_OUTPUT else answer.get("result")
        # Nothing was awaited since the answer was read, so the revision is that of this one.
        return Evaluation(self._revision, input, output, _name(answer.get("decision_id")))

    async def aclose(self) -> None:
        """Close every connection. Whoever asks afterwards is refused."""
        self._closed = True
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
        await self._client.close_connection()

    async def _ask(self, path: str, input: bytes) -> tuple[bytes, Mapping[str, Any]]:  # noqa: A002 — the word of OPA
        """Return the server's answer, as sent and as read; tell the circuit how it went."""
        if self._closed:
            raise PolicyUnavailable("the policy engine is closed")
        if not self._circuit.admit():
            count_fault("opa", "circuit")
            raise PolicyUnavailable("the policy server is not asked: it has failed repeatedly")
        learnt = False
        try:
            status, kind, body = await self._client.ask(path, b'{"input":' + input + b"}")
            answer = _read(kind, body)
            # An error that OPA itself reports, as of a conflict in the policy, is about this
            # input: whoever can provoke it must not be able to shut everybody out.
            if status != 200 and "code" not in answer:
                raise PolicyUnavailable("the policy server answered with an error")
            learnt = True
            self._circuit.succeeded()
        except (PolicyUnavailable, OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
            learnt = True
            self._circuit.failed()
            count_fault("opa", _cause(error))
            if isinstance(error, PolicyUnavailable):
                raise
            raise PolicyUnavailable(f"the policy server did not answer: {_cause(error)}") from error
        finally:
            if not learnt:
                self._circuit.abandoned()
        if status != 200:
            count_fault("opa", "policy")
            raise PolicyUnavailable("the policy failed at the server")
        self._revision = _read_revision(answer.get("provenance"))
        self._proved_at = self._monotonic()
        return body, answer

    def _start_probe(self) -> None:
        if self._probe is None or self._probe.done():
            with suppress(RuntimeError):  # no loop runs, so there is nobody to ask with
                self._probe = asyncio.get_running_loop().create_task(self._prove())

    async def _prove(self) -> None:
        with suppress(PolicyUnavailable):
            _, answer = await self._ask(self._probed, b"{}")
            if answer.get("result") is None:
                self._proved_at = None  # it is there, and has no policy for us


class _Client(AsyncOpaClient):  # type: ignore[misc] # the library ships no annotations
    """The library's client, with answers that are bounded and requests that are not parsed twice.

    Its own ``query_rule`` takes an object where we have JSON already, reads however much comes,
    and follows redirects.
    """

    def __init__(self, url: str, deadline: float) -> None:
        super().__init__(ssl=url.startswith("https:"), timeout=deadline, retries=0)
        self.root_url = f"{url.rstrip('/')}/{self.version}"
        self._deadline = deadline
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        """Return status, media type and body of an answer, all within the deadline."""
        async with asyncio.timeout(self._deadline):
            if self._session is None:
                await self._init_session()
            try:
                return await self._post(path, body)
            except aiohttp.ServerDisconnectedError:
                # A kept connection that the server closed just now. Asking has no effect there,
                # so asking twice is safe.
                return await self._post(path, body)

    async def _post(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        async with self._request(
            "POST",
            self.root_url + path,
            data=body,
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
            allow_redirects=False,
        ) as response:
            read = bytearray()
            async for chunk in response.content.iter_any():
                read += chunk
                if len(read) > MAX_ANSWER:
                    raise ValueError("too large")
            return response.status, response.content_type, bytes(read)

    async def _init_session(self) -> None:
        """Open a pool that keeps connections, and neither cookies nor anybody else's settings."""
        self._connector = aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=60)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(total=self._deadline),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )


def _read(content_type: str, body: bytes) -> Mapping[str, Any]:
    if content_type != "application/json":
        raise ValueError("not JSON")
    answer = orjson.loads(body)
    if not isinstance(answer, dict):
        raise PolicyUnavailable("the policy server answered with no object")
    provenance = answer.get("provenance")
    version = provenance.get("version") if isinstance(provenance, dict) else None
    if isinstance(version, str) and _parse_version(version) < _OLDEST:
        raise PolicyUnavailable("the policy server is older than 1.4.0")
    return answer


def _parse_version(version: str) -> tuple[int, ...]:
    numbers = version.partition("-")[0].split(".")[:3]
    # A build that does not say what it is, is not known to be old.
    return tuple(map(int, numbers)) if all(map(str.isdecimal, numbers)) else _OLDEST


def _read_revision(provenance: object) -> str:
    """Return the revision of the one bundle, or of each by its name; or that there is none."""
    bundles = provenance.get("bundles") if isinstance(provenance, dict) else None
    if not isinstance(bundles, dict) or not bundles:
        return UNVERSIONED
    revisions = {
        name: each.get("revision") if isinstance(each, dict) else None
        for name, each in bundles.items()
    }
    if not all(isinstance(each, str) and each for each in revisions.values()):
        return UNVERSIONED
    if len(revisions) == 1:
        return _name(next(iter(revisions.values()))) or UNVERSIONED
    return _name(",".join(f"{k}={v}" for k, v in sorted(revisions.items()))) or UNVERSIONED


def _name(value: object) -> str | None:
    """Return a name that the server gave something, if it is fit for an audit row."""
    fit = isinstance(value, str) and 0 < len(value) <= _MAX_NAME and value.isprintable()
    return value if fit and isinstance(value, str) else None


def _cause(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "late"
    if isinstance(error, PolicyUnavailable):
        return "answer"
    return "connection" if isinstance(error, OSError | aiohttp.ClientError) else "answer"
