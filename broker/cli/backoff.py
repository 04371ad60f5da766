"""Asking again where a server is busy, without joining those who keep it so. RFC 9110 §10.2.3.

A server that says no to a thousand clients at once gets all of them back at once if each waits for
the same time. So each waits for a random part of a time that doubles, on top of what the server
asks for (full jitter), a few times and not for long.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from broker.cli.token_request import Answer

FIRST: Final = 0.25  # seconds: the most that the first pause has of its own
LONGEST: Final = 8.0  # seconds: the most that any has


@dataclass(frozen=True, slots=True)
class Patience:
    """How often to ask again, and for how long in all."""

    retries: int
    seconds: float


def pause_before(attempt: int, retry_after: float | None, chance: float) -> float:
    """Return the seconds to wait before the ``attempt``-th repetition, which begin at 1.

    ``chance`` is from 0 to 1. Never less than the server asks for.
    """
    most = min(LONGEST, FIRST * 2.0 ** (attempt - 1))
    return float((retry_after or 0.0) + chance * most)


async def ask_patiently(
    ask: Callable[[], Awaitable[Answer]],
    patience: Patience,
    *,
    tell: Callable[[Answer, float], None],
    chance: Callable[[], float] = random.random,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> Answer:
    """Return the first answer that is not "busy", or the last one.

    ``tell`` is told what the server said, and the seconds until it is asked again. A server that
    wants to be left alone for longer than the patience lasts is not asked again.
    """
    end = monotonic() + patience.seconds
    attempt = 0
    while True:
        answer = await ask()
        attempt += 1
        if not answer.is_busy or attempt > patience.retries:
            return answer
        seconds = pause_before(attempt, answer.retry_after, chance())
        if monotonic() + seconds > end:
            return answer
        tell(answer, seconds)
        await sleep(seconds)
