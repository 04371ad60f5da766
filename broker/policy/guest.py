"""One instance of a compiled policy: loaded once, then one guest call for each decision.

``opa-py-wasm`` compiles and instantiates the module, checks its ABI and loads the data. Its own
way to evaluate makes five guest calls, each through wasmtime's conversion of arguments, which is
most of its time. Here the input is written at the heap base and ``opa_eval`` (ABI 1.2) is called
once, unchecked, with an argument buffer that is made once. Unchecked is safe because the ABI check
has seen that ``opa_eval`` takes seven ``i32`` and returns one, and every address that the guest
returns is held against the size of its memory before it is read.

What is used of wasmtime is not all public, so this is for the versions in ``TESTED`` alone; with
another one ``broker.policy.ordinary`` does the same in the ordinary way.

An instance that failed is in no known state: it is never called again.
"""

import ctypes
from typing import Any, Final, Protocol

from opapywasm.abi import OpaAbi, OpaAbiSpec
from opapywasm.data import DataManager
from opapywasm.errors import OpaWasmError
from opapywasm.memory import MemoryCodec
from opapywasm.runtime import WasmtimeRuntimeFactory
from wasmtime import Trap, TrapCode, WasmtimeError, _ffi, _func

from broker.policy.engine import MAX_OUTPUT

TESTED: Final = frozenset({"46.0.1"})  # of wasmtime: the tests hold both ways against each other
MAX_DATA: Final = 8 * 1024 * 1024  # bytes of JSON
MAX_MEMORY: Final = 128 * 1024 * 1024  # bytes that an instance may grow to, data included
_PAGE: Final = 64 * 1024
_ABI: Final = OpaAbiSpec()
_NUL: Final = b"\0"
_USUAL_OUTPUT: Final = 4096  # bytes; copied before it is known how long the answer is
_ARGUMENTS: Final = 7


class GuestFailed(Exception):  # noqa: N818 — the guest's state, not an error of ours
    """The instance trapped or answered nonsense, and must not be called again."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


class OutputTooLarge(Exception):  # noqa: N818 — a property of the decision
    """The decision is longer than ``MAX_OUTPUT``; the instance is well."""


class PolicyGuest(Protocol):
    """An instance of a policy with its data. One call at a time."""

    def __init__(self, module: WasmtimeRuntimeFactory, data: bytes, entrypoint: int) -> None:
        """Raise ``OpaWasmError`` if the data cannot be loaded."""

    @property
    def size(self) -> int:
        """How much memory it has, in bytes."""

    def arm(self) -> None:
        """Let the next step of the epoch, and no earlier one, end what runs then."""

    def decide(self, input: bytes) -> bytes:  # noqa: A002 — the word of OPA
        """Return OPA's result set for ``input``, as JSON.

        Raises ``GuestFailed``, after which this instance is of no more use, or
        ``OutputTooLarge``.
        """

    def close(self) -> None:
        """Give its memory back."""


def compile_module(wasm: bytes) -> WasmtimeRuntimeFactory:
    """Return what makes instances of this module. Raises ``OpaWasmError``."""
    return WasmtimeRuntimeFactory(wasm, max_memory_pages=MAX_MEMORY // _PAGE)


def read_metadata(module: WasmtimeRuntimeFactory) -> tuple[dict[str, int], dict[str, int]]:
    """Return the entrypoints of a module and the built-ins that it needs of its host, by number.

    Raises ``OpaWasmError`` if it is no policy of an ABI that is known here.
    """
    runtime = module.create_runtime()
    try:
        codec = memory_codec(OpaAbi(runtime, _ABI))
        return codec.decode_entrypoints(), codec.decode_builtins()
    except (Trap, WasmtimeError) as error:
        raise OpaWasmError("it traps when asked what it needs") from error
    finally:
        runtime.close()


class Guest:
    """An instance with its data. One call at a time."""

    def __init__(self, module: WasmtimeRuntimeFactory, data: bytes, entrypoint: int) -> None:
        runtime = module.create_runtime()
        abi = OpaAbi(runtime, _ABI)
        loader = DataManager(abi, memory_codec(abi), max_data_bytes=MAX_DATA)
        loader.load_data(data)
        self._runtime = runtime
        self._heap: int = loader.data_heap_ptr
        # What a call needs, looked up once. The context is alive as long as the runtime is.
        self._context = runtime.store._context()  # noqa: SLF001 — wasmtime has no public one
        self._memory = ctypes.byref(runtime.memory._memory)  # noqa: SLF001 — likewise
        self._eval = ctypes.byref(runtime.get_func("opa_eval")._func)  # noqa: SLF001 — likewise
        self._arguments = (_ffi.wasmtime_val_raw_t * _ARGUMENTS)()
        self._trap = ctypes.POINTER(_ffi.wasm_trap_t)()  # null until it fails, and then it ends
        self._trap_at = ctypes.byref(self._trap)
        self._fixed = (0, entrypoint, loader.data_addr)
        self._size = 0
        self._base = 0
        self._look()

    @property
    def size(self) -> int:
        """How much memory it has, in bytes."""
        return self._size

    def arm(self) -> None:
        """Let the next step of the epoch, and no earlier one, end what runs then."""
        self._runtime.set_epoch_deadline(1)

    def decide(self, input: bytes) -> bytes:  # noqa: A002 — the word of OPA
        """Return OPA's result set for ``input``, as JSON.

        Raises ``GuestFailed``, after which this instance is of no more use, or
        ``OutputTooLarge``.
        """
        heap = self._heap
        end = (heap + len(input) + 7) & ~7
        if end > self._size:
            self._grow(end)
        context, arguments = self._context, self._arguments
        ctypes.memmove(self._base + heap, input, len(input))
        # opa_eval(reserved, entrypoint, data, input, input_len, heap, format 0: JSON). It starts
        # its own heap behind the input, so nothing of the call before is left.
        for index, value in enumerate((*self._fixed, heap, len(input), end, 0)):
            arguments[index].i32 = value
        error = _ffi.wasmtime_func_call_unchecked(
            context, self._eval, arguments, _ARGUMENTS, self._trap_at
        )
        if error or self._trap:
            raise _failure(error, self._trap)
        return self._read(arguments[0].i32)

    def close(self) -> None:
        """Give its memory back."""
        self._runtime.close()

    def _grow(self, end: int) -> None:
        try:
            self._runtime.memory.grow(self._runtime.store, -(-(end - self._size) // _PAGE))
        except WasmtimeError as error:
            raise GuestFailed("memory") from error
        self._look()

    def _look(self) -> None:
        """Find out where the memory is and how large; it moves only when it grows."""
        size = _ffi.wasmtime_memory_data_size(self._context, self._memory)
        if size != self._size:
            self._size = size
            self._base = _address(_ffi.wasmtime_memory_data(self._context, self._memory))

    def _read(self, address: int) -> bytes:
        """Return the text at ``address``; never a byte beyond the memory or the bound."""
        # The guest may have grown its memory, and growing may have moved it.
        self._look()
        base = self._base
        left = self._size - address
        if address <= 0 or left <= 0:
            raise GuestFailed("address")
        for length in (_USUAL_OUTPUT, MAX_OUTPUT + 1):
            text, nul, _ = ctypes.string_at(base + address, min(length, left)).partition(_NUL)
            if nul:
                return text
        if left <= MAX_OUTPUT:
            raise GuestFailed("address")
        raise OutputTooLarge


def memory_codec(abi: OpaAbi) -> MemoryCodec:
    """Return what reads and writes an instance's memory, within our bounds."""
    return MemoryCodec(
        abi,
        max_input_bytes=MAX_DATA,
        max_data_bytes=MAX_DATA,
        max_result_bytes=MAX_OUTPUT,
        max_cstring_scan_bytes=MAX_OUTPUT + 1,
    )


def _address(pointer: Any) -> int:  # noqa: ANN401 — ctypes
    return ctypes.addressof(pointer.contents)


def _failure(error: Any, trap: Any) -> GuestFailed:  # noqa: ANN401 — ctypes
    """Return why a call failed. Frees what wasmtime has allocated to say so."""
    if error:
        cause: Exception = WasmtimeError._from_ptr(error)  # noqa: SLF001 — wasmtime has no public one
        word = "error"
    else:
        cause = Trap._from_ptr(trap)  # noqa: SLF001 — likewise
        word = "late" if cause.trap_code is TrapCode.INTERRUPT else "trap"
    try:
        # What a host function raised is kept in wasmtime and would surface in somebody else's call.
        _func.maybe_raise_last_exn()
    except OpaWasmError as raised:
        cause = raised
    failed = GuestFailed(word)
    failed.__cause__ = cause
    return failed
