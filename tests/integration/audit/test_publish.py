"""Checkpoints leave the database, and what is outside can contradict it."""

import asyncio
from datetime import timedelta

import pytest

from broker.audit.checkpoint import parse_checkpoint, sign_checkpoint
from broker.audit.publish.outbox import Outbox
from broker.audit.publish.publisher import Publisher
from broker.audit.seal_health import SealRefused
from tests.audit import now
from tests.buckets import sizes_of
from tests.sealing import KEYS, ORIGIN, build_sealer, go_back, seal_now, sizes_in, write_rows
from tests.server import eventually

AT_ONCE = timedelta(0)
EVERY = timedelta(milliseconds=100)


async def test_after_an_outage_every_checkpoint_arrives(log, in_file, path, in_bucket, bucket):
    """Issue: one that is down holds up neither the others nor sealing; then it catches up."""
    bucket.failing = "SlowDown"
    publisher = Publisher([in_file, in_bucket], Outbox(log), every=EVERY)

    assert {"file": None, "s3": "checkpoints-bucket: SlowDown"} == await publisher.publish()
    await write_rows(log)
    await seal_now(log, examine=publisher.examine)
    bucket.failing = None
    assert {"file": None, "s3": None} == await publisher.publish()

    assert [3, 6, 9, 12] == sizes_in(path) == sizes_of(bucket)
    assert {} == publisher.faults


async def test_sealing_and_publishing_go_on_by_themselves(log, in_file, path):
    """Issue: a checkpoint is outside soon after its commit, and never before."""
    publisher = Publisher([in_file], Outbox(log), every=EVERY)
    sealer = build_sealer(log, every=EVERY, examine=publisher.examine)
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(sealer.run(stop, publisher.wake)),
        asyncio.create_task(publisher.run(stop, sealer.doubt)),
    ]
    await write_rows(log)

    async def arrived():
        return path.exists() and 12 in sizes_in(path)

    await eventually(arrived)
    stop.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("size", [0, 3, 6])
async def test_a_restored_backup_is_not_sealed_on(log, in_file, base, size, caplog):
    """Issue: the file is ahead: nothing is sealed, loudly, until the newer database is back."""
    publisher = Publisher([in_file], Outbox(log), every=EVERY)
    await publisher.publish()
    go_back(base, size)
    sealer = build_sealer(log, every=EVERY, examine=publisher.examine)

    with pytest.raises(SealRefused, match=f"checkpoint of size 9, and the database only {size}"):
        await sealer.seal()

    stop = asyncio.Event()
    task = asyncio.create_task(sealer.run(stop))

    async def refused():
        return sealer.refusal is not None

    await eventually(refused)
    stop.set()
    await task
    assert "CRITICAL" in {record.levelname for record in caplog.records}
    assert size == await Outbox(log).size()


async def test_a_fork_is_not_sealed_on(log, in_file, base):
    """Issue: another history of the same length, or a longer base, contradicts the file."""
    publisher = Publisher([in_file], Outbox(log), every=EVERY)
    await publisher.publish()
    go_back(base, 3)
    await write_rows(log, 5)
    await seal_now(log)

    with pytest.raises(SealRefused, match="another root for size 9"):
        await seal_now(log, examine=publisher.examine)
    assert {"file": publisher.faults["file"]} == await publisher.publish()


async def test_a_contradiction_that_shows_later_ends_sealing_too(log, in_bucket, bucket):
    """Ours: a store that could not be asked at the start is compared before it gets anything."""
    forged = sign_checkpoint(
        type(parse_checkpoint((await Outbox(log).newest(AT_ONCE)).note))(ORIGIN, 6, bytes(32)),
        KEYS,
        now(),
    )
    bucket.objects[f"checkpoints/{6:020}"] = forged.encode()
    bucket.failing = "SlowDown"
    publisher = Publisher([in_bucket], Outbox(log), every=EVERY)
    sealer = build_sealer(log, every=EVERY, examine=publisher.examine)
    stop = asyncio.Event()
    tasks = [
        asyncio.create_task(sealer.run(stop, publisher.wake)),
        asyncio.create_task(publisher.run(stop, sealer.doubt)),
    ]
    await write_rows(log)

    async def sealed():
        return 12 == await Outbox(log).size()

    async def refused():
        return sealer.refusal is not None

    await eventually(sealed)
    bucket.failing = None
    await eventually(refused)
    await write_rows(log)
    bucket.objects.clear()  # as if the operator had pointed it at the right one

    async def resumed():
        return 15 == await Outbox(log).size()

    await eventually(resumed)
    stop.set()
    await asyncio.gather(*tasks)
    assert sealer.refusal is None
