"""A server of the Redis protocol that holds what processes share: nothing that it can read."""

import asyncio
from typing import Any, Final

MAX_VALUE: Final = 128 * 1024  # bytes that are read of a value, whoever wrote it
_PREFIX: Final = b"broker:proxy:"


class StoreUnavailable(Exception):  # noqa: N818 — an outcome that the caller plans for
    """The server did not answer in time, or not sensibly."""


class RedisStore:
    """Values by their places, each for so long. Connects when it is first asked."""

    def __init__(self, url: str, *, deadline: float, ca_file: str | None = None) -> None:
        """``url``: redis or rediss, perhaps with credentials, which are shown nowhere."""
        # Here, so that only who shares tokens waits for the library to be read.
        from redis.asyncio import Redis  # noqa: PLC0415 — see above
        from redis.asyncio.retry import Retry  # noqa: PLC0415 — likewise
        from redis.backoff import NoBackoff  # noqa: PLC0415 — likewise
        from redis.exceptions import RedisError  # noqa: PLC0415 — likewise

        self._failures = (RedisError, OSError, TimeoutError)
        # Any: the library's options have types of their own each.
        options: dict[str, Any] = {}
        if url.startswith("rediss:") and ca_file:
            options["ssl_ca_certs"] = ca_file
        self._deadline = deadline
        self._client = Redis.from_url(
            url,
            socket_timeout=deadline,
            socket_connect_timeout=deadline,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            driver_info=None,
            max_connections=64,
            **options,
        )

    async def find(self, place: bytes) -> tuple[bytes, float] | None:
        """Return the value, and for how many seconds it is kept yet. Raises ``StoreUnavailable``.

        What has no end there was not written by us, and is nothing.
        """
        try:
            async with asyncio.timeout(self._deadline), self._client.pipeline() as asked:
                asked.getrange(_PREFIX + place, 0, MAX_VALUE)
                asked.pttl(_PREFIX + place)
                value, milliseconds = await asked.execute()
        except (*self._failures, ValueError) as error:
            raise StoreUnavailable(type(error).__name__) from None
        if not value or len(value) > MAX_VALUE or milliseconds <= 0:
            return None
        return bytes(value), milliseconds / 1000

    async def keep(self, place: bytes, value: bytes, seconds: float) -> None:
        """Keep a value for so long. Raises ``StoreUnavailable``."""
        milliseconds = int(seconds * 1000)
        if milliseconds <= 0 or len(value) > MAX_VALUE:
            return
        try:
            async with asyncio.timeout(self._deadline):
                await self._client.set(_PREFIX + place, value, px=milliseconds)
        except self._failures as error:
            raise StoreUnavailable(type(error).__name__) from None

    async def drop(self, place: bytes) -> None:
        """Forget what is there. Raises ``StoreUnavailable``."""
        try:
            async with asyncio.timeout(self._deadline):
                await self._client.delete(_PREFIX + place)
        except self._failures as error:
            raise StoreUnavailable(type(error).__name__) from None

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()
