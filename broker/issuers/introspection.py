"""Asking an issuer whether a token of its is active. RFC 7662.

What holds for what ``ask`` returns, however many ask (ATK-SSRF-01, ATK-SSRF-03):

(1) it was asked for as guarded as anything (``broker.issuers.fetch``), with our own credentials,
    within the deadline;
(2) it is a strict JSON object, and active only if its ``active`` is ``true`` and nothing like it;
(3) it is not older than ``cache``, counted from when it was asked for, unless the question was
    under way already;
(4) about one token the issuer is asked once at a time, and about ``UNDER_WAY`` at most;
(5) an issuer that has not answered five times in a row is left in peace for a second.

Whoever asks has authenticated: nobody else makes us send anything. A token is known here by its
SHA-256 alone, and ``exp`` is judged anew each time, so that no answer outlives the token.
Times are of the monotonic clock.
"""

import asyncio
import hashlib
import logging
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from broker.circuit import Circuit, State
from broker.errors import ConfigurationError
from broker.issuers.fetch import (
    BasicCredentials,
    FetchFailed,
    FetchFault,
    GuardedFetcher,
    Resolve,
    resolve_name,
)
from broker.issuers.sources import tls_for
from broker.jose.errors import Malformed
from broker.jose.json import parse_json
from broker.settings import Introspection
from broker.settings.secret_file import read_secret
from broker.telemetry import meter, tracer

UNDER_WAY: Final = 64  # questions to one issuer at a time; more wait, within their deadline
KEPT: Final = 4096  # answers of one issuer
# What says nothing about the token that was asked about. An answer that is merely wrong is not
# among them: whoever finds a token that provokes one must not be able to shut everybody out.
_SILENCE: Final = frozenset(
    {FetchFault.NAME_UNKNOWN, FetchFault.UNREACHABLE, FetchFault.TLS, FetchFault.TIMEOUT}
)

_log = logging.getLogger(__name__)
_questions = meter.create_counter(
    "broker.issuer.introspections",
    unit="1",
    description="Questions about tokens of an issuer, by source and outcome; kept: from memory.",
)
_durations = meter.create_histogram(
    "broker.issuer.introspection.duration",
    unit="s",
    description="How long an issuer took to answer about a token.",
)
_circuit = meter.create_gauge(
    "broker.issuer.introspection.circuit",
    description="0 the issuer is asked about tokens, 1 it is tried, 2 it is not.",
)


class NotAnswered(Exception):  # noqa: N818 — an outcome that the caller plans for
    """Nothing is known of the token: its issuer has not answered, or not with an answer."""

    def __init__(self, fault: FetchFault) -> None:
        super().__init__(fault.value)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class _Answer:
    asked_at: float
    claims: Mapping[str, Any] | None = field(repr=False)  # None: not active


class Introspector:
    """Asks one issuer about its tokens."""

    def __init__(
        self,
        name: str,
        settings: Introspection,
        fetcher: GuardedFetcher,
        credentials: BasicCredentials,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``name`` labels metrics and logs."""
        self.settings = settings
        self._name = name
        self._fetcher = fetcher
        self._credentials = credentials
        self._monotonic = monotonic
        self._life = settings.cache.total_seconds()
        self._deadline = settings.deadline.total_seconds()
        self._circuit = Circuit(monotonic, report=self._report)
        self._slots = asyncio.Semaphore(UNDER_WAY)
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()  # what was used last is last
        self._tasks: dict[bytes, asyncio.Task[_Answer | FetchFault]] = {}
        self._fault: FetchFault | None = None  # of the last question

    async def ask(self, unverified_token: str) -> Mapping[str, Any] | None:
        """Return what the issuer says of an active token; None if it is not active.

        Raises ``NotAnswered``.
        """
        digest = hashlib.sha256(unverified_token.encode()).digest()
        kept = self._answers.get(digest)
        if kept is not None and self._monotonic() - kept.asked_at < self._life:
            self._answers.move_to_end(digest)
            _questions.add(1, {"source": self._name, "outcome": "kept"})
            return kept.claims
        task = self._tasks.get(digest)
        if task is None:
            task = self._tasks[digest] = asyncio.create_task(
                self._attempt(digest, unverified_token)
            )
            task.add_done_callback(lambda _: self._tasks.pop(digest, None))
        # Not awaited itself: a caller that gives up does not end it for the others.
        await asyncio.wait({task})
        found = FetchFault.NOT_ASKED if task.cancelled() else task.result()
        if isinstance(found, FetchFault):
            raise NotAnswered(found)
        return found.claims

    async def aclose(self) -> None:
        """Give up what is under way."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _attempt(self, digest: bytes, token: str) -> _Answer | FetchFault:
        began = time.perf_counter()
        with tracer.start_as_current_span(
            "introspection", attributes={"broker.source": self._name}
        ):
            try:
                found: _Answer | FetchFault = await self._question(token)
            except FetchFailed as failed:
                found = failed.fault
        if isinstance(found, _Answer):
            self._keep(digest, found)
            outcome = "inactive" if found.claims is None else "active"
        else:
            outcome = found.value
        self._note(found if isinstance(found, FetchFault) else None)
        labels = {"source": self._name, "outcome": outcome}
        _questions.add(1, labels)
        _durations.record(time.perf_counter() - began, labels)
        return found

    async def _question(self, token: str) -> _Answer:
        """Ask, and tell the circuit whether there was anybody. Raises ``FetchFailed``."""
        asking = False
        try:
            async with asyncio.timeout(self._deadline), self._slots:
                if not self._circuit.admit():
                    raise FetchFailed(FetchFault.NOT_ASKED)
                asking, asked_at = True, self._monotonic()
                body = await self._fetcher.ask(
                    self.settings.endpoint,
                    {"token": token, "token_type_hint": "access_token"},
                    self._credentials,
                )
        except TimeoutError as error:
            if asking:
                self._circuit.failed()
            # Many questions at a time are no sign that nobody is there.
            raise FetchFailed(FetchFault.TIMEOUT if asking else FetchFault.BUSY) from error
        except FetchFailed as failed:
            if asking:
                silent = failed.fault in _SILENCE
                self._circuit.failed() if silent else self._circuit.succeeded()
            raise
        except asyncio.CancelledError:
            if asking:
                self._circuit.abandoned()
            raise
        self._circuit.succeeded()
        return _Answer(asked_at, _read(body))

    def _keep(self, digest: bytes, answer: _Answer) -> None:
        if not self._life:
            return
        self._answers[digest] = answer
        self._answers.move_to_end(digest)
        # Whoever floods it with tokens makes the issuer be asked again, and nothing else.
        if len(self._answers) > KEPT:
            self._answers.popitem(last=False)

    def _note(self, fault: FetchFault | None) -> None:
        """Log what has changed, not each of a thousand questions that fail alike."""
        if fault is not self._fault:
            self._fault = fault
            if fault is not None:
                _log.warning(
                    "an issuer does not answer about its tokens",
                    extra={"source": self._name, "fault": fault.value},
                )

    def _report(self, state: State) -> None:
        _circuit.set(state, {"source": self._name})


def build_introspector(
    name: str,
    settings: Introspection,
    *,
    tls: ssl.SSLContext,
    resolve: Resolve = resolve_name,
    monotonic: Callable[[], float] = time.monotonic,
) -> Introspector:
    """Return who asks the issuer that is called ``name``; nobody is asked yet.

    Raises ``ConfigurationError`` for a secret or a ``ca_file`` that cannot be used.
    """
    where = f"{name}: introspection"
    fetcher = GuardedFetcher(
        tls_for(where, settings.ca_file, tls),
        allow_private_network=settings.allow_private_network,
        resolve=resolve,
    )
    credentials = BasicCredentials(settings.client_id, load_client_secret(where, settings))
    return Introspector(name, settings, fetcher, credentials, monotonic=monotonic)


def load_client_secret(where: str, settings: Introspection) -> str:
    """Return what we authenticate with.

    Raises ``ConfigurationError``, which begins with ``where``.
    """
    if settings.client_secret is not None:
        return settings.client_secret.get_secret_value()
    if settings.client_secret_file is None:  # not possible: the settings have one of the two
        raise ConfigurationError(f"{where}: write client_secret_file")
    setting = f"{where}.client_secret_file"
    remedy = "write the client secret into it that the issuer gave you"
    secret = read_secret(settings.client_secret_file, setting=setting, remedy=remedy)
    try:
        return secret.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{setting}: is not text; {remedy}") from None


def _read(body: bytes) -> Mapping[str, Any] | None:
    """Return the claims of an active token, or None.

    Raises ``FetchFailed`` if this is no answer.
    """
    try:
        answer = parse_json(body)
    except Malformed as error:
        raise FetchFailed(FetchFault.NOT_AN_ANSWER) from error
    if not isinstance(answer, dict):
        raise FetchFailed(FetchFault.NOT_AN_ANSWER)
    # ``is``: neither 1 nor "true" is the boolean that RFC 7662 §2.2 asks for.
    return answer if answer.get("active") is True else None
