"""How often each client may have a token introspected. RFC 7662 §4.

A platform that introspects at every request can bring down its own broker, and whoever guesses
tokens needs many answers. Only a client that has authenticated is counted, so nobody can use up
what is another's. In the memory of one process: n processes allow n times as much.
"""

from datetime import datetime
from math import ceil
from typing import Final

from broker.limits.buckets import Buckets
from broker.settings import Rate

_MAX_CALLERS: Final = 20_000


class CallerLimit:
    """A token bucket for each client."""

    def __init__(self, rate: Rate) -> None:
        self._buckets = Buckets[str](rate.count, rate.per.total_seconds(), _MAX_CALLERS)

    def spend(self, client_id: str, now: datetime) -> int | None:
        """Count a call, or return how many seconds the client has to wait before the next one."""
        return ceil(self._buckets.spend(client_id, now.timestamp())) or None
