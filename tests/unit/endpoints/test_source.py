"""Where a request came from: the peer, unless a trusted proxy says more."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.endpoints.source import client_source

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def source(peer: str | None, *forwarded: str, proxies=PROXIES) -> str:
    """The source of a request from this peer with these X-Forwarded-For headers."""
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in forwarded]
    return client_source(
        {"client": (peer, 4711) if peer else None, "headers": [(b"host", b"x"), *headers]}, proxies
    )


@pytest.mark.row("SB-4.13-01")
@pytest.mark.parametrize(
    ("peer", "proxies"),
    [
        pytest.param("192.0.2.9", PROXIES, id="not-a-proxy"),
        pytest.param("10.0.0.1", (), id="no-proxy-is-trusted"),
        pytest.param("::1", PROXIES, id="ipv6"),
    ],
)
def test_a_stranger_s_forwarding_header_is_ignored(peer, proxies):
    """RFC 9700 §4.13: anyone can write it."""
    assert peer == source(peer, "203.0.113.7", proxies=proxies)


@pytest.mark.row("SB-4.13-01")
@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        pytest.param([], "10.0.0.1", id="absent"),
        pytest.param(["203.0.113.7"], "203.0.113.7", id="one"),
        pytest.param(["198.51.100.1, 203.0.113.7"], "203.0.113.7", id="spoofed-by-the-client"),
        pytest.param(["198.51.100.1", "203.0.113.7"], "203.0.113.7", id="spoofed-in-a-header"),
        pytest.param(["203.0.113.7, 10.9.9.9"], "203.0.113.7", id="through-two-proxies"),
        pytest.param(["203.0.113.7,\t10.9.9.9 , fd00::1"], "203.0.113.7", id="through-three"),
        pytest.param(["10.9.9.9"], "10.9.9.9", id="nothing-but-proxies"),
        pytest.param(["203.0.113.7:61234"], "203.0.113.7", id="with-a-port"),
        pytest.param(["2001:DB8::1"], "2001:db8::1", id="ipv6"),
        pytest.param(["[2001:db8::1]"], "2001:db8::1", id="in-brackets"),
        pytest.param(["[2001:db8::1]:443"], "2001:db8::1", id="in-brackets-with-a-port"),
        pytest.param(["::ffff:203.0.113.7"], "203.0.113.7", id="ipv4-in-ipv6"),
    ],
)
def test_a_trusted_proxy_says_who_is_behind_it(forwarded, expected):
    """RFC 9700 §4.13: the right-most address that is no trusted proxy."""
    assert expected == source("10.0.0.1", *forwarded)


@pytest.mark.row("SB-4.13-01")
@pytest.mark.parametrize(
    "entry",
    [
        pytest.param("", id="empty"),
        pytest.param("unknown", id="unknown"),
        pytest.param("203.0.113.256", id="no-address"),
        pytest.param("203.0.113.07", id="octal"),
        pytest.param("0x7f.1", id="hexadecimal"),
        pytest.param("203.0.113.7:", id="empty-port"),
        pytest.param("203.0.113.7:x", id="no-port"),
        pytest.param("[2001:db8::1", id="half-a-bracket"),
        pytest.param("2001:db8::1]", id="other-half"),
        pytest.param("fe80::1%eth0", id="with-a-zone"),
        pytest.param("203.0.113.7 203.0.113.8", id="two-without-a-comma"),
        pytest.param("'; DROP TABLE", id="text"),
        pytest.param("\xb2.1.1.1", id="not-ascii"),
        pytest.param("1" * 8000, id="long"),
    ],
)
def test_what_cannot_be_read_is_not_believed(entry):
    """Ours: then the source is the last address that was vouched for."""
    assert "10.0.0.1" == source("10.0.0.1", f"203.0.113.7, {entry}")


def test_one_host_has_one_name():
    """Ours: a socket for both families gives IPv4 peers in IPv6 form."""
    assert "192.0.2.9" == source("::ffff:192.0.2.9")
    assert "203.0.113.7" == source("::ffff:10.0.0.1", "203.0.113.7")


def test_a_peer_without_an_address_has_an_empty_source():
    """ASGI: ``client`` may be absent."""
    assert "" == source(None, "203.0.113.7")


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_any_header_gives_an_address(header):
    """Ours: never an exception, and never text of the caller's choosing."""
    address = source("10.0.0.1", header)

    assert address == str(ip_address(address))
