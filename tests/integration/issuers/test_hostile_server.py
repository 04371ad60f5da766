"""A key server that means harm: endless, enormous, compressed, or behind old or bad TLS."""

import asyncio
import gzip
import ssl
import time
import tracemalloc

import pytest

from broker.issuers.fetch import (
    FETCH_DEADLINE,
    MAX_DOCUMENT,
    FetchFailed,
    FetchFault,
    GuardedFetcher,
    build_tls,
)
from broker.issuers.jwks import COOLDOWN
from broker.settings import TrustedIssuer
from tests.jwts import IDP, KEYS, public_jwk
from tests.loopback import certificate, http_answer, json_answer, loopback
from tests.verification import registry

MiB = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


async def loopback_only(host: str, port: int) -> tuple[str, ...]:
    """A resolver for which every host is this machine."""
    return ("127.0.0.1",)


async def fault(fetcher: GuardedFetcher, url: str) -> FetchFault:
    """Why a fetch fails."""
    with pytest.raises(FetchFailed) as caught:
        await fetcher.fetch(url)
    return caught.value.fault


def endless(head: bytes, piece: bytes):
    """An answer that never ends, as fast as it is read."""

    async def answer():
        yield head
        while True:
            yield piece

    return answer


@pytest.mark.row("ATK-SSRF-03")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(endless(HEAD + b"\r\n", b"x" * 65_536), "too_large", id="until-it-closes"),
        pytest.param(
            endless(HEAD + b"Content-Length: 1073741824\r\n\r\n", b" " * 65_536),
            "too_large",
            id="1-gb-by-its-length",
        ),
        pytest.param(
            endless(
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"ffff\r\n" + b"x" * 65_535 + b"\r\n"
            ),
            "too_large",
            id="chunks-without-end",
        ),
        pytest.param(
            endless(b"HTTP/1.1 200 OK\r\n", b"X-Header: x\r\n" * 5000),
            "unreachable",
            id="endless-headers",
        ),
        pytest.param(
            endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2500), "timeout", id="endless-continues"
        ),
    ],
)
async def test_what_never_ends_is_left_and_fills_no_memory(answer, expected):
    """ATK-SSRF-03, drill 6: at most the bound is held, and never longer than the deadline."""
    fetcher = GuardedFetcher(build_tls(), allow_private_network=True)
    async with loopback({"/": answer}) as server:
        tracemalloc.start()
        began = time.monotonic()
        found = await fault(fetcher, server.url("/"))
        spent = time.monotonic() - began
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert found in {FetchFault(expected), FetchFault.TIMEOUT}
    assert spent < 3 * FETCH_DEADLINE  # traced, and the server takes its part of the time
    assert peak < 16 * MiB


@pytest.mark.row("ATK-SSRF-03")
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip", "x"])
async def test_a_compressed_answer_is_not_unfolded(encoding):
    """ATK-SSRF-03: nobody asked for one; 100 MB of it would be a hundred kilobytes."""
    bomb = gzip.compress(bytes(100 * MiB), 1)[:100_000]
    answer = http_answer(bomb, Content_Encoding=encoding)
    async with loopback({"/": answer}) as server:
        fetcher = GuardedFetcher(build_tls(), allow_private_network=True)

        assert FetchFault.CONTENT_ENCODING == await fault(fetcher, server.url("/"))


@pytest.mark.row("ATK-SSRF-03")
async def test_a_million_keys_are_not_read():
    """ATK-SSRF-03: as many as fit into the largest document are too many."""
    keys = b'{"keys":[' + b",".join([b"{}"] * ((MAX_DOCUMENT - 20) // 3)) + b"]}"
    async with loopback({"/jwks": http_answer(keys)}) as server:
        trusted = TrustedIssuer.model_validate(
            {
                "issuer": IDP,
                "alias": "idp",
                "algorithms": ["ES256"],
                "jwks_uri": server.url("/jwks"),
                "allow_private_network": True,
            }
        )
        source = registry([trusted]).key_source(trusted)
        await source.refresh()

    assert (False, FetchFault.NOT_A_KEY_SET) == (source.loaded, source.fault)


@pytest.mark.row("MD-6-01", "OP-07")
def test_tls_is_1_2_or_newer_with_names_and_certificates_checked():
    """RFC 8414 §6.1, BCP 195: and a file of anchors takes no check away."""
    context = build_tls()

    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert (True, ssl.CERT_REQUIRED) == (context.check_hostname, context.verify_mode)


@pytest.mark.row("MD-6-01")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_a_server_without_tls_1_2_is_not_talked_to(tmp_path):
    """RFC 8414 §6.1: also where its certificate is good."""
    context, anchor = certificate(tmp_path, "idp.test")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    fetcher = GuardedFetcher(build_tls(anchor), allow_private_network=True, resolve=loopback_only)
    async with loopback({"/": json_answer({})}, tls=context) as server:
        found = await fault(fetcher, server.url("/", "idp.test"))

    assert (FetchFault.TLS, []) == (found, server.paths)


@pytest.mark.row("ATK-KID-03", "ATK-SSRF-03")
async def test_a_flood_of_kids_against_a_hanging_server_is_one_connection():
    """Drill 7: a thousand callers at once wait for one load, and none begins another."""
    now = [0.0]

    async def hang():
        yield HEAD
        await asyncio.sleep(60)

    async with loopback({"/jwks": hang}) as server:
        trusted = TrustedIssuer.model_validate(
            {
                "issuer": IDP,
                "alias": "idp",
                "algorithms": ["ES256"],
                "jwks_uri": server.url("/jwks"),
                "allow_private_network": True,
            }
        )
        source = registry([trusted], monotonic=lambda: now[0]).key_source(trusted)
        outcomes = await asyncio.gather(
            *(source.keys(f"unknown-{number}", "ES256") for number in range(1000)),
            return_exceptions=True,
        )
        server.answers["/jwks"] = json_answer({"keys": [public_jwk(KEYS[IDP])]})
        now[0] += COOLDOWN
        found = await source.keys(public_jwk(KEYS[IDP])["kid"], "ES256")

    assert {"timeout"} == {str(outcome) for outcome in outcomes}
    assert (1, ["/jwks"] * 2) == (len(found), server.paths)
