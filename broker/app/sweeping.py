"""The part of a broker that forgets what belongs to expired tokens, so that tables stay small."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Final

from broker.replay import ReplayStore, ReplayUnavailable
from broker.tokens.store import ReferenceStore, ReferencesUnavailable

_EVERY: Final = timedelta(minutes=1)


async def sweep(replay: ReplayStore, references: ReferenceStore, stop: asyncio.Event) -> None:
    """Forget once a minute until ``stop`` is set."""
    while not stop.is_set():
        # There is nothing to forget that cannot wait.
        with suppress(ReplayUnavailable):
            await replay.sweep()
        with suppress(ReferencesUnavailable):
            await references.sweep()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _EVERY.total_seconds())
