"""The part of a broker that seals its trail and brings the signed heads out."""

import asyncio
import ssl
import time
from typing import Any, Final

from broker.audit.checkpoint_key import build_origin, load_checkpoint_keys
from broker.audit.publish.load import build_sinks
from broker.audit.publish.outbox import Outbox
from broker.audit.publish.publisher import Publisher
from broker.audit.seal_store import HeadLost, SealStore
from broker.audit.sealer import Progress, Sealer
from broker.db.engine import Database
from broker.errors import ConfigurationError
from broker.settings import Settings, find_key_files

_PAUSE: Final = 0.05  # seconds
_PATIENCE: Final = 5.0  # seconds


class Sealing:
    """``run`` in a broker; ``once`` in a command."""

    def __init__(self, settings: Settings, database: Database, tls: ssl.SSLContext) -> None:
        """Nothing is opened yet. Raises ``ConfigurationError`` for a key that cannot be used."""
        checkpoints = settings.audit.checkpoints
        path = find_key_files(settings).checkpoints
        if path is None:
            raise ConfigurationError("audit.checkpoints.key_file: is needed here")
        keys = load_checkpoint_keys(path, build_origin(settings.issuer))
        sinks = build_sinks(checkpoints, tls)
        self._publisher = Publisher(sinks, Outbox(database), every=checkpoints.every)
        self._sealer = Sealer(
            SealStore(database),
            keys,
            every=checkpoints.every,
            examine=self._publisher.examine,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Seal and publish until ``stop`` is set; a failing database or sink ends nothing here."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sealer.run(stop, self._publisher.wake))
            group.create_task(self._publisher.run(stop, self._sealer.doubt))

    async def once(self, *, patience: float = _PATIENCE) -> tuple[Progress, dict[str, str | None]]:
        """Seal what there is and publish it; returns also what went wrong, by sink.

        Raises ``SealRefused``, ``SealUnavailable``, or ``HeadLost`` if others seal for longer than
        ``patience``, in seconds.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                return await self._sealer.seal(), await self._publisher.publish()
            except HeadLost:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_PAUSE)

    async def aclose(self) -> None:
        """Close what ``once`` has opened; ``run`` closes by itself."""
        await self._sealer.aclose()
        await self._publisher.aclose()

    @property
    def state(self) -> str:
        """How it fares, in one word that names nothing: ``good``, ``failing`` or ``refused``."""
        if self._sealer.refusal is not None:
            return "refused"
        return "failing" if self._sealer.failing or self._publisher.faults else "good"

    def describe(self) -> dict[str, Any]:
        """Return how it fares, for operators."""
        return {
            "state": self.state,
            "refusal": self._sealer.refusal,
            "sinks": self._publisher.faults,
        }
