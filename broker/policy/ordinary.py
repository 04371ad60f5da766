"""The same instance by the public calls of wasmtime alone, for versions that nobody has tried.

``broker.policy.guest`` reaches into wasmtime's own names and calls it unchecked. That is sound for
the versions that it was tested with, and with another one it might read what is not there. So with
another one this is used: several times slower, with the same answers, the same bounds and the same
way to fail.
"""

import logging
from importlib.metadata import version
from typing import Final

from opapywasm.abi import OpaAbi, OpaAbiSpec
from opapywasm.data import DataManager
from opapywasm.errors import OpaMemoryError, OpaWasmError
from opapywasm.runtime import WasmtimeRuntimeFactory
from wasmtime import Trap, TrapCode, WasmtimeError

from broker.policy.engine import MAX_OUTPUT
from broker.policy.guest import (
    MAX_DATA,
    TESTED,
    Guest,
    GuestFailed,
    OutputTooLarge,
    PolicyGuest,
    memory_codec,
)

_log = logging.getLogger(__name__)
_NUL: Final = 0


class OrdinaryGuest:
    """An instance with its data. One call at a time."""

    def __init__(self, module: WasmtimeRuntimeFactory, data: bytes, entrypoint: int) -> None:
        self._runtime = module.create_runtime()
        self._abi = OpaAbi(self._runtime, OpaAbiSpec())
        self._codec = memory_codec(self._abi)
        self._data = DataManager(self._abi, self._codec, max_data_bytes=MAX_DATA)
        self._data.load_data(data)
        self._entrypoint = entrypoint

    @property
    def size(self) -> int:
        """How much memory it has, in bytes."""
        return self._abi.memory_len()

    def arm(self) -> None:
        """Let the next step of the epoch, and no earlier one, end what runs then."""
        self._runtime.set_epoch_deadline(1)

    def decide(self, input: bytes) -> bytes:  # noqa: A002 — the word of OPA
        """Return OPA's result set for ``input``, as JSON.

        Raises ``GuestFailed``, after which this instance is of no more use, or
        ``OutputTooLarge``.
        """
        try:
            self._data.reset_heap_to_checkpoint()
            address = self._codec.write_bytes(input)
            heap = self._abi.opa_heap_ptr_get()
            result = self._abi.opa_eval(
                self._entrypoint, self._data.data_addr, address, len(input), heap
            )
        except Trap as trap:
            late = trap.trap_code is TrapCode.INTERRUPT
            raise GuestFailed("late" if late else "trap") from trap
        except (OpaWasmError, WasmtimeError) as error:
            raise GuestFailed("memory" if isinstance(error, OpaMemoryError) else "error") from error
        return self._read(result)

    def close(self) -> None:
        """Give its memory back."""
        self._runtime.close()

    def _read(self, address: int) -> bytes:
        """Return the text at ``address``; never a byte beyond the memory or the bound."""
        left = self._abi.memory_len() - address
        if address <= 0 or left <= 0:
            raise GuestFailed("address")
        text = bytes(self._abi.memory_read(address, address + min(left, MAX_OUTPUT + 1)))
        end = text.find(_NUL)
        if end >= 0:
            return text[:end]
        if left <= MAX_OUTPUT:
            raise GuestFailed("address")
        raise OutputTooLarge


def choose_guest(wasmtime: str | None = None) -> type[PolicyGuest]:
    """Return how a policy is called with this version of wasmtime; the one that is installed."""
    found = version("wasmtime") if wasmtime is None else wasmtime
    if found in TESTED:
        return Guest
    _log.warning(
        "this version of wasmtime is called the slow way, for it was not tested",
        extra={"wasmtime": found, "tested": sorted(TESTED)},
    )
    return OrdinaryGuest
