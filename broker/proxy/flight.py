"""Single flight: however many want one thing, it is fetched once, and all get what came of it.

What is fetched runs as a task of its own. Whoever gives up waiting, the first one among them, ends
nothing for the others; and what it was started with is gone when it has ended.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Found = TypeVar("Found")


class Grounded(Exception):  # noqa: N818 — an outcome that the caller plans for
    """The flight was ended before it had an outcome: the process stops."""


class Flights(Generic[Found]):
    """What is under way, by key. ``start`` of a flight does not raise: it returns what happened."""

    def __init__(self) -> None:
        self._tasks: dict[bytes, asyncio.Task[Found]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def has(self, key: bytes) -> bool:
        """Whether it is under way."""
        return key in self._tasks

    def begin(self, key: bytes, start: Callable[[], Coroutine[Any, Any, Found]]) -> None:
        """Let it be under way, and wait for nothing."""
        if key not in self._tasks:
            task = self._tasks[key] = asyncio.create_task(start())
            task.add_done_callback(lambda _: self._tasks.pop(key, None))

    async def join(self, key: bytes, start: Callable[[], Coroutine[Any, Any, Found]]) -> Found:
        """Return what came of it; it is started unless it is under way.

        Raises ``Grounded``.
        """
        self.begin(key, start)
        task = self._tasks[key]
        # Not awaited itself: a caller that gives up does not end it for the others.
        await asyncio.wait({task})
        if task.cancelled():
            raise Grounded
        return task.result()

    async def aclose(self) -> None:
        """End what is under way."""
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
