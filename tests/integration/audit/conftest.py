"""A log that others hold against, and ways to go back in it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from broker.audit.publish.file import FileSink
from broker.audit.publish.s3 import ObjectSink
from broker.db.embedded import EmbeddedPostgres
from broker.db.engine import Database
from broker.settings.audit import ObjectStore
from tests.buckets import Bucket, bucket_server
from tests.fixtures.postgres import OneDatabase, one_more
from tests.sealing import empty_log, seal_now, write_rows


@pytest.fixture(scope="session")
def _base(postgres: EmbeddedPostgres, template: OneDatabase) -> Iterator[OneDatabase]:
    with one_more(postgres, template.name) as made:
        yield made


@pytest.fixture
def base(_base: OneDatabase) -> OneDatabase:
    """A database whose log is empty; rows of other tests are in it, and no batches of them."""
    empty_log(_base)
    return _base


@pytest.fixture
async def log(base: OneDatabase) -> AsyncIterator[Database]:
    """The same with three checkpoints, of size 3, 6 and 9, as the broker's role reaches it."""
    database = Database(base.app_url)
    for _ in range(3):
        await write_rows(database)
        await seal_now(database)
    yield database
    await database.aclose()


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    """What answers like an object store."""
    with bucket_server() as made:
        yield made


@pytest.fixture
async def in_bucket(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ObjectSink]:
    """A sink that puts checkpoints there."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store = {"bucket": "checkpoints-bucket", "endpoint_url": bucket.url, "retain": "400d"}
    sink = ObjectSink(ObjectStore.model_validate(store))
    yield sink
    await sink.aclose()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where checkpoints are appended."""
    return tmp_path / "checkpoints.txt"


@pytest.fixture
async def in_file(path: Path) -> AsyncIterator[FileSink]:
    """A sink that appends them."""
    sink = FileSink(path)
    yield sink
    await sink.aclose()
