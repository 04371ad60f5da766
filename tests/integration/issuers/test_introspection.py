"""Questions about tokens over real sockets: to one checked address, and bounded in every way."""

import asyncio
import base64
import ssl
import time

import pytest

from broker.issuers.fetch import MAX_ANSWER, FetchFault, build_tls
from broker.issuers.introspection import Introspector, NotAnswered, build_introspector
from broker.settings import Introspection
from tests.introspecting import (
    CLIENT_ID,
    CLIENT_SECRET,
    ENDPOINT,
    INACTIVE,
    active,
    endpoint,
    introspection,
    silence,
)
from tests.loopback import certificate, drip, http_answer, json_answer, loopback

TOKEN = "idp_at_a+b/c=="


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    """The trust anchors that everybody has."""
    return build_tls()


def asking(server, tls, **settings) -> Introspector:
    """Who asks that server."""
    resolve = settings.pop("resolve", None)
    found = Introspection.model_validate(introspection(server, **settings))
    more = {} if resolve is None else {"resolve": resolve}
    return build_introspector("idp", found, tls=tls, **more)


async def fault(introspector: Introspector) -> FetchFault:
    """Why there is no answer."""
    with pytest.raises(NotAnswered) as caught:
        await introspector.ask(TOKEN)
    return caught.value.fault


async def test_the_question_is_a_form_with_our_credentials(tls):
    """RFC 7662 §2.1, RFC 6749 §2.3.1: id and secret are form-encoded before they are joined."""
    async with endpoint() as issuer:
        issuer.tokens[TOKEN] = active()
        claims = await asking(issuer.server, tls).ask(TOKEN)
        (head,), (body,) = issuer.server.heads, issuer.server.bodies

    lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    lower = {name.lower(): value for name, value in lines.items()}
    pair = base64.b64decode(lower["authorization"].removeprefix("Basic ")).decode()
    assert ("alice", [TOKEN]) == (claims["sub"], issuer.asked)
    assert head.startswith(f"POST {ENDPOINT} HTTP/1.1\r\n")
    assert "application/x-www-form-urlencoded" == lower["content-type"]
    assert "broker%3A+at+the+idp:a+secret%2Fwith%2Bsigns%25" == pair
    assert b"token=idp_at_a%2Bb%2Fc%3D%3D&token_type_hint=access_token" == body
    assert CLIENT_ID not in head
    assert CLIENT_SECRET not in head


async def test_a_token_that_is_not_known_is_not_active(tls):
    """RFC 7662 §2.2: which says nothing of why."""
    async with endpoint() as issuer:
        assert await asking(issuer.server, tls).ask(TOKEN) is None


@pytest.mark.row("ATK-SSRF-03")
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        pytest.param(http_answer(b"", status="302 Found", Location="/x"), "redirect", id="302"),
        pytest.param(
            http_answer(b"", status="307 Temporary Redirect", Location="/x"), "redirect", id="307"
        ),
        pytest.param(http_answer(b"{}", status="500 Oops"), "status", id="500"),
        pytest.param(json_answer(active(), status="401 No"), "status", id="401"),
        pytest.param(json_answer(active(), status="201 Created"), "status", id="201"),
        pytest.param(http_answer(b"<html>", content_type="text/html"), "content_type", id="html"),
        pytest.param(
            json_answer(active(), content_type="application/token-introspection+jwt"),
            "content_type",
            id="a-jwt-of-rfc-9701",
        ),
        pytest.param(json_answer({}, Content_Encoding="gzip"), "content_encoding", id="gzip"),
        pytest.param(http_answer(b" " * (MAX_ANSWER + 1)), "too_large", id="a-byte-too-many"),
        pytest.param(http_answer(b"{"), "not_an_answer", id="broken-json"),
        pytest.param(b"not http\r\n\r\n", "unreachable", id="not-http"),
        pytest.param(b"", "unreachable", id="closed-at-once"),
    ],
)
async def test_a_hostile_answer_is_none(tls, answer, expected):
    """ATK-SSRF-03: bounded, JSON only; a redirect would have carried token and secret on."""
    async with endpoint() as issuer:
        issuer.answer = answer

        assert expected == await fault(asking(issuer.server, tls))
        assert [ENDPOINT] == issuer.server.paths


async def test_the_largest_answer_is_read(tls):
    """The bound is inclusive."""
    async with endpoint() as issuer:
        text = json_answer(active()).partition(b"\r\n\r\n")[2]
        issuer.answer = http_answer(text.ljust(MAX_ANSWER))

        assert "alice" == (await asking(issuer.server, tls).ask(TOKEN))["sub"]


@pytest.mark.row("ATK-SSRF-03")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(silence, id="silent"),
        pytest.param(
            lambda: drip(json_answer({}).partition(b"\r\n\r\n")[0], b"\r\n" * 1000, 0.05),
            id="a-byte-at-a-time",
        ),
    ],
)
async def test_a_slow_answer_costs_the_deadline(tls, answer):
    """Configured, and for all of it together."""
    async with endpoint() as issuer:
        issuer.answer = answer
        began = time.monotonic()

        assert FetchFault.TIMEOUT == await fault(asking(issuer.server, tls, deadline="200ms"))
    assert time.monotonic() - began < 20


async def test_nobody_there_is_unreachable(tls):
    """And after five times nobody is asked."""
    async with endpoint() as issuer:
        introspector = asking(issuer.server, tls)
    faults = [await fault(introspector) for _ in range(6)]

    assert ["unreachable"] * 5 + ["not_asked"] == faults


@pytest.mark.row("ATK-SSRF-01")
async def test_a_private_address_is_not_asked_unless_that_is_meant(tls):
    """ATK-SSRF-01: neither by name nor by what the name leads to."""

    async def private(host: str, port: int) -> tuple[str, ...]:
        return ("10.0.0.7",)

    async with endpoint() as issuer:
        named = {"endpoint": "https://idp.test/introspect", "allow_private_network": False}
        introspector = asking(issuer.server, tls, resolve=private, **named)

        assert FetchFault.ADDRESS_NOT_ALLOWED == await fault(introspector)
        assert [] == issuer.server.paths


@pytest.mark.row("MD-6-01")
async def test_token_and_secret_are_sent_to_nobody_else(tls, tmp_path):
    """The certificate is checked before a byte of either leaves; ``ca_file`` adds an anchor."""

    async def here(host: str, port: int) -> tuple[str, ...]:
        return ("127.0.0.1",)

    context, anchor = certificate(tmp_path, "idp.test")
    async with loopback({ENDPOINT: json_answer(INACTIVE)}, tls=context) as server:
        url = server.url(ENDPOINT, "idp.test")
        stranger = asking(server, tls, endpoint=url, resolve=here)
        trusted = asking(server, tls, endpoint=url, resolve=here, ca_file=str(anchor))
        found = await fault(stranger), list(server.bodies), await trusted.ask(TOKEN)

    assert (FetchFault.TLS, [], None) == found
    assert [f"idp.test:{server.port}"] == server.hosts


async def test_many_at_once_are_one_question(tls):
    """Single flight over the wire."""
    async with endpoint() as issuer:
        issuer.tokens[TOKEN] = active()
        introspector = asking(issuer.server, tls)
        found = await asyncio.gather(*(introspector.ask(TOKEN) for _ in range(50)))

    assert ["alice"] * 50 == [claims["sub"] for claims in found]
    assert 1 == issuer.server.connections
