"""One PKCS#11 token as this process uses it: one session, in one thread, reopened when it is lost.

The library is told by its wrapper that one thread uses it (``C_Initialize`` without locks), so
there is one thread, whatever is asked of it. What a process can sign is then what the token does
one after the other; more processes sign more. Everything here blocks, but never the event loop.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pkcs11

from broker.errors import ConfigurationError
from broker.keys.provider import ProviderUnavailable
from broker.settings.secret_file import read_secret

if TYPE_CHECKING:
    from pkcs11._pkcs11 import lib as Library  # noqa: N812 — what ``pkcs11.lib`` returns

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

# From asking to the signature. A network HSM answers in 1 to 10 ms.
DEADLINE: Final = timedelta(seconds=2)
# Two tokens of one library are still one library, and it has been told of one thread.
_LIBRARY: Final = RLock()


@dataclass(frozen=True, slots=True)
class TokenAddress:
    """Which token, and what opens it."""

    module: Path
    label: str
    pin_file: Path


@dataclass(frozen=True, slots=True)
class Session:
    """An open session, and the private keys that it has found so far: handles end with it."""

    native: pkcs11.Session
    found: dict[bytes, Any] = field(default_factory=dict)


class Token:
    """A token and its one session."""

    def __init__(self, address: TokenAddress, *, deadline: timedelta = DEADLINE) -> None:
        """Read the PIN and load the library; the token itself is asked for later.

        Raises ``ConfigurationError``.
        """
        self._address = address
        self._pin = read_secret(
            address.pin_file, setting="keys.pkcs11.pin_file", remedy="write the user PIN into it"
        ).decode("utf-8", errors="replace")
        self._deadline = deadline.total_seconds()
        self._session: Session | None = None
        self._pin_refused = False
        self._thread: int | None = None
        self._worker = ThreadPoolExecutor(1, "pkcs11", initializer=self._note_thread)
        self._library = self._load()

    def __repr__(self) -> str:
        return f"Token({self._address.label!r})"

    @property
    def executor(self) -> Executor:
        """The one thread; what runs there may ask the token without waiting for itself."""
        return self._worker

    @property
    def deadline(self) -> float:
        """How long anybody waits for the token, in seconds."""
        return self._deadline

    def run(self, work: Callable[[Session], _T]) -> _T:
        """Return what ``work`` returns with an open session. Blocks.

        Raises ``ProviderUnavailable`` if the token does not answer within the deadline, or not
        rightly. ``work`` is repeated once with a new session, so it must bear that.
        """
        if get_ident() == self._thread:
            return self._attempt(work)
        waiting = self._worker.submit(self._attempt, work)
        try:
            return waiting.result(self._deadline)
        except TimeoutError:
            waiting.cancel()
            raise ProviderUnavailable("the PKCS#11 token does not answer in time") from None

    def check(self) -> None:
        """Return if the token is there and takes the PIN; for the start of a process.

        Raises ``ConfigurationError`` for what will not mend by itself, or ``ProviderUnavailable``.
        """
        self.run(lambda _: None)

    def close(self) -> None:
        """Log out of the token, and end the thread."""
        self._worker.submit(self._forget)
        self._worker.shutdown(wait=False)

    def _note_thread(self) -> None:
        self._thread = get_ident()

    def _load(self) -> "Library":
        try:
            with _LIBRARY:
                return pkcs11.lib(str(self._address.module))
        except pkcs11.PKCS11Error as error:
            raise ConfigurationError(
                f"keys.pkcs11.module: {self._address.module} cannot be loaded as a PKCS#11 library"
            ) from error

    def _attempt(self, work: Callable[[Session], _T]) -> _T:
        for last in (False, True):
            try:
                with _LIBRARY:
                    return work(self._open())
            except pkcs11.PKCS11Error as error:
                # Whatever it was, it may be the session: handles end with it, also on a token
                # that was unplugged, failed over or restarted.
                self._forget()
                if last:
                    self._restart()
                    raise ProviderUnavailable(
                        f"the PKCS#11 token answers {type(error).__name__}"
                    ) from error
        raise AssertionError("not possible: the second attempt returns or raises")

    def _open(self) -> Session:
        if self._session is not None:
            return self._session
        if self._pin_refused:
            # Tokens lock themselves after a few wrong ones: it is asked once in a process.
            raise ConfigurationError("keys.pkcs11.pin_file: the token has refused the PIN")
        token = self._find()
        try:
            self._session = Session(token.open(rw=True, user_pin=self._pin))
        except pkcs11.UserAlreadyLoggedIn:  # another session of this process has done so
            self._session = Session(token.open(rw=True))
        except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange, pkcs11.PinLocked):
            self._pin_refused = True
            raise ConfigurationError("keys.pkcs11.pin_file: the token refuses the PIN") from None
        return self._session

    def _find(self) -> pkcs11.Token:
        label = self._address.label
        for last in (False, True):
            try:
                return self._library.get_token(token_label=label)
            except pkcs11.NoSuchToken as error:
                if last:
                    raise ProviderUnavailable(
                        f"there is no PKCS#11 token labelled {label}"
                    ) from error
                self._restart()  # the list of tokens is the one of when the library began
            except pkcs11.MultipleTokensReturned:
                raise ConfigurationError(
                    f"keys.pkcs11.token_label: there is more than one token labelled {label}"
                ) from None
        raise AssertionError("not possible: the second attempt returns or raises")

    def _forget(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                with _LIBRARY:
                    session.native.close()
            except pkcs11.PKCS11Error:
                _log.info("a PKCS#11 session was lost", extra={"token": self._address.label})

    def _restart(self) -> None:
        """Have the library begin anew: many find their HSM again only so."""
        try:
            with _LIBRARY:
                self._library.reinitialize()
        except pkcs11.PKCS11Error:
            _log.warning("the PKCS#11 library cannot be restarted")
