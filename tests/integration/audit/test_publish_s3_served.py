"""Checkpoints in a real S3-compatible store: what it makes of them, and what it refuses.

The store is a server that nobody here wrote (``scripts/install_object_store.py``). The broker comes
as a user that may do what ``docs/how-to/seal-the-trail.md`` asks for, and nothing else.
"""

from contextlib import closing
from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from broker.audit.checkpoint import parse_checkpoint, verify_checkpoint
from broker.audit.publish.outbox import Outbox
from broker.audit.publish.s3 import ObjectSink
from broker.audit.publish.sink import Contradiction, SinkUnavailable
from broker.settings.audit import ObjectStore
from tests.audit import now
from tests.fixtures.object_store import BROKER, OWNER, Credentials
from tests.fixtures.postgres import execute
from tests.sealing import KEYS, ORIGIN, go_back, seal_now, write_rows

AT_ONCE = timedelta(0)
BUCKET, RETAIN = "checkpoints", timedelta(days=400)
FIRST = f"checkpoints/{3:020}"


@pytest.fixture
def credentials(monkeypatch):
    """Say whose credentials the broker finds, as every tool finds them."""

    def take(who):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", who.id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", who.secret)

    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    take(BROKER)
    return take


@pytest.fixture
def locked(store):
    """The store with a bucket that has object lock."""
    store.make_bucket(BUCKET, locked=True)
    return store


@pytest.fixture
async def open_sink(credentials):
    """Open sinks, as brokers that start."""
    opened = []

    def open_one(store):
        settings = {"bucket": BUCKET, "endpoint_url": store.url, "retain": "400d"}
        opened.append(ObjectSink(ObjectStore.model_validate(settings)))
        return opened[-1]

    yield open_one
    for sink in opened:
        await sink.aclose()


def versions(store):
    """Each version of each object, by its key."""
    with closing(store.client()) as client:
        found = client.list_object_versions(Bucket=BUCKET)
        return [(each["Key"], each["VersionId"]) for each in found.get("Versions", ())]


def code_of(error):
    return error.value.response["Error"]["Code"]


async def test_every_checkpoint_is_an_object_under_lock(log, locked, open_sink):
    """Issue: COMPLIANCE, for as long as configured, and it verifies by its key."""
    assert 3 == await open_sink(locked).catch_up(Outbox(log), AT_ONCE)

    assert [f"checkpoints/{size:020}" for size in (3, 6, 9)] == [key for key, _ in versions(locked)]
    with closing(locked.client()) as client:
        for key, version in versions(locked):
            one = {"Bucket": BUCKET, "Key": key, "VersionId": version}
            note = client.get_object(**one)["Body"].read().decode()
            lock = client.get_object_retention(**one)["Retention"]
            assert key == f"checkpoints/{verify_checkpoint(note, KEYS.public, ORIGIN).size:020}"
            left = lock["RetainUntilDate"] - now()
            assert "COMPLIANCE" == lock["Mode"]
            assert RETAIN - timedelta(minutes=5) < left <= RETAIN


async def test_nobody_changes_or_deletes_one_before_its_time(log, locked, open_sink):
    """Neither the broker nor whom the store belongs to: the store itself refuses."""
    await open_sink(locked).catch_up(Outbox(log), AT_ONCE)
    version = dict(versions(locked))[FIRST]
    sooner = {"Mode": "COMPLIANCE", "RetainUntilDate": now() + timedelta(days=1)}
    one = {"Bucket": BUCKET, "Key": FIRST, "VersionId": version}
    for who in (BROKER, OWNER):
        with closing(locked.client(who)) as client:
            with pytest.raises(ClientError) as deleting:
                client.delete_object(**one)
            with pytest.raises(ClientError) as bypassing:
                client.delete_object(**one, BypassGovernanceRetention=True)
            with pytest.raises(ClientError) as shortening:
                client.put_object_retention(**one, Retention=sooner)
            assert {"AccessDenied"} == {code_of(deleting), code_of(bypassing), code_of(shortening)}

    assert (FIRST, version) in versions(locked)


async def test_what_is_put_over_one_leaves_it_where_it_is(log, locked, open_sink, base):
    """The oldest version of each counts, as the how-to says; and a broker notices."""
    outbox = Outbox(log)
    await open_sink(locked).catch_up(outbox, AT_ONCE)
    version = dict(versions(locked))[FIRST]
    with closing(locked.client(BROKER)) as client:
        client.put_object(Bucket=BUCKET, Key=FIRST, Body=b"nothing of ours")
    with closing(locked.client()) as client:
        found = client.get_object(Bucket=BUCKET, Key=FIRST, VersionId=version)["Body"].read()

    assert 3 == parse_checkpoint(found.decode()).size
    execute(base.superuser_url, "DELETE FROM audit_cursor WHERE name = 'publish:s3'")
    with pytest.raises(Contradiction, match="is no checkpoint"):
        await open_sink(locked).examine(outbox)


async def test_after_a_crash_it_goes_on_and_writes_nothing_twice(log, locked, open_sink, base):
    """Both die, between an object and its cursor, and start again."""
    outbox = Outbox(log)
    await open_sink(locked).catch_up(outbox, AT_ONCE)
    before = versions(locked)
    execute(base.superuser_url, "DELETE FROM audit_cursor WHERE name = 'publish:s3'")
    locked.kill()
    with pytest.raises(SinkUnavailable):
        await open_sink(locked).catch_up(outbox, AT_ONCE)
    locked.start()

    again = open_sink(locked)
    await again.examine(outbox)
    await write_rows(log)
    await seal_now(log)
    assert 4 == await again.catch_up(outbox, AT_ONCE)
    assert before == [one for one in versions(locked) if one[0] != f"checkpoints/{12:020}"]
    assert 4 == len(versions(locked))


async def test_a_database_that_went_back_is_noticed(log, locked, open_sink, base):
    """What is locked there is beyond it."""
    outbox = Outbox(log)
    await open_sink(locked).catch_up(outbox, AT_ONCE)
    go_back(base, 3)

    with pytest.raises(Contradiction, match="the database only has 3"):
        await open_sink(locked).examine(outbox)


@pytest.mark.parametrize(
    ("who", "code"),
    [
        pytest.param(
            Credentials(BROKER.id, "another-secret"), "SignatureDoesNotMatch", id="another-secret"
        ),
        pytest.param(Credentials("nobody", "a-secret"), "InvalidAccessKeyId", id="nobody-known"),
    ],
)
async def test_wrong_credentials_are_told_by_their_code(
    log, locked, open_sink, credentials, who, code
):
    """Without the secret; and with the right ones everything arrives."""
    credentials(who)
    with pytest.raises(SinkUnavailable, match=f"^{BUCKET}: {code}$"):
        await open_sink(locked).catch_up(Outbox(log), AT_ONCE)

    credentials(BROKER)
    assert 3 == await open_sink(locked).catch_up(Outbox(log), AT_ONCE)


async def test_a_bucket_without_object_lock_is_no_place_outside(log, store, open_sink):
    """What could be deleted proves nothing; also where the store keeps what it has refused."""
    store.make_bucket(BUCKET, locked=False)
    outbox, sink = Outbox(log), open_sink(store)
    with pytest.raises(SinkUnavailable, match=f"^{BUCKET}: InvalidRequest$"):
        await sink.catch_up(outbox, AT_ONCE)
    for again in (sink, open_sink(store)):
        with pytest.raises(SinkUnavailable, match="has to be made with object lock"):
            await again.catch_up(outbox, AT_ONCE)

    assert 0 == await outbox.cursor("s3")


async def test_a_bucket_that_is_not_there_is_named(log, store, open_sink):
    """It is not made: whoever makes it decides on its lock."""
    with pytest.raises(SinkUnavailable, match=f"^{BUCKET}: NoSuchBucket$"):
        await open_sink(store).catch_up(Outbox(log), AT_ONCE)
