"""An object store with object lock: what is there, nobody can change or delete until its time.

One object a checkpoint, named by its size with leading zeros, so that names are in the order of
the log. It is written only where none of that name is (``If-None-Match: *``), and locked in the
mode in which its owner has no way around it either (``COMPLIANCE``). That the store has locked it
is looked at once, and wherever an object is there already: some keep what they refuse to lock.

Credentials are found as every tool for it finds them: environment, shared file, or the machine's
own role. The library is imported where it is used: most brokers have no object store.
"""

import asyncio
import base64
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from hashlib import md5
from typing import Any, Final, TypeVar

from broker.audit.checkpoint import CheckpointRejected, parse_checkpoint
from broker.audit.note import MAX_CHARACTERS
from broker.audit.publish.outbox import Due, Outbox
from broker.audit.publish.sink import Contradiction, SinkUnavailable
from broker.settings.audit import ObjectStore

T = TypeVar("T")

_CONNECT: Final = 3  # seconds
_READ: Final = 5  # seconds
_WITHIN: Final = 20.0  # seconds for one request, with looking for credentials
_COMPARED: Final = 20  # objects beyond what is known to have arrived; a crash leaves one at most
_DIGITS: Final = 20
_MODE: Final = "COMPLIANCE"
_NAME: Final = re.compile(rf"[0-9]{{{_DIGITS}}}")


class ObjectSink:
    """One bucket."""

    kind: Final = "s3"
    name: Final = "s3"

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(
            1, "checkpoint-s3"
        )  # the library waits, so it has its own
        self._locks = False  # as far as was seen

    async def examine(self, outbox: Outbox) -> None:
        """Compare objects that are newer than the cursor with the database.

        Raises ``Contradiction`` or ``SinkUnavailable``.
        """
        after = await outbox.cursor(self.name)
        for key in await self._do(partial(self._list, after)):
            await self._compare(outbox, key, await self._do(partial(self._read, key)))

    async def catch_up(self, outbox: Outbox, patience: timedelta) -> int:
        """Put there what is due. Raises ``SinkUnavailable`` or ``Contradiction``."""
        count = 0
        while due := await outbox.due(await outbox.cursor(self.name), patience):
            for each in due:
                key = self._key(each.size)
                new = await self._do(partial(self._put, each))
                if not new:
                    await self._compare(outbox, key, await self._do(partial(self._read, key)))
                if not (new and self._locks):
                    await self._do(partial(self._require_lock, key))
                await outbox.advance(self.name, each.size)
                count += 1
        return count

    async def aclose(self) -> None:
        """Wait for nobody."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _compare(self, outbox: Outbox, key: str, note: str) -> None:
        where = f"{self._store.bucket}/{key}"
        try:
            head = parse_checkpoint(note)
        except CheckpointRejected:
            raise Contradiction(f"{where} is no checkpoint") from None
        root = await outbox.root_at(head.size)
        if root is None:
            raise Contradiction(
                f"{where} is of size {head.size}, and the database only has"
                f" {await outbox.size()}: it is older than it was, or it is another one"
            )
        if root != head.root:
            raise Contradiction(f"{where} has another root for size {head.size} than the database")

    async def _do(self, work: Callable[[], T]) -> T:
        try:
            future = asyncio.get_running_loop().run_in_executor(self._thread, self._told, work)
            return await asyncio.wait_for(future, _WITHIN)
        except TimeoutError:
            raise SinkUnavailable(f"{self._store.bucket}: no answer in time") from None

    def _told(self, work: Callable[[], T]) -> T:
        """Run in the thread, where also the library is imported: it takes a while."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 — large

        try:
            return work()
        except ClientError as error:
            raise SinkUnavailable(f"{self._store.bucket}: {_code_of(error)}") from error
        except BotoCoreError as error:
            # Its name only: the text may have an address with a signature in it.
            raise SinkUnavailable(f"{self._store.bucket}: {type(error).__name__}") from error

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 — made at run time by the library
        import boto3  # noqa: PLC0415 — large
        from botocore.config import Config  # noqa: PLC0415 — large

        endpoint = self._store.endpoint_url
        config = Config(
            connect_timeout=_CONNECT,
            read_timeout=_READ,
            retries={"total_max_attempts": 1},  # the next catch-up is the retry
            max_pool_connections=1,
            # A store of one's own has no name for each bucket.
            s3={"addressing_style": "path" if endpoint else "auto"},
            # The digest is ours, below; some stores do not know the newer ones.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        session = boto3.session.Session()
        region = self._store.region or session.region_name
        if region is None and endpoint:
            region = "us-east-1"  # what stores of one's own are signed for
        return session.client("s3", endpoint_url=endpoint, region_name=region, config=config)

    def _key(self, size: int) -> str:
        return f"{self._store.prefix}{size:0{_DIGITS}}"

    def _put(self, due: Due) -> bool:
        """Write one object; returns False if there is one of that name."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 — large

        body = due.note.encode()
        try:
            self._client.put_object(
                Bucket=self._store.bucket,
                Key=self._key(due.size),
                Body=body,
                ContentType="text/plain; charset=utf-8",
                # Required with object lock: what arrived is what was sent. It protects nothing.
                ContentMD5=base64.b64encode(md5(body, usedforsecurity=False).digest()).decode(),
                IfNoneMatch="*",
                ObjectLockMode=_MODE,
                ObjectLockRetainUntilDate=datetime.now(UTC) + self._store.retain,
            )
        except ClientError as error:
            if _code_of(error) in {"PreconditionFailed", "412"}:
                return False
            raise
        return True

    def _require_lock(self, key: str) -> None:
        from botocore.exceptions import ClientError  # noqa: PLC0415 — large

        where = {"Bucket": self._store.bucket, "Key": key}
        try:
            lock = self._client.get_object_retention(**where).get("Retention", {}).get("Mode")
        except ClientError as error:
            lock = _code_of(error)
        if lock != _MODE:
            raise SinkUnavailable(
                f"{self._store.bucket}/{key} is not seen to be locked ({lock}): the bucket has to"
                " be made with object lock, and the credentials need s3:GetObjectRetention"
            )
        self._locks = True

    def _read(self, key: str) -> str:
        answer = self._client.get_object(Bucket=self._store.bucket, Key=key)
        with answer["Body"] as body:
            return str(body.read(MAX_CHARACTERS).decode(errors="replace"))

    def _list(self, after: int) -> list[str]:
        answer = self._client.list_objects_v2(
            Bucket=self._store.bucket,
            Prefix=self._store.prefix,
            StartAfter=self._key(after),
            MaxKeys=_COMPARED,
        )
        # What people put beside the checkpoints is theirs.
        keys = (str(each["Key"]) for each in answer.get("Contents", ()))
        return [key for key in keys if _NAME.fullmatch(key.removeprefix(self._store.prefix))]


def _code_of(error: Any) -> str:  # noqa: ANN401 — the library's, which has no types
    return str(error.response.get("Error", {}).get("Code", "unknown"))[:64]
