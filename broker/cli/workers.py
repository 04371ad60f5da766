"""Several broker processes on one port, and what looks after them.

What holds while ``Supervisor.run`` has not returned:

(1) there are as many processes as asked for: one that ends is replaced, after a pause that grows
    while its successors do not get ready either;
(2) one that is replaced on request serves until its successor is ready, and finishes what it has
    begun;
(3) none outlives the supervisor: each holds the end of a pipe, and stops when the other is gone.

The supervisor serves nothing itself. It holds the listening sockets, so that what waits in them is
there for whoever comes next.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from broker.app.place import PATIENCE, Place, addresses_of
from broker.cli.backing import Backing
from broker.listener import bind
from broker.settings import Settings

MOST_WORKERS: Final = 64
_READY: Final = b"ready"
_READY_WITHIN: Final = PATIENCE - 10.0  # seconds; before it serves in any case
_STOP_WITHIN: Final = 60.0
_PAUSES: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds, before the next attempt
_UNUSABLE: Final = 2  # exit code: the configuration

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Post:
    """What a worker is told at its start, by its standard input."""

    number: int
    sockets: dict[str, int]  # file descriptors
    folder: str
    replaces: bool
    app_url: str
    owner_url: str
    kek_file: str | None
    embedded: bool

    @classmethod
    def read(cls) -> Self:
        """Return what this process was told."""
        return cls(**json.loads(sys.stdin.buffer.readline()))

    def place(self) -> Place:
        """Return where this process stands."""
        sockets = {name: socket.socket(fileno=fd) for name, fd in self.sockets.items()}
        return Place(self.number, sockets, Path(self.folder), self.replaces)

    def backing(self) -> Backing:
        """Return the database that the supervisor has opened."""
        kek_file = None if self.kek_file is None else Path(self.kek_file)
        return Backing(self.app_url, self.owner_url, kek_file, embedded=self.embedded)


async def _first(
    tasks: Iterable[asyncio.Task[Any]], *events: asyncio.Event, within: float | None = None
) -> None:
    """Return once one of these has happened, or so many seconds have passed."""
    waiting = {asyncio.create_task(event.wait()) for event in events}
    await asyncio.wait({*tasks, *waiting}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def say_ready() -> None:
    """Tell the supervisor that this process can be relied on."""
    os.write(sys.stdout.fileno(), _READY + b"\n")


def listen_for_end(told: asyncio.Event) -> None:
    """Set ``told`` once the supervisor is gone, however it went."""
    loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()

    def look() -> None:
        if not os.read(stdin, 1):
            loop.remove_reader(stdin)
            told.set()

    loop.add_reader(stdin, look)


class _Worker:
    """A process, from its start to its end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.ready = asyncio.create_task(self._read_ready())
        self.ended = asyncio.create_task(process.wait())

    async def _read_ready(self) -> bool:
        stdout = self._process.stdout
        return stdout is not None and (await stdout.readline()).strip() == _READY

    @property
    def was_ready(self) -> bool:
        """Whether it has ever been."""
        return self.ready.done() and self.ready.result()

    def tell(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self) -> int:
        """Let it finish what it has begun; return its exit code once it is gone."""
        self.tell(signal.SIGTERM)
        done, _ = await asyncio.wait({self.ended}, timeout=_STOP_WITHIN)
        if not done:
            self.tell(signal.SIGKILL)
        return await self.ended


@dataclass(slots=True)
class _Seat:
    """A place for one process at a time, and the sockets that it leaves to the next."""

    number: int
    sockets: dict[str, socket.socket]
    worker: _Worker | None = None
    renew: asyncio.Event = field(default_factory=asyncio.Event)


class Supervisor:
    """Runs ``count`` workers until it is told to stop."""

    def __init__(
        self, count: int, *, command: Sequence[str], settings: Settings, backing: Backing
    ) -> None:
        """Take the ports. ``command`` starts a worker. Raises ``OSError`` if a port is taken."""
        addresses = {name: (at.host, at.port) for name, at in addresses_of(settings).items()}
        # Every worker accepts from the one of the operators; of the others each has its own, or
        # the first to wake would take a whole rush of connections.
        self._admin = bind(*addresses.pop("admin"))
        self._addresses = {name: _free(*address) for name, address in addresses.items()}
        self._seats = [_Seat(n + 1, self._bind()) for n in range(count)]
        self._command = command
        self._backing = backing
        self._folder = tempfile.TemporaryDirectory(prefix="broker-")
        self._one_by_one = asyncio.Lock()
        self._told = asyncio.Event()
        self._serves = False
        self._exit_code = 0

    def stop(self) -> None:
        """Let every worker finish what it has begun, and ``run`` return."""
        self._told.set()

    def reload(self) -> None:
        """Let every worker read its configuration anew."""
        for seat in self._seats:
            if seat.worker is not None:
                seat.worker.tell(signal.SIGHUP)

    def replace(self) -> None:
        """Put a new process into the place of each worker, one after the other."""
        for seat in self._seats:
            seat.renew.set()

    async def run(self) -> int:
        """Return the exit code once every worker is gone: 0, or 2 for an unusable configuration."""
        try:
            await asyncio.gather(*(self._keep(seat) for seat in self._seats))
        finally:
            for seat in self._seats:
                _close(seat.sockets)
            self._admin.close()
            self._folder.cleanup()
        return self._exit_code

    async def _keep(self, seat: _Seat) -> None:
        """Have a worker in this seat, whatever became of those before it."""
        failures = 0
        worker = await self._start(seat)
        while not await self._comes(worker, seat):
            if seat.renew.is_set():
                seat.renew.clear()
                worker = await self._renewed(seat, worker)
                continue
            code = worker.ended.result()
            if code == _UNUSABLE and not self._serves:
                self._exit_code = _UNUSABLE
                self.stop()
                return
            failures = 0 if worker.was_ready else failures + 1
            _log.error("a worker has ended", extra={"worker": seat.number, "exit_code": code})
            with suppress(TimeoutError):
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
                await asyncio.wait_for(self._told.wait(), pause)
            # Connections that wait in the old sockets would wait for as long as this one starts.
            _close(seat.sockets)
            seat.sockets = self._bind()
            worker = await self._start(seat)
        await worker.stop()

    async def _comes(self, worker: _Worker, seat: _Seat) -> bool:
        """Return once the end of all has come, True, or there is something to do in this seat."""
        await _first({worker.ended}, self._told, seat.renew)
        return self._told.is_set()

    async def _renewed(self, seat: _Seat, old: _Worker) -> _Worker:
        """Return the worker that is in the seat now: the new one, if it got ready."""
        async with self._one_by_one:
            new = await self._start(seat)
            # Its end is the end of its output too.
            await _first({new.ready}, self._told, within=_READY_WITHIN)
            if not new.was_ready:
                seat.worker = old
                code = await new.stop()
                _log.error(
                    "a new worker does not get ready; the old one stays",
                    extra={"worker": seat.number, "exit_code": code},
                )
                return old
            await old.stop()
            _log.info("a worker was replaced", extra={"worker": seat.number})
            return new

    async def _start(self, seat: _Seat) -> _Worker:
        sockets = seat.sockets | {"admin": self._admin}
        post = Post(
            seat.number,
            {name: one.fileno() for name, one in sockets.items()},
            self._folder.name,
            self._serves,
            self._backing.app_url,
            self._backing.owner_url,
            None if self._backing.kek_file is None else str(self._backing.kek_file),
            self._backing.embedded,
        )
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=tuple(post.sockets.values()),
        )
        if process.stdin is not None:
            process.stdin.write(json.dumps(asdict(post)).encode() + b"\n")
        worker = seat.worker = _Worker(process)
        worker.ready.add_done_callback(self._heard)
        return worker

    def _bind(self) -> dict[str, socket.socket]:
        return {name: bind(*at, shared=True) for name, at in self._addresses.items()}

    def _heard(self, ready: asyncio.Task[bool]) -> None:
        self._serves = self._serves or (not ready.cancelled() and ready.result())


def _free(host: str, port: int) -> tuple[str, int]:
    """Return the address, its port chosen. Raises ``OSError`` if somebody listens there."""
    # Found by a socket that does not share, and by no other.
    with bind(host, port) as alone:
        return host, alone.getsockname()[1]


def _close(sockets: Mapping[str, socket.socket]) -> None:
    for each in sockets.values():
        each.close()
