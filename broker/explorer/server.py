"""An explorer that is served to whoever opens the link to it."""

from typing import Final

from broker.explorer.app import build_explorer
from broker.explorer.gate import Gate
from broker.explorer.local import CannotServe, LocalServer
from broker.explorer.sources import Means, Sources
from broker.listener import Bounds

__all__ = ["CannotServe", "Explorer"]

# For one person's browser: little is needed, and whatever else is on this machine may ask, too.
_BOUNDS: Final = Bounds(
    head_time=5.0, body_time=5.0, body_framing=4096, stop_time=2, connections=64, requests=32
)


class Explorer(LocalServer):
    """Serves the trail."""

    def __init__(self, means: Means, *, port: int = 0) -> None:
        super().__init__(_BOUNDS, port=port)
        self._sources = Sources(means)

    def build(self) -> Gate:
        """Return the explorer's pages behind their gate."""
        return build_explorer(self._sources, self._admission, address=self.address)

    async def aclose(self) -> None:
        """Close what the trail is read from."""
        await self._sources.aclose()
