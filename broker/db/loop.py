"""Running a coroutine to its end, from wherever one is."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")


def run_apart(main: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
    """Return what ``main`` returns, run in a thread with a loop of its own.

    The caller waits, and may itself run in a loop, where ``asyncio.run`` would not start.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(main())).result()
