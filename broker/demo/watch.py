"""Edit, save, and it is live: the policy folder is watched, and what is broken changes nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from watchfiles import Change, DefaultFilter, awatch

from broker.errors import ConfigurationError

# A save is a burst of changes (editors write aside and rename), which belong together.
_GATHER: Final = 300  # milliseconds at most
_QUIET: Final = 50  # milliseconds without a change end a burst


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What came of a save."""

    files: tuple[Path, ...]
    seconds: float
    fault: str | None  # None: it is live


class _PolicyFiles(DefaultFilter):
    """Only what a bundle is made of; what editors leave beside it is not."""

    def __call__(self, change: Change, path: str) -> bool:
        wanted = path.endswith((".rego", ".json", ".yaml", ".yml", ".manifest"))
        # Tests are not in a bundle, so saving one changes nothing that is live.
        return wanted and not path.endswith("_test.rego") and super().__call__(change, path)


async def watch_policies(
    folder: Path, reload: Callable[[], Awaitable[None]], stop: asyncio.Event
) -> AsyncIterator[Reloaded]:
    """Call ``reload`` after each save below ``folder``, until ``stop``, and yield what came of it.

    ``reload`` keeps what is in force when it raises ``ConfigurationError``.
    """
    async for changes in awatch(
        folder,
        watch_filter=_PolicyFiles(),
        debounce=_GATHER,
        step=_QUIET,
        stop_event=stop,
        raise_interrupt=False,
    ):
        started = time.perf_counter()
        fault = None
        try:
            await reload()
        except ConfigurationError as error:
            fault = str(error)
        files = tuple(sorted({Path(path) for _, path in changes}))
        yield Reloaded(files, time.perf_counter() - started, fault)
