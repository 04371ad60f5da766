"""What of the limits outlives a configuration: who waits for its turn, and the shared counts."""

from broker.limits.shared import RedisCounts
from broker.limits.turns import Turns
from broker.settings import Limits


class Limiting:
    """One of each for the process."""

    def __init__(self, limits: Limits) -> None:
        """Nothing is opened yet."""
        self.turns = Turns()
        # None: each process counts for itself.
        self.counts = None if limits.store is None else RedisCounts(limits.store)

    async def aclose(self) -> None:
        """Close every connection."""
        if self.counts is not None:
            await self.counts.aclose()
