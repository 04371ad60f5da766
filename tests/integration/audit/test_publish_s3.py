"""Checkpoints in an object store: the client's half of the contract, against recorded requests.

No real store answers here: ``tests/buckets.py`` says what this shows, and what it does not. One
does in ``test_publish_s3_served.py``.
"""

from datetime import timedelta

import pytest

from broker.audit.checkpoint import parse_checkpoint, sign_checkpoint
from broker.audit.publish.outbox import Outbox
from broker.audit.publish.sink import Contradiction, SinkUnavailable
from tests.audit import now
from tests.buckets import sizes_of
from tests.fixtures.postgres import execute
from tests.sealing import KEYS, ORIGIN, go_back, seal_now, write_rows

AT_ONCE = timedelta(0)
LOCK_MODE = "x-amz-object-lock-mode"


async def test_s3_client_contract_every_checkpoint_is_an_object_that_nobody_can_change(
    log, in_bucket, bucket
):
    """Issue: one object a checkpoint, never overwritten, locked. The client's half, recorded."""
    assert 3 == await in_bucket.catch_up(Outbox(log), AT_ONCE)

    assert [3, 6, 9] == sizes_of(bucket)
    assert f"checkpoints/{3:020}" in bucket.objects
    assert parse_checkpoint(bucket.objects[f"checkpoints/{9:020}"].decode()).origin == ORIGIN
    for headers in bucket.puts():
        assert "*" == headers["if-none-match"]
        assert "COMPLIANCE" == headers[LOCK_MODE]
        assert (now() + timedelta(days=400)).isoformat()[:10] == headers[
            "x-amz-object-lock-retain-until-date"
        ][:10]
        assert headers["content-md5"]
        assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=an-id/")


async def test_s3_client_contract_an_object_that_is_there_already_has_arrived(
    log, in_bucket, bucket, base
):
    """Ours: after a crash between object and cursor it is compared, and counts; others' is not."""
    outbox = Outbox(log)
    await in_bucket.catch_up(outbox, AT_ONCE)
    execute(base.superuser_url, "DELETE FROM audit_cursor WHERE name = 'publish:s3'")
    bucket.objects["checkpoints/README"] = b"what this is"
    before = dict(bucket.objects)

    await in_bucket.examine(outbox)
    assert 3 == await in_bucket.catch_up(outbox, AT_ONCE)
    assert before == bucket.objects


async def test_s3_client_contract_another_checkpoint_in_its_place_is_a_fork(log, in_bucket, bucket):
    """Ours: what is locked there is true; a database that says otherwise is not sealed on."""
    head = parse_checkpoint((await Outbox(log).newest(AT_ONCE)).note)
    forged = sign_checkpoint(type(head)(ORIGIN, 6, bytes(32)), KEYS, now())
    bucket.objects[f"checkpoints/{6:020}"] = forged.encode()

    with pytest.raises(Contradiction, match="another root for size 6"):
        await in_bucket.catch_up(Outbox(log), AT_ONCE)
    with pytest.raises(Contradiction, match="another root for size 6"):
        await in_bucket.examine(Outbox(log))


async def test_s3_client_contract_a_restored_backup_is_noticed(log, in_bucket, bucket, base):
    """Issue: objects beyond the database; also after it has grown past them another way."""
    outbox = Outbox(log)
    await in_bucket.catch_up(outbox, AT_ONCE)
    go_back(base, 3)
    with pytest.raises(Contradiction, match="the database only has 3"):
        await in_bucket.examine(outbox)

    # Sealed on by somebody who could not see it.
    await write_rows(log, 8)
    await seal_now(log)
    with pytest.raises(Contradiction, match="another root for size 6"):
        await in_bucket.examine(outbox)


@pytest.mark.parametrize("code", ["AccessDenied", "InvalidRequest", "NoSuchBucket"])
async def test_s3_client_contract_a_refusal_is_told_by_its_code(log, in_bucket, bucket, code):
    """Ours: without credentials in the text; and later everything arrives."""
    bucket.failing = code
    with pytest.raises(SinkUnavailable, match=f"checkpoints-bucket: {code}") as caught:
        await in_bucket.catch_up(Outbox(log), AT_ONCE)
    assert "a-secret" not in str(caught.value)

    bucket.failing = None
    assert 3 == await in_bucket.catch_up(Outbox(log), AT_ONCE)


@pytest.mark.parametrize("mode", ["GOVERNANCE", ""])
async def test_s3_client_contract_a_store_that_does_not_lock_is_no_place(
    log, in_bucket, bucket, mode
):
    """Ours: one that takes the words and does nothing; also for what is there already."""
    bucket.mode = mode
    for _ in range(2):
        with pytest.raises(SinkUnavailable, match="has to be made with object lock"):
            await in_bucket.catch_up(Outbox(log), AT_ONCE)

    bucket.mode = "COMPLIANCE"
    assert 3 == await in_bucket.catch_up(Outbox(log), AT_ONCE)
