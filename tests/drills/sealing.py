"""A process that only seals, killed again and again: ``python -m tests.drills.sealing``.

It forks, so that what is killed has been started in no time; each child connects, seals and
publishes as a broker does, until it is killed at whatever instruction it is at.
"""

import asyncio
import os
import random
import select
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

from broker.audit.publish.file import FileSink
from broker.audit.publish.outbox import Outbox
from broker.audit.publish.publisher import Publisher
from broker.audit.seal_store import SealStore
from broker.audit.sealer import Sealer
from broker.db.engine import Database
from tests.sealing import KEYS

EVERY = timedelta(milliseconds=10)
LONGEST = 0.05  # seconds until one is killed: connecting, comparing, a few seals
PAGE = 5  # batches: many transactions, and searches that are not over


async def _seal(url: str, path: Path, told: int) -> None:
    database = Database(url)
    publisher = Publisher([FileSink(path)], Outbox(database), every=EVERY)
    sealer = Sealer(SealStore(database), KEYS, every=EVERY, examine=publisher.examine, page=PAGE)
    stop = asyncio.Event()

    def sealed() -> None:
        os.write(told, b".")
        publisher.wake()

    await asyncio.gather(sealer.run(stop, sealed), publisher.run(stop, sealer.doubt))


class _Child:
    """One of those that are killed; it tells each of its seals."""

    def __init__(self, url: str, path: Path) -> None:
        self._heard, told = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._heard)
            try:
                asyncio.run(_seal(url, path, told))
            finally:
                os._exit(1)
        os.close(told)

    def wait_at_work(self) -> None:
        """Return when it has sealed; or soon, for the other one may always be faster."""
        select.select([self._heard], [], [], 1)

    def kill(self) -> bool:
        """Kill it; return whether that was its end."""
        os.kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        os.close(self._heard)
        return os.WIFSIGNALED(status)


def kill_often(url: str, path: Path, rounds: int) -> int:
    """Start and kill two sealers at a time, so that one takes over what the other leaves.

    Every other one is at work when it is killed; the others are wherever they are. Returns how
    many were ended by that, and by nothing of their own.
    """
    killed = 0
    children = [_Child(url, path)]
    for number in range(rounds):
        children.append(_Child(url, path))
        child = children.pop(0)
        if number % 2:
            child.wait_at_work()
        time.sleep(random.uniform(0, LONGEST))
        killed += child.kill()
    children.pop().kill()
    return killed


if __name__ == "__main__":
    _, address, file, count = sys.argv
    sys.stdout.write(f"{kill_often(address, Path(file), int(count))}\n")
