"""The configured clients: found by exact id, their keys kept fresh and kept over a reload."""

import asyncio

import pytest

from broker.clients.registry import ClientRegistry
from broker.errors import ConfigurationError
from broker.issuers.fetch import FetchFault
from broker.issuers.jwks import COOLDOWN, KeysUnavailable
from broker.settings import Settings
from tests.configuration import document, secret
from tests.jwts import CLIENT_KEY, STRANGERS_KEY, public_jwk
from tests.loopback import http_answer, json_answer, loopback


def configured(*clients: dict, **options) -> ClientRegistry:
    """A registry of these clients, and ``svc-a``."""
    first = {"id": "svc-a", "secrets": [document()["clients"][0]["secrets"][0]]}
    issuers = [each | {"clients": ["*"]} for each in document()["issuers"]]
    body = document(clients=[first, *clients], targets=[], issuers=issuers)
    return ClientRegistry(Settings.model_validate(body), **options)


def keyed(**settings) -> dict:
    """A client that signs its assertions."""
    return {"id": "k", "auth": "private_key_jwt", "allow_private_network": True} | settings


def answer(*keys) -> bytes:
    """A JWK set as a server answers it."""
    return json_answer({"keys": [public_jwk(key, alg="ES256") for key in keys]})


def test_a_client_is_found_by_its_exact_id():
    """RFC 6749 §2.2: unique, and no spelling of it is another's."""
    registry = configured()

    assert ["svc-a"] == [each.client.id for each in registry]
    assert registry.find("svc-a").secrets.match(secret("svc-a"))
    assert [None] * 4 == [registry.find(each) for each in ("SVC-A", "svc-a ", "", "svc-\u0430")]


def test_nobody_has_a_secret():
    """OA-2.3-06: what an unknown client is compared with fits nothing."""
    assert not configured().nobody.match(secret("svc-a"))


@pytest.mark.parametrize(
    "jwks",
    [{"keys": []}, {"keys": [{"kty": "EC"}]}, {"keys": [public_jwk(CLIENT_KEY, use="enc")]}],
    ids=["empty", "broken", "for-encryption"],
)
def test_inline_keys_that_verify_nothing_do_not_start(jwks):
    """Before traffic finds out, by the client's name."""
    with pytest.raises((ConfigurationError, ValueError), match="jwks"):
        configured(keyed(jwks=jwks))


@pytest.mark.row("CA-J-01", "CA-3-11")
async def test_keys_are_taken_from_a_file_or_a_uri(tmp_path):
    """RFC 7591 §2: by value or by reference."""
    file = tmp_path / "jwks.json"
    file.write_bytes(answer(CLIENT_KEY).partition(b"\r\n\r\n")[2])
    async with loopback({"/jwks": answer(CLIENT_KEY)}) as server:
        registry = configured(
            keyed(jwks_uri=server.url("/jwks")), keyed(id="f", jwks_file=str(file))
        )
        await registry.load_all()
        kids = {registry.find(each).keys.at_hand(None, "ES256").kids for each in ("k", "f")}
        await registry.aclose()

    assert {frozenset({public_jwk(CLIENT_KEY)["kid"]})} == kids


@pytest.mark.row("CA-J-01", "ATK-KID-03", "D-12")
async def test_nobody_unauthenticated_waits_for_a_client_s_server():
    """Design §2: what is at hand serves; a rotated key is fetched behind the request."""
    now = [0.0]
    old, new = (public_jwk(key)["kid"] for key in (CLIENT_KEY, STRANGERS_KEY))
    async with loopback({"/jwks": answer(CLIENT_KEY)}) as server:
        registry = configured(keyed(jwks_uri=server.url("/jwks")), monotonic=lambda: now[0])
        keys = registry.find("k").keys
        with pytest.raises(KeysUnavailable):
            keys.at_hand(old, "ES256")
        await keys.refresh()
        assert {old} == keys.at_hand(old, "ES256").kids

        server.answers["/jwks"] = answer(STRANGERS_KEY)
        now[0] += COOLDOWN
        assert {old} == keys.at_hand(new, "ES256").kids
        await asyncio.wait({keys._task})
        for number in range(100):
            assert {new} == keys.at_hand(f"unknown-{number}", "ES256").kids
        await registry.aclose()

    assert ["/jwks"] * 2 == server.paths


@pytest.mark.row("CA-J-01", "ATK-SSRF-01")
@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"allow_private_network": False, "jwks_uri": "https://127.0.0.1:1/"}, "address"),
        ({"jwks_uri": "https://127.0.0.1:1/"}, "unreachable"),
    ],
    ids=["a-private-address", "nobody-there"],
)
async def test_a_client_s_keys_are_fetched_with_the_same_guard(settings, fault):
    """ATK-SSRF-01: as an issuer's."""
    registry = configured(keyed(**settings))
    await registry.load_all()
    found = registry.find("k").keys.fault
    await registry.aclose()

    assert {
        "address": FetchFault.ADDRESS_NOT_ALLOWED,
        "unreachable": FetchFault.UNREACHABLE,
    }[fault] == found


@pytest.mark.row("CA-J-01", "OP-08")
async def test_a_reload_keeps_what_was_fetched_in_the_same_way():
    """OP-08: also while the client's server is down; another URI starts anew."""
    async with loopback({"/jwks": answer(CLIENT_KEY)}) as server:
        same = keyed(jwks_uri=server.url("/jwks"))
        first = configured(same)
        await first.load_all()
        server.answers["/jwks"] = http_answer(b"", status="500 Internal Server Error")
        kept = configured(same | {"assertion_audience": "endpoint"}, previous=first)
        moved = configured(same | {"jwks_uri": server.url("/other")}, previous=first)
        algorithms = configured(same | {"algorithms": ["ES384"]}, previous=first)
        loaded = [each.find("k").keys.loaded for each in (kept, moved, algorithms)]
        await first.aclose()

    assert [True, False, False] == loaded


@pytest.mark.row("CA-D-01")
async def test_a_client_that_was_removed_is_nobody():
    """CA-D-01: from the reload on, whatever was fetched for it."""
    first = configured(keyed(jwks={"keys": [public_jwk(CLIENT_KEY)]}))
    second = configured(previous=first)

    assert (True, True) == (first.find("k") is not None, second.find("k") is None)


async def test_the_background_task_ends_when_told_and_leaves_nothing():
    """Graceful stop: no task stays behind."""
    async with loopback({"/jwks": answer(CLIENT_KEY)}) as server:
        registry = configured(keyed(jwks_uri=server.url("/jwks")))
        stop = asyncio.Event()
        task = asyncio.create_task(registry.run(stop))
        while not registry.find("k").keys.loaded:  # noqa: ASYNC110 — a load tells nobody
            await asyncio.sleep(0.01)
        stop.set()
        await asyncio.wait_for(task, 5)

    assert ["/jwks"] == server.paths
