"""What runs for as long as a broker does: tasks, each with a name, none of which ends unnoticed."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final

_STOP_WITHIN: Final = 10.0  # seconds, each part, one after the other

_log = logging.getLogger(__name__)


class Parts:
    """The tasks of one broker."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.stopping = False  # from now on a part may end
        self.failed = asyncio.Event()  # a part that must never end has ended

    def spawn(
        self, work: Coroutine[Any, Any, None], name: str, *, may_end: bool = False
    ) -> asyncio.Task[None]:
        """Run ``work`` from now on, and say so if it ends."""
        task = asyncio.create_task(work, name=name)
        self.tasks.add(task)

        def ended(task: asyncio.Task[None]) -> None:
            self.tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None or not (may_end or self.stopping):
                # Whatever it was, a process without one of its parts must not look healthy.
                _log.critical(
                    "a part of the broker has ended", extra={"part": name}, exc_info=error
                )
                self.failed.set()

        task.add_done_callback(ended)
        return task

    def named(self, *names: str) -> set[asyncio.Task[None]]:
        """Return those that run under one of these names."""
        return {task for task in self.tasks if task.get_name() in names}


async def settled(tasks: set[asyncio.Task[None]]) -> None:
    """Return when all have ended; one that does not in time is told to."""
    if tasks:
        _, late = await asyncio.wait(tasks, timeout=_STOP_WITHIN)
        for task in late:
            task.cancel()
