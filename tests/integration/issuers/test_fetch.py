"""The guarded fetch over real sockets and real TLS."""

import json
import time

import pytest

from broker.issuers.fetch import FetchFailed, FetchFault, GuardedFetcher, build_tls
from tests.loopback import certificate, http_answer, json_answer, loopback

DOCUMENT = {"keys": []}


@pytest.fixture(scope="module")
def tls():
    """The trust anchors that everybody has."""
    return build_tls()


async def loopback_only(host: str, port: int) -> tuple[str, ...]:
    """A resolver for which every name is this machine."""
    return ("127.0.0.1",)


async def fault(fetcher: GuardedFetcher, url: str) -> FetchFault:
    """Why a fetch fails."""
    with pytest.raises(FetchFailed) as caught:
        await fetcher.fetch(url)
    return caught.value.fault


async def test_a_document_is_fetched_from_loopback_where_that_is_allowed(tls):
    """The honest twin of all that follows; the query is sent, the Host header names the host."""
    async with loopback({"/jwks?v=1": json_answer(DOCUMENT)}) as server:
        fetcher = GuardedFetcher(tls, allow_private_network=True)
        body = await fetcher.fetch(server.url("/jwks?v=1", host="localhost"))

    assert (DOCUMENT, [f"localhost:{server.port}"]) == (json.loads(body), server.hosts)


@pytest.mark.row("ATK-SSRF-03")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(http_answer(b"", status="302 Found", Location="/x"), "redirect", id="302"),
        pytest.param(http_answer(b"{}", status="500 Oops"), "status", id="500"),
        pytest.param(http_answer(b"{}", status="204 No Content"), "status", id="204"),
        pytest.param(
            http_answer(b"<html>", content_type="text/html"), "content_type", id="200-with-html"
        ),
        pytest.param(http_answer(b"{}", content_type=None), "content_type", id="no-content-type"),
        pytest.param(
            json_answer(DOCUMENT, Content_Encoding="gzip"), "content_encoding", id="gzip-bomb"
        ),
        pytest.param(http_answer(b"x" * 262_145), "too_large", id="one-byte-too-many"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000, "unreachable", id="huge-header"),
        pytest.param(b"not http at all\r\n\r\n", "unreachable", id="not-http"),
        pytest.param(b"", "unreachable", id="closed-at-once"),
    ],
)
async def test_a_hostile_answer_is_not_read(tls, answer, expected):
    """ATK-SSRF-03: bounded in size, JSON only, nothing followed."""
    async with loopback({"/jwks": answer}) as server:
        fetcher = GuardedFetcher(tls, allow_private_network=True)

        assert expected == await fault(fetcher, server.url("/jwks"))
        assert ["/jwks"] == server.paths


async def test_the_largest_document_is_read(tls):
    """The bound is inclusive."""
    async with loopback({"/": http_answer(b"x" * 262_144)}) as server:
        fetcher = GuardedFetcher(tls, allow_private_network=True)

        assert 262_144 == len(await fetcher.fetch(server.url("")))


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "application/jwk-set+json", "APPLICATION/JSON"],
)
async def test_json_has_several_media_types(tls, content_type):
    """RFC 7517 §8.5, RFC 6839 §3.1."""
    async with loopback({"/": json_answer(DOCUMENT, content_type=content_type)}) as server:
        fetcher = GuardedFetcher(tls, allow_private_network=True)

        assert DOCUMENT == json.loads(await fetcher.fetch(server.url("/")))


@pytest.mark.row("MD-6-01")
async def test_tls_is_checked_against_the_host_of_the_url(tls, tmp_path):
    """RFC 8414 §6.1: the pinned address changes nothing about whose certificate it must be."""
    context, anchor = certificate(tmp_path, "idp.test")
    async with loopback({"/jwks": json_answer(DOCUMENT)}, tls=context) as server:
        options = {"allow_private_network": True, "resolve": loopback_only}
        trusting = GuardedFetcher(build_tls(anchor), **options)
        body = await trusting.fetch(server.url("/jwks", host="idp.test"))
        another_host = await fault(trusting, server.url("/jwks", host="other.test"))
        self_signed = await fault(GuardedFetcher(tls, **options), server.url("/jwks", "idp.test"))

    assert DOCUMENT == json.loads(body)
    assert (FetchFault.TLS, FetchFault.TLS) == (another_host, self_signed)
    assert [f"idp.test:{server.port}"] == server.hosts


async def test_the_next_address_of_a_host_is_tried(tls):
    """A host with an address that does not answer is not down."""

    async def two(host: str, port: int) -> tuple[str, ...]:
        return ("127.0.0.2", "127.0.0.1")

    async with loopback({"/": json_answer(DOCUMENT)}) as server:
        fetcher = GuardedFetcher(tls, allow_private_network=True, resolve=two)

        assert DOCUMENT == json.loads(await fetcher.fetch(server.url("/", host="two.test")))


async def test_nobody_there_is_unreachable_at_once(tls):
    """No retry, no waiting."""
    async with loopback() as server:
        url = server.url("/")
    began = time.monotonic()

    assert FetchFault.UNREACHABLE == await fault(
        GuardedFetcher(tls, allow_private_network=True), url
    )
    assert time.monotonic() - began < 20


async def test_the_environment_names_no_proxy(tls, monkeypatch):
    """ATK-SSRF: what the process was started with does not redirect a fetch."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with loopback({"/": json_answer(DOCUMENT)}) as server:
        fetcher = GuardedFetcher(tls, allow_private_network=True)

        assert DOCUMENT == json.loads(await fetcher.fetch(server.url("/")))
