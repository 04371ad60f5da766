"""The part of a broker that streams its trail, over database connections of its own."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from broker.audit.access import record_access
from broker.audit.cursor import StoredCursor
from broker.audit.follow import Follower
from broker.audit.reader import RecordReader
from broker.audit.stream.health import StreamHealth
from broker.audit.stream.load import PRODUCT_VERSION, TlsFiles, build_sink
from broker.audit.stream.render import Renderer
from broker.audit.stream.sink import Sink
from broker.audit.stream.stream import Stream
from broker.audit.vault import Vault
from broker.db.engine import Database
from broker.errors import ConfigurationError
from broker.settings.streams import AuditStream

_PATIENCE: Final = timedelta(minutes=1)  # for one statement; nobody waits for it
_MOST: Final = 64  # rows at once: what is made of them takes some four milliseconds of this loop
_REST: Final = 0.012  # seconds after them, so that a backlog has a quarter of the process at most
_BY: Final = "broker"


class Streaming:
    """Every replica runs one. Of each stream the first has the lock, and the others wait."""

    def __init__(
        self,
        streams: tuple[AuditStream, ...],
        url: str,
        vault: Vault,
        clock: Callable[[], datetime],
    ) -> None:
        """Nothing is opened yet. Raises ``ConfigurationError`` for files that cannot be used."""
        # None of the connections that exchanges take.
        self._database = Database(url, timeout=_PATIENCE, pool_size=1)
        self._healths = {one.name: StreamHealth(one.name, clock) for one in streams}
        self._streams = [self._build(one, vault) for one in streams]

    async def run(self, stop: asyncio.Event) -> None:
        """Stream until ``stop`` is set; a failing database or receiver ends nothing here."""
        try:
            async with asyncio.TaskGroup() as group:
                for stream in self._streams:
                    group.create_task(stream.run(stop))
                await stop.wait()
        finally:
            await self._database.aclose()

    def describe(self) -> dict[str, str]:
        """Return what is wrong with each stream that stands still, for operators."""
        return {name: one.fault for name, one in self._healths.items() if one.fault is not None}

    def _build(self, settings: AuditStream, vault: Vault) -> Stream:
        files = TlsFiles(settings.ca_file, settings.cert_file, settings.key_file)
        details = {
            "to": str(settings.destination),
            "name": settings.name,
            "format": settings.format,
            "open": settings.open,
        }
        return Stream(
            follower=Follower(self._database, most=_MOST),
            cursor=StoredCursor(self._database, f"stream:{settings.name}"),
            sink=_build_sink(settings, files),
            renderer=Renderer(
                settings.format,
                product_version=PRODUCT_VERSION,
                reader=RecordReader(self._database, vault) if settings.open else None,
            ),
            start=settings.start,
            rest=_REST,
            watcher=self._healths[settings.name],
            record=partial(
                record_access, self._database, "audit.stream", details, by=_BY, pseudonym=None
            ),
        )


def _build_sink(settings: AuditStream, files: TlsFiles) -> Sink:
    try:
        return build_sink(settings.destination, files)
    except ConfigurationError as error:
        raise ConfigurationError(f"audit.streams, {settings.name}: {error}") from None
