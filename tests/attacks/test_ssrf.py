"""Attack: make the broker connect to somewhere that its configuration does not name."""

import json
import time

import pytest

from broker.issuers.fetch import FetchFailed, FetchFault, GuardedFetcher, build_tls
from broker.settings import Settings
from broker.tokens.references import References
from broker.tokens.verify import TokenVerifier
from tests.configuration import document
from tests.jwts import IDP, subject_jwt
from tests.loopback import drip, http_answer, json_answer, loopback
from tests.verification import REFERENCE_TABLE, refused, registry, subject


@pytest.fixture(scope="module")
def tls():
    """The trust anchors that everybody has."""
    return build_tls()


async def fault(fetcher: GuardedFetcher, url: str) -> FetchFault:
    """Why a fetch fails."""
    with pytest.raises(FetchFailed) as caught:
        await fetcher.fetch(url)
    return caught.value.fault


class Resolver:
    """A name server that answers as the attacker likes, each time differently."""

    def __init__(self, *answers: tuple[str, ...]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> tuple[str, ...]:
        """Answer, and remember who was asked for."""
        self.asked.append(host)
        return self.answers.pop(0)


@pytest.mark.row("ATK-SSRF-01")
@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://idp.test/jwks", id="plain-http"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("gopher://idp.test/", id="gopher"),
        pytest.param("ftp://idp.test/", id="ftp"),
        pytest.param("//idp.test/jwks", id="no-scheme"),
        pytest.param("https://user:password@idp.test/", id="credentials"),
        pytest.param("https://good.test@evil.test/", id="userinfo"),
        pytest.param("https://idp.test/#x", id="fragment"),
        pytest.param("https://idp.test\\@evil.test/", id="backslash"),
        pytest.param("https://idp.test/\tx", id="tab"),
        pytest.param("https://idp.test/\r\nHost: evil.test", id="newline"),
        pytest.param("https://idp.test/ x", id="space"),
        pytest.param("https://\uff49dp.test/", id="full-width"),
        pytest.param("https://idp.test:0/", id="port-0"),
        pytest.param("https://idp.test:99999/", id="port-too-large"),
        pytest.param("https://[::1/", id="broken-address"),
        pytest.param("https:///jwks", id="no-host"),
        pytest.param("", id="empty"),
    ],
)
async def test_a_url_that_is_not_plain_https_is_not_even_resolved(tls, url):
    """ATK-SSRF-01: no look-up, no connection."""
    resolver = Resolver()

    assert FetchFault.URL_NOT_ALLOWED == await fault(GuardedFetcher(tls, resolve=resolver), url)
    assert [] == resolver.asked


@pytest.mark.row("ATK-SSRF-01")
@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "0.0.0.0", "10.0.0.1", "169.254.169.254", "[::1]", "[fd00::1]"),
        *("[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "localhost", "localhost."),
        *("2130706433", "0x7f000001", "0177.0.0.1", "127.1"),
    ],
)
async def test_no_spelling_of_a_private_address_is_connected_to(tls, host):
    """ATK-SSRF-01: the operating system reads the spelling, we judge what it read."""
    async with loopback({"/": json_answer({})}) as server:
        found = await fault(GuardedFetcher(tls), f"https://{host}:{server.port}/")

    assert found in {FetchFault.ADDRESS_NOT_ALLOWED, FetchFault.NAME_UNKNOWN}
    assert 0 == server.connections


@pytest.mark.row("ATK-SSRF-01")
@pytest.mark.parametrize(
    "addresses",
    [
        pytest.param(("127.0.0.1",), id="private"),
        pytest.param(("8.8.8.8", "127.0.0.1"), id="public-and-private"),
        pytest.param(("127.0.0.1", "8.8.8.8"), id="private-and-public"),
    ],
)
async def test_a_name_that_leads_inside_is_refused(tls, addresses):
    """ATK-SSRF-01: all of its addresses must be public."""
    resolver = Resolver(addresses)
    fetcher = GuardedFetcher(tls, resolve=resolver)

    assert FetchFault.ADDRESS_NOT_ALLOWED == await fault(fetcher, "https://rebind.test/")


@pytest.mark.row("ATK-SSRF-01")
async def test_a_name_is_looked_up_once_so_it_cannot_be_rebound(tls):
    """ATK-SSRF-01: the address that was checked is the address that is connected to."""
    async with loopback({"/": json_answer({})}) as server:
        resolver = Resolver(("127.0.0.1",), ("10.0.0.1",))
        fetcher = GuardedFetcher(tls, allow_private_network=True, resolve=resolver)
        body = await fetcher.fetch(server.url("/", host="rebind.test"))

    assert ({}, ["rebind.test"]) == (json.loads(body), resolver.asked)


@pytest.mark.row("ATK-SSRF-01")
async def test_allowed_plain_http_stays_on_loopback(tls):
    """ATK-SSRF-01: a private host is reached by https, another machine never by http."""
    resolver = Resolver(("10.0.0.1",), ("8.8.8.8",))
    fetcher = GuardedFetcher(tls, allow_private_network=True, resolve=resolver)
    faults = [await fault(fetcher, "http://inside.test/") for _ in range(2)]

    assert [FetchFault.ADDRESS_NOT_ALLOWED] * 2 == faults


@pytest.mark.row("ATK-SSRF-01", "ATK-ISS-02")
async def test_a_redirect_is_not_followed(tls):
    """ATK-SSRF-01: also not to the same server."""
    async with loopback({"/target": json_answer({})}) as server:
        server.answers["/"] = http_answer(
            b"", status="307 Temporary Redirect", Location=server.url("/target")
        )
        fetcher = GuardedFetcher(tls, allow_private_network=True)

        assert FetchFault.REDIRECT == await fault(fetcher, server.url("/"))
        assert ["/"] == server.paths


@pytest.mark.row("ATK-SSRF-02", "ATK-HDR-01", "JW-11")
@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        pytest.param({"iss": "https://evil.test"}, "issuer_unknown", id="unconfigured-issuer"),
        pytest.param({"iss": "https://idp.test/"}, "issuer_unknown", id="issuer-misspelt"),
        pytest.param(
            {"iss": "https://evil.test", "header": {"jku": "https://evil.test"}},
            "issuer_unknown",
            id="jku",
        ),
        pytest.param(
            {"header": {"jku": "https://evil.test", "kid": "x"}}, "unavailable", id="jku-and-kid"
        ),
        pytest.param(
            {"header": {"x5u": "https://evil.test", "kid": "x"}}, "unavailable", id="x5u-and-kid"
        ),
        pytest.param({"header": {"kid": "https://evil.test/"}}, "unavailable", id="kid"),
        pytest.param({"header": {"alg": "HS256"}}, "algorithm_not_allowed", id="algorithm"),
        pytest.param({"jwks_uri": "https://evil.test"}, "unavailable", id="claim"),
    ],
)
async def test_nothing_in_a_token_makes_anybody_look_up_a_name(claims, expected):
    """ATK-SSRF-02: names come from the configuration; for an unknown issuer there is no query."""
    resolver = Resolver(("127.0.0.1",))
    (idp,) = (each for each in document()["issuers"] if each["issuer"] == IDP)
    fetched = {name: value for name, value in idp.items() if name != "jwks"}
    configured = Settings.model_validate(
        document(
            issuers=[fetched | {"jwks_uri": "https://keys.idp.test/jwks"}], clients=[], targets=[]
        )
    )
    using = TokenVerifier(
        registry(configured.issuers, resolve=resolver),
        issuer=configured.issuer,
        clients=configured.clients,
        targets=configured.targets,
        references=References(REFERENCE_TABLE),
    )
    reason = await refused(subject(subject_jwt(**claims), verifier=using))

    assert expected == reason.partition(".")[2]
    assert (["keys.idp.test"] if expected == "unavailable" else []) == resolver.asked


@pytest.mark.row("ATK-SSRF-03")
@pytest.mark.parametrize("slow", ["head", "body"])
async def test_a_server_that_drips_is_left_in_time(tls, slow):
    """ATK-SSRF-03, drill 6: three seconds for everything, however the time is spent."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    before, after = (head[:10], head[10:]) if slow == "head" else (head, b" " * 1000)
    async with loopback({"/": lambda: drip(before, after, 0.1)}) as server:
        began = time.monotonic()
        found = await fault(GuardedFetcher(tls, allow_private_network=True), server.url("/"))

    assert FetchFault.TIMEOUT == found
    assert time.monotonic() - began < 20
