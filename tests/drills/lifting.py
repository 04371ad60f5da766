"""A process that only lifts, killed again and again: ``python -m tests.drills.lifting``.

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
from collections.abc import Mapping
from typing import Any

from broker.audit.lift import Lifter
from broker.db.engine import Database
from tests.looking import running_trail

LONGEST = 0.03  # seconds until one is killed, once it is at work


async def _lift(url: str, told: int) -> None:
    database = Database(url)
    async with running_trail(database) as trail:

        async def record(action: str, details: Mapping[str, Any], *, by: str, id: str) -> None:  # noqa: A002 — as the trail has it
            await trail.record(action, details, by=by, id=id)
            os.write(told, b".")

        while True:
            await Lifter(database, record).lift()


def _start(url: str) -> tuple[int, int]:
    heard, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(heard)
        try:
            asyncio.run(_lift(url, told))
        finally:
            os._exit(1)
    os.close(told)
    return pid, heard


def kill_often(url: str, rounds: int) -> int:
    """Start and kill one after the other; returns how many were ended by that alone."""
    killed = 0
    for _ in range(rounds):
        pid, heard = _start(url)
        select.select([heard], [], [], 5)
        time.sleep(random.uniform(0, LONGEST))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(heard)
        killed += os.WIFSIGNALED(status)
    return killed


if __name__ == "__main__":
    _, address, count = sys.argv
    sys.stdout.write(f"{kill_often(address, int(count))}\n")
