"""New bundles by themselves: fetched when they change, activated once, and never believed."""

import asyncio
import hashlib
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from broker.db.engine import Database
from broker.errors import ConfigurationError
from broker.policy.activate import ActivationRefused, activate, roll_back
from broker.policy.activation import Action, Activation, Mode, Share
from broker.policy.bundle import Bundle
from broker.policy.poller import Poller, is_settled, jitter
from broker.policy.source import LAYER, MANIFEST, NewBundle, SourceFailed, open_source
from broker.policy.store import PolicyLedger
from broker.settings import BundleSource, Policy, Settings
from tests.clients.libraries import CLIENTS, NOT_RUN
from tests.fixtures.postgres import OneDatabase
from tests.loopback import Loopback, http_answer, json_answer, loopback
from tests.rolling import archive, make_bundle, saying
from tests.signing import Pair, make_pair

PAIR = make_pair()
BODY = b"a bundle, as far as a source knows"
PATH = "/bundles/broker.tar.gz"
REPOSITORY = "security/broker-policy"
BLOB = "sha256:" + hashlib.sha256(BODY).hexdigest()
REGISTRY = CLIENTS / "registry"
MANIFEST_PATH = f"/v2/{REPOSITORY}/manifests/stable"
BLOB_PATH = f"/v2/{REPOSITORY}/blobs/{BLOB}"


@pytest.fixture
async def server() -> AsyncIterator[Loopback]:
    """A server whose every answer is the test's."""
    async with loopback() as made:
        yield made


def web(server: Loopback, **overrides: Any) -> BundleSource:
    """A bundle under a URL of it."""
    values = {"url": server.url(PATH), "allow_private_network": True}
    return BundleSource(**values | overrides)


def registry(server: Loopback, **overrides: Any) -> BundleSource:
    """A tag of it, if it is a registry."""
    values = {
        "url": server.url(""),
        "repository": REPOSITORY,
        "tag": "stable",
        "allow_private_network": True,
    }
    return BundleSource(**values | overrides)


def manifest(**overrides: Any) -> dict[str, Any]:
    """An image of one layer."""
    layer = {"mediaType": LAYER, "digest": BLOB, "size": len(BODY)}
    return {"schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer | overrides]}


def binary(body: bytes = BODY, **headers: str) -> bytes:
    """An answer that is no JSON."""
    return http_answer(body, content_type="application/octet-stream", **headers)


async def failure(source: BundleSource) -> str:
    """Why there is nothing to be had."""
    with pytest.raises(SourceFailed) as caught:
        await open_source(source).fetch(None)
    return str(caught.value)


async def test_a_bundle_is_fetched_once_and_then_when_it_changes(server):
    """RFC 9110 §13.1.2: the ETag of the last one goes along, and 304 is no bundle."""
    server.answers[PATH] = binary(ETag='"one"')
    source = open_source(web(server))
    first = await source.fetch(None)
    server.answers[PATH] = http_answer(b"", status="304 Not Modified", content_type=None)
    again = await source.fetch('"one"')
    server.answers[PATH] = binary(b"another", ETag='"two"')
    changed = await source.fetch('"one"')

    assert [NewBundle(BODY, '"one"'), None, NewBundle(b"another", '"two"')] == [
        *(first, again, changed)
    ]
    assert "if-none-match" not in server.heads[0].lower()
    assert 'if-none-match: "one"' in server.heads[1].lower()


async def test_without_an_etag_a_bundle_is_known_by_what_it_is(server):
    """A plain file server is enough."""
    server.answers[PATH] = binary()
    source = open_source(web(server))
    first = await source.fetch(None)
    assert first is not None

    assert None is await source.fetch(first.tag)
    assert "if-none-match" not in server.heads[1].lower()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        pytest.param(http_answer(b"", status="404 Not Found"), "404", id="not-found"),
        pytest.param(
            http_answer(b"", status="302 Found", Location="http://127.0.0.1:1/"),
            "302",
            id="redirect",
        ),
        pytest.param(
            http_answer(b"", status="304 Not Modified", content_type=None), "304", id="304-unasked"
        ),
        pytest.param(binary(Content_Encoding="gzip"), "content_encoding", id="encoded"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n"[:10], "unreachable", id="cut-off"),
    ],
)
async def test_what_is_no_bundle_is_a_failure(server, answer, said):
    """And nothing of it is kept."""
    server.answers[PATH] = answer

    assert said in await failure(web(server))


async def test_a_bundle_beyond_the_bound_is_not_read_to_its_end(server, monkeypatch):
    """Attack: a source that sends without end."""
    monkeypatch.setattr("broker.policy.source.MAX_ARCHIVE", len(BODY) - 1)
    server.answers[PATH] = binary()

    assert "too_large" in await failure(web(server))


async def test_a_private_address_is_asked_only_if_that_is_allowed(server):
    """ATK-SSRF: the same rule as for every other document."""
    assert "not_allowed" in await failure(web(server, allow_private_network=False))
    assert [] == server.paths


@pytest.mark.parametrize("kind", ["token", "basic"])
async def test_credentials_come_from_files_and_are_shown(server, tmp_path, kind):
    """And a repr does not have them."""
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    how: dict[str, Any] = (
        {"token_file": secret}
        if kind == "token"
        else {"username": "broker", "password_file": secret}
    )
    server.answers[PATH] = binary()
    source = open_source(web(server, **how))
    await source.fetch(None)

    wanted = "Bearer s3cret" if kind == "token" else "Basic YnJva2VyOnMzY3JldA=="
    assert f"authorization: {wanted}".lower() in server.heads[0].lower()
    assert "s3cret" not in repr(source)


async def test_a_layer_is_had_by_the_digest_of_its_manifest(server):
    """OCI distribution 1.1: manifest by tag, layer by digest; the same manifest is no news."""
    server.answers[MANIFEST_PATH] = json_answer(manifest(), content_type=MANIFEST)
    server.answers[BLOB_PATH] = binary()
    source = open_source(registry(server))
    first = await source.fetch(None)

    assert first is not None
    assert (BODY, None) == (first.archive, await source.fetch(first.tag))
    assert [MANIFEST_PATH, BLOB_PATH, MANIFEST_PATH] == server.paths
    assert f"accept: {MANIFEST}" in server.heads[0].lower()


@pytest.mark.parametrize(
    ("document", "blob", "said"),
    [
        pytest.param(manifest(), binary(b"x" * len(BODY)), "not what its manifest", id="forged"),
        pytest.param(manifest(), binary(BODY[:-1]), "not what its manifest", id="cut-off"),
        pytest.param(manifest(), binary(BODY + b"more"), "too_large", id="longer"),
        pytest.param(manifest(size=1 << 40), binary(), "exactly one layer", id="too-large"),
        pytest.param(manifest(size=-1), binary(), "exactly one layer", id="no-size"),
        pytest.param(manifest(digest="sha512:00"), binary(), "exactly one layer", id="sha-512"),
        pytest.param(
            manifest(digest="../../manifests/x"), binary(), "exactly one layer", id="path"
        ),
        pytest.param(manifest(mediaType="text/plain"), binary(), "exactly one layer", id="media"),
        pytest.param(manifest() | {"layers": []}, binary(), "exactly one layer", id="no-layer"),
        pytest.param(
            manifest() | {"mediaType": "application/vnd.oci.image.index.v1+json"},
            binary(),
            "no OCI image manifest",
            id="index",
        ),
        pytest.param([], binary(), "no OCI image manifest", id="no-object"),
        pytest.param(
            manifest(), http_answer(b"", status="404 Not Found"), "for the layer", id="no-blob"
        ),
    ],
)
async def test_a_registry_is_not_believed(server, document, blob, said):
    """Attack: a manifest that leads elsewhere, and a layer that is another one."""
    server.answers[MANIFEST_PATH] = json_answer(document, content_type=MANIFEST)
    server.answers[BLOB_PATH] = blob

    assert said in await failure(registry(server))


async def test_a_registry_with_a_token_server_is_asked_as_docker_does(server, tmp_path):
    """The challenge names where; our password goes there and nowhere else."""
    password = tmp_path / "password"
    password.write_text("s3cret")
    challenge = f'Bearer realm="{server.url("/token")}",service="reg"'
    refused = http_answer(b"", status="401 Unauthorized", WWW_Authenticate=challenge)
    granted = json_answer(manifest(), content_type=MANIFEST)
    answers = iter((refused, granted))
    server.answers[MANIFEST_PATH] = lambda: next(answers)
    asked = "/token?scope=repository%3Asecurity%2Fbroker-policy%3Apull&service=reg"
    server.answers[asked] = json_answer({"token": "t0ken"})
    # A layer is often kept elsewhere: there nobody is shown our token.
    server.answers[BLOB_PATH] = http_answer(
        b"", status="307 Temporary Redirect", Location=server.url("/elsewhere")
    )
    server.answers["/elsewhere"] = binary()
    source = open_source(registry(server, username="broker", password_file=password))
    found = await source.fetch(None)
    heads = [head.lower() for head in server.heads]

    assert found is not None
    assert BODY == found.archive
    assert [MANIFEST_PATH, asked, MANIFEST_PATH, BLOB_PATH, "/elsewhere"] == server.paths
    assert "authorization: basic" in heads[1]
    assert ["bearer t0ken" in head for head in heads] == [False, False, True, True, False]


async def test_a_registry_that_redirects_without_end_is_left(server):
    """Bounded, like all else."""
    server.answers[MANIFEST_PATH] = json_answer(manifest(), content_type=MANIFEST)
    server.answers[BLOB_PATH] = http_answer(
        b"", status="307 Temporary Redirect", Location=server.url(BLOB_PATH)
    )

    assert "without end" in await failure(registry(server))


@pytest.fixture
def real_registry() -> Iterator[str]:
    """A registry that nobody here wrote."""
    if not REGISTRY.exists():
        pytest.skip(NOT_RUN.format("registry"))
    with subprocess.Popen([REGISTRY], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


async def push(url: str, content: bytes, tag: str) -> None:
    """Push a bundle as ``oras push`` does."""
    config = b"{}"
    root = f"{url}/v2/{REPOSITORY}"
    async with httpx.AsyncClient() as client:
        for each in (config, content):
            digest = "sha256:" + hashlib.sha256(each).hexdigest()
            begun = await client.post(f"{root}/blobs/uploads/")
            where = httpx.URL(url).join(begun.headers["location"])
            put = await client.put(where.copy_merge_params({"digest": digest}), content=each)
            assert 201 == put.status_code, put.text
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": "sha256:" + hashlib.sha256(config).hexdigest(),
                "size": len(config),
            },
            "layers": [
                {
                    "mediaType": LAYER,
                    "digest": "sha256:" + hashlib.sha256(content).hexdigest(),
                    "size": len(content),
                }
            ],
        }
        put = await client.put(
            f"{root}/manifests/{tag}",
            content=json.dumps(document),
            headers={"Content-Type": MANIFEST},
        )
        assert 201 == put.status_code, put.text


async def test_a_bundle_comes_from_a_real_registry(real_registry):
    """Pushed as others push, found by its tag, and found again when the tag moves."""
    source = BundleSource(
        url=real_registry, repository=REPOSITORY, tag="stable", allow_private_network=True
    )
    await push(real_registry, BODY, "stable")
    first = await open_source(source).fetch(None)
    assert first is not None
    again = await open_source(source).fetch(first.tag)
    await push(real_registry, b"another one", "stable")
    moved = await open_source(source).fetch(first.tag)

    assert (BODY, None) == (first.archive, again)
    assert moved is not None
    assert b"another one" == moved.archive


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """Two policies."""
    folder = tmp_path_factory.mktemp("sources")
    return tuple(make_bundle(folder / str(n), saying(lifetime=60 * n)) for n in (1, 2))


class Watching:
    """A process that looks at a source, and what it has recorded."""

    def __init__(self, ledger: PolicyLedger, source: BundleSource, folder: Path, pair: Pair):
        _, public = pair.write(folder)
        policy = Policy(verification={"key_file": public, "algorithm": "ES256"}, source=source)
        settings = Settings(issuer="https://broker.test", policy=policy)
        self.source = source
        self.ledger = ledger
        self.recorded: list[str] = []
        self.poller = Poller(ledger, self._record, lambda: settings)

    async def _record(self, action: str, details: Any, *, by: str) -> None:
        self.recorded.append(action)

    async def look(self) -> list[str]:
        """Look once; return the revisions that were activated so far, oldest first."""
        await self.poller.look(self.source)
        return [row.revision for row in await self.ledger.load()]


@pytest.fixture
async def ledger(fresh: OneDatabase) -> AsyncIterator[PolicyLedger]:
    database = Database(fresh.app_url)
    yield PolicyLedger(database)
    await database.aclose()


@pytest.fixture
def watching(ledger, server, tmp_path) -> Watching:
    return Watching(ledger, web(server), tmp_path, PAIR)


def serve(server: Loopback, content: bytes, tag: str) -> None:
    """Put a bundle there."""
    server.answers[PATH] = binary(content, ETag=f'"{tag}"')


async def test_a_new_bundle_is_activated_and_recorded_once(server, watching, bundles):
    """By the source as its author; what is the same is nothing new."""
    first, second = bundles
    serve(server, archive(first, PAIR.signer()), "1")
    assert [first.revision] == await watching.look()
    assert [first.revision] == await watching.look()
    serve(server, archive(second, PAIR.signer()), "2")

    assert [first.revision, second.revision] == await watching.look()
    assert ["policy.activate"] * 2 == watching.recorded
    assert {f"source {server.url(PATH)}"} == {row.by for row in await watching.ledger.load()}


async def test_what_was_rolled_back_does_not_come_back_by_itself(
    server, watching, bundles, tmp_path
):
    """Attack on the operator at night: the bundle that was taken away is there again."""
    first, second = bundles
    serve(server, archive(first, PAIR.signer()), "1")
    await watching.look()
    serve(server, archive(second, PAIR.signer()), "2")
    await watching.look()
    await roll_back(watching.ledger, watching._record, by="ops", reason="refuses checkout")
    before = [row.revision for row in await watching.ledger.load()]
    serve(server, archive(second, PAIR.signer()), "2, once more")
    restarted = Watching(watching.ledger, watching.source, tmp_path, PAIR)

    assert before == await watching.look()
    assert before == await restarted.look()
    assert first.revision == before[-1]


@pytest.mark.parametrize("fault", ["unsigned", "another-key", "broken"])
async def test_a_bundle_that_is_refused_changes_nothing_and_is_an_alarm(
    server, watching, bundles, fault
):
    """Attack: whoever has the server, or the way to it, has not the policy."""
    content = {
        "unsigned": archive(bundles[0]),
        "another-key": archive(bundles[0], make_pair().signer()),
        "broken": archive(bundles[0], PAIR.signer())[:-30],
    }[fault]
    serve(server, content, "1")

    assert [] == await watching.look()
    assert len(watching.poller.troubles) == 1
    serve(server, archive(bundles[0], PAIR.signer()), "2")
    assert [bundles[0].revision] == await watching.look()
    assert () == watching.poller.troubles


async def test_a_source_that_does_not_answer_becomes_an_alarm(server, watching, bundles):
    """Once is nothing; after some intervals somebody should look, and what is in force stays."""
    serve(server, archive(bundles[0], PAIR.signer()), "1")
    await watching.look()
    server.answers[PATH] = http_answer(b"", status="503 Service Unavailable")
    alarms = []
    for _ in range(3):
        assert [bundles[0].revision] == await watching.look()
        alarms.append(bool(watching.poller.troubles))

    assert [False, False, True] == alarms
    serve(server, archive(bundles[0], PAIR.signer()), "1")
    await watching.look()
    assert () == watching.poller.troubles


async def test_several_processes_activate_it_once(server, ledger, bundles, tmp_path):
    """Each looks for itself; the ledger has one row."""
    serve(server, archive(bundles[0], PAIR.signer()), "1")
    several = [Watching(ledger, web(server, mode="observe"), tmp_path, PAIR) for _ in range(3)]
    await asyncio.gather(*(each.look() for each in several))

    (row,) = await ledger.load()
    assert (Mode.OBSERVE, bundles[0].revision) == (row.mode, row.revision)
    assert ["policy.activate"] == [action for each in several for action in each.recorded]


async def test_what_is_tried_already_is_not_tried_twice(ledger, bundles):
    """The same revision, mode and share: refused, with nothing on record."""

    async def record(*_: object, **__: object) -> None:
        pass

    wanted: dict[str, Any] = {
        "revision": bundles[0].revision,
        "archive": archive(bundles[0]),
        "by": "ops",
        "reason": "",
    }
    await activate(ledger, record, mode=Mode.CANARY, share=Share(5), **wanted)
    with pytest.raises(ActivationRefused, match="tried already"):
        await activate(ledger, record, mode=Mode.CANARY, share=Share(5), **wanted)
    await activate(ledger, record, mode=Mode.CANARY, share=Share(10), **wanted)
    await activate(ledger, record, mode=Mode.ENFORCE, **wanted)
    with pytest.raises(ActivationRefused, match="in force already"):
        await activate(ledger, record, mode=Mode.OBSERVE, **wanted)


def test_what_somebody_activated_by_hand_is_settled():
    """Also where it was rolled back since; an older one that the source offers anew is not."""

    def row(seq: int, revision: str, by: str = "ops") -> Activation:
        return Activation(seq, Action.ACTIVATE, Mode.ENFORCE, revision, Share(), by, "", None)

    history = [row(1, "a", "source x"), row(2, "b", "source x"), row(3, "c")]

    assert [False, True, True, False] == [
        is_settled(history, "source x", revision) for revision in "abcd"
    ]


def test_processes_do_not_look_at_the_same_time():
    """Within a fifth of the interval, spread."""
    every = web(Loopback(port=1)).every
    waits = {jitter(every) for _ in range(100)}

    assert len(waits) > 50
    assert all(0.8 <= wait / every.total_seconds() <= 1.2 for wait in waits)


def test_a_file_that_is_not_there_is_said_by_its_key(tmp_path):
    """And not as a failure of the network."""
    with pytest.raises(ConfigurationError, match="token_file"):
        open_source(web(Loopback(port=1), token_file=tmp_path / "none"))
