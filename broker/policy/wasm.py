"""The policy in this process, as WebAssembly compiled by OPA.

What holds when ``evaluate`` returns:

(1) the guest had this input, the bundle's data and nothing else: it has no clock, no network, no
    randomness and no memory of the call before, so the same input gets the same decision;
(2) it took no more of the processor than twice the deadline, and no more memory than
    ``guest.MAX_MEMORY``;
(3) what it answered is at most ``MAX_OUTPUT`` long and JSON, or it stands as ``UNREADABLE``.

An instance that failed is replaced by a fresh one before anybody asks again.
"""

from datetime import timedelta
from typing import Any, Final

import orjson
from opapywasm.errors import OpaWasmError
from wasmtime import WasmtimeError

from broker.domain import Evaluation
from broker.errors import ConfigurationError
from broker.policy.bundle import Bundle
from broker.policy.engine import (
    ENTRYPOINT,
    MAX_INPUT,
    UNREADABLE,
    PolicyUnavailable,
    count_fault,
)
from broker.policy.guest import (
    GuestFailed,
    OutputTooLarge,
    PolicyGuest,
    compile_module,
    read_metadata,
)
from broker.policy.ordinary import choose_guest
from broker.policy.watchdog import IDLE, Watchdog

DEADLINE: Final = timedelta(milliseconds=50)


class WasmEngine:
    """A ``PolicyEngine`` over one bundle. A decision never yields, so none overlaps another."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        deadline: timedelta = DEADLINE,
        entrypoint: str = ENTRYPOINT,
        guest: type[PolicyGuest] | None = None,
    ) -> None:
        """Raise ``ConfigurationError`` if the module or its data cannot be loaded.

        ``entrypoint`` is the question: whoever has two of them has two engines. ``guest`` is how
        the policy is called; by default what fits the wasmtime that is installed.
        """
        self._revision = bundle.revision
        self._data = bundle.data
        self._kind = choose_guest() if guest is None else guest
        try:
            self._module = compile_module(bundle.wasm)
            self._entrypoint = read_metadata(self._module)[0][entrypoint]
            self._guest: PolicyGuest | None = self._instantiate()
        except (OpaWasmError, KeyError) as error:
            raise ConfigurationError(
                f"policy.path: the policy cannot be loaded ({error})"
            ) from None
        self._deadline = deadline.total_seconds()
        self._watchdog = Watchdog(self._module.engine, self._deadline)
        self._armed = -1
        self._closed = False

    @property
    def revision(self) -> str:
        """The digest of the bundle."""
        return self._revision

    @property
    def available(self) -> bool:
        """Whether there is an instance to ask."""
        return self._guest is not None

    async def evaluate(self, input: bytes) -> Evaluation:  # noqa: A002 — the word of OPA
        """Return what the policy says; its output is None if it is undefined.

        Raises ``PolicyUnavailable`` if the guest trapped, ran too long, or could not be replaced.
        """
        return self.decide(input)

    def decide(self, input: bytes) -> Evaluation:  # noqa: A002 — the word of OPA
        """Return the same to who is no coroutine."""
        return Evaluation(self._revision, input, self._decide(input))

    def probe(self) -> None:
        """Return if an empty question is answered, whatever the answer; another thread may go on.

        Raises ``PolicyUnavailable``.
        """
        try:
            self.decide(b"{}")
        finally:
            # What it counts is the time of this thread, which need not be the one that decides.
            self._watchdog.stop()
            self._watchdog = Watchdog(self._module.engine, self._deadline)
            self._armed = -1

    async def aclose(self) -> None:
        """Stop the watchdog and give the memory back. Whoever asks afterwards is refused."""
        self.close()

    def close(self) -> None:
        """Do the same for who is no coroutine."""
        self._closed = True
        self._watchdog.stop()
        self._discard()

    def _decide(self, input: bytes) -> Any:  # noqa: A002, ANN401 — the word of OPA; a document
        if len(input) > MAX_INPUT:
            count_fault("wasm", "input")
            return None
        guest = self._guest or self._replace()
        watchdog = self._watchdog
        watchdog.start()
        if self._armed != watchdog.steps:
            self._armed = watchdog.steps
            guest.arm()
        watchdog.current = next(watchdog.numbers)
        try:
            answer = guest.decide(input)
        except GuestFailed as failed:
            count_fault("wasm", failed.cause)
            self._discard()
            self._replace()
            raise PolicyUnavailable(f"the policy failed: {failed.cause}") from failed
        except OutputTooLarge:
            count_fault("wasm", "output")
            return UNREADABLE
        finally:
            watchdog.current = IDLE
        return _read_result(answer)

    def _instantiate(self) -> PolicyGuest:
        return self._kind(self._module, self._data, self._entrypoint)

    def _replace(self) -> PolicyGuest:
        if self._closed:
            raise PolicyUnavailable("the policy engine is closed")
        try:
            guest = self._guest = self._instantiate()
        except (OpaWasmError, WasmtimeError) as error:
            count_fault("wasm", "instance")
            raise PolicyUnavailable("the policy could not be instantiated") from error
        self._armed = -1  # a new store, which no step of the epoch would end
        return guest

    def _discard(self) -> None:
        guest, self._guest = self._guest, None
        if guest is not None:
            guest.close()


def _read_result(answer: bytes) -> Any:  # noqa: ANN401 — a document of the policy's
    """Return the document of OPA's result set, ``[{"result": …}]``, or ``[]`` if undefined.

    OPA writes each member of an object once, so there are no duplicates to judge.
    """
    try:
        results = orjson.loads(answer)
    except orjson.JSONDecodeError:
        return UNREADABLE
    if results == []:
        return None
    match results:
        case [{"result": output}] if len(results[0]) == 1:
            return output
    return UNREADABLE
