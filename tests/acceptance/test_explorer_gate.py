"""Who gets into an explorer, and what no answer of it ever lacks."""

import re

import pytest

from broker.explorer.gate import HEADERS
from broker.explorer.server import CannotServe, Explorer
from tests.exploring import exploring, means, outside, text_of
from tests.fixtures.postgres import OneDatabase


@pytest.fixture
async def explorer(bare: OneDatabase):
    async with Explorer(means(bare)) as served:
        yield served


@pytest.fixture
async def stranger(explorer):
    async with outside(explorer) as client:
        yield client


async def test_a_link_lets_one_browser_in_and_leaves_no_token_in_the_address(explorer, stranger):
    """Like a notebook's: once, for a cookie that no script reads and no other site sends along."""
    link = explorer.new_link()
    response = await stranger.get(link)

    assert (303, "/") == (response.status_code, response.headers["location"])
    assert re.fullmatch(
        r"explorer_[0-9a-f]{16}=[A-Za-z0-9_-]{43}; HttpOnly; Path=/; SameSite=strict",
        response.headers["set-cookie"],
    )
    assert 200 == (await stranger.get("/")).status_code

    async with outside(explorer) as other:
        again = await other.get(link)
        assert 403 == again.status_code
        assert "It was used already, or it is too old." in text_of(again)
        assert "set-cookie" not in again.headers
        assert 403 == (await other.get("/")).status_code


async def test_a_new_link_ends_the_one_before(explorer, stranger):
    """What was printed and never opened does not lie about in a terminal."""
    first, second = explorer.new_link(), explorer.new_link()

    assert 403 == (await stranger.get(first)).status_code
    assert 303 == (await stranger.get(second)).status_code


@pytest.mark.parametrize(
    "path",
    [
        "/open",
        "/open?link=",
        "/open?link=guess",
        "/open?link=a&link=b",
        "/open?other=a",
        "/open?link=%ff",
    ],
)
async def test_no_other_link_opens_anything(explorer, stranger, path):
    """Missing, empty, wrong, repeated, unknown, malformed: and the right one still works."""
    link = explorer.new_link()

    assert 403 == (await stranger.get(path)).status_code
    assert 303 == (await stranger.get(link)).status_code


async def test_what_a_browser_fetches_ahead_does_not_use_the_link_up(explorer, stranger):
    """An address bar that prerenders would leave its user before a closed door."""
    link = explorer.new_link()
    ahead = await stranger.get(link, headers={"sec-purpose": "prefetch;prerender"})

    assert 403 == ahead.status_code
    assert 303 == (await stranger.get(link)).status_code


@pytest.mark.parametrize(
    "path",
    ["/", "/trail", "/trail/verify", "/timeline", "/export.csv", "/export.jsonl", "/nothing"],
)
async def test_nothing_but_style_is_shown_to_a_stranger(stranger, path):
    """Also not whether there is such a page."""
    response = await stranger.get(path)

    assert 403 == response.status_code
    assert "This browser was not let in." in text_of(response)
    assert 200 == (await stranger.get("/static/style.css")).status_code
    assert 404 == (await stranger.get("/static/%2e%2e/gate.py")).status_code


@pytest.mark.parametrize(
    "cookie", ["explorer_0000000000000000=a", "explorer=a", "a", "=;=", '"', "é=1"]
)
async def test_a_cookie_of_somebody_else_is_none(stranger, cookie):
    """Cookies know no ports, so those of other programs of this machine come along."""
    response = await stranger.get("/", headers={"cookie": cookie.encode("latin-1")})

    assert 403 == response.status_code


@pytest.mark.parametrize(
    "host",
    [
        "localhost:{port}",
        "127.0.0.1",
        "rebound.test:{port}",
        "127.0.0.1:{port}.test",
        "[::1]:{port}",
    ],
)
async def test_a_name_that_was_rebound_to_loopback_leads_nowhere(bare, host):
    """DNS rebinding: the browser of a page elsewhere sends its own name, and gets nothing."""
    async with exploring(bare) as client:
        port = client.base_url.port
        response = await client.get("/", headers={"host": host.format(port=port)})

        assert 421 == response.status_code
        assert "not served under the name" in text_of(response)
        assert 200 == (await client.get("/")).status_code


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"])
async def test_nothing_is_changed_by_a_request(bare, method):
    """There is nothing but reading, so a forged form has nothing to send to."""
    async with exploring(bare) as client:
        response = await client.request(method, "/")

    assert (405, "GET") == (response.status_code, response.headers["allow"])


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        pytest.param("cross-site", "no-cors", 403, id="an-image-of-another-site"),
        pytest.param("same-site", "cors", 403, id="a-script-of-another-port"),
        pytest.param("same-site", "navigate", 403, id="a-link-of-another-port"),
        pytest.param("cross-site", "navigate", 403, id="a-link-of-another-site"),
        pytest.param("same-origin", "cors", 200, id="our-script"),
        pytest.param("none", "navigate", 200, id="the-address-bar"),
    ],
)
async def test_only_these_pages_and_the_address_bar_ask(bare, site, mode, status):
    """All ports of this machine are one site to browsers, and cookies come along."""
    async with exploring(bare) as client:
        headers = {"sec-fetch-site": site, "sec-fetch-mode": mode}
        response = await client.get("/", headers=headers)

    assert status == response.status_code


async def test_whoever_follows_a_link_of_a_colleague_can_go_on(bare):
    """The cookie does not come along from another site; one click on our page later it does."""
    async with exploring(bare) as client:
        headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
        response = await client.get("/?client=a&since=24h", headers=headers)

    assert '<a href="/?client=a&amp;since=24h">go on</a>' in response.text


async def test_a_path_that_names_another_host_is_no_way_to_go_on(stranger, explorer):
    """``//elsewhere.test`` is a path to HTTP and a host to a browser."""
    async with outside(explorer) as client:
        request = client.build_request("GET", "/")
        request.url = request.url.copy_with(raw_path=b"//elsewhere.test/")
        response = await client.send(request)

    assert 403 == response.status_code
    assert "elsewhere" not in response.text


@pytest.mark.parametrize(
    "path",
    ["/", "/?nonsense=1", "/rows/none", "/static/style.css", "/static/none", "/trail/verify"],
)
async def test_no_answer_is_kept_framed_sniffed_or_scripted(bare, path):
    """The policy allows nothing inline, nothing from elsewhere, and no text to become HTML."""
    async with exploring(bare) as client:
        response = await client.get(path)

    expected = {name.decode(): value.decode() for name, value in HEADERS}
    assert expected == {name: response.headers.get(name) for name in expected}
    assert (
        "default-src 'none'; script-src 'self'; style-src 'self';"
        in (expected["content-security-policy"])
    )
    assert not [name for name in response.headers if name.startswith("access-control-")]
    if path.startswith("/static"):
        return
    # What the policy forbids is not even tried.
    assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son[a-z]+=", response.text)
    assert not re.search(r"(?:src|href|action)=\"(?!/|#)", response.text)


async def test_an_explorer_is_on_loopback_alone_and_says_if_its_port_is_taken(bare, explorer):
    """It binds 127.0.0.1; of two on one port the second one says so."""
    host, _, port = explorer.address.partition(":")
    assert "127.0.0.1" == host

    with pytest.raises(CannotServe, match=f"127.0.0.1:{port} cannot be used"):
        async with Explorer(means(bare), port=int(port)):
            pass
