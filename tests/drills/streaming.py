"""A process that only streams, killed again and again: ``python -m tests.drills.streaming``.

It forks, so that what is killed has been started in no time; each child goes on where the last one
was, until it is killed at whatever instruction it is at.
"""

import asyncio
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

from broker.audit.follow import Followed
from broker.audit.stream.load import TlsFiles, build_sink
from broker.db.engine import Database
from broker.settings.streams import parse_destination
from tests.streaming import Noted, build_stream

LONGEST = 0.05  # seconds until one is killed, once it is at work
LOT = 2  # rows: many moves of the place


class _Telling(Noted):
    """Tells whoever waits for it that rows have arrived."""

    def __init__(self, told: int) -> None:
        super().__init__()
        self._told = told

    def delivered(self, found: Followed, refused: int) -> None:
        """Tell it."""
        os.write(self._told, b".")


async def _stream(url: str, to: str, anchor: Path, told: int) -> None:
    files = TlsFiles(ca=anchor) if to.startswith("syslog") else TlsFiles()
    sink = build_sink(parse_destination(to), files)
    stream = build_stream(
        Database(url), sink, name="drill", watcher=_Telling(told), most=LOT, look=0.005
    )
    await stream.run(asyncio.Event())


def _start(url: str, to: str, anchor: Path) -> tuple[int, int]:
    heard, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(heard)
        try:
            asyncio.run(_stream(url, to, anchor, told))
        finally:
            os._exit(1)
    os.close(told)
    return pid, heard


def kill_often(url: str, to: str, anchor: Path, rounds: int) -> int:
    """Start and kill one after the other; returns how many were ended by that alone."""
    killed = 0
    for _ in range(rounds):
        pid, heard = _start(url, to, anchor)
        select.select([heard], [], [], 5)
        time.sleep(random.uniform(0, LONGEST))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(heard)
        killed += os.WIFSIGNALED(status)
    return killed


if __name__ == "__main__":
    _, address, where, ca, count = sys.argv
    sys.stdout.write(f"{kill_often(address, where, Path(ca), int(count))}\n")
