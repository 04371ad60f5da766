"""Only hosts of the public internet are public, however an address is written."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.issuers.address import is_loopback, is_public


@pytest.mark.row("ATK-SSRF-01")
@pytest.mark.parametrize(
    "address",
    [
        pytest.param("127.0.0.1", id="loopback"),
        pytest.param("127.255.0.3", id="loopback-block"),
        pytest.param("0.0.0.0", id="unspecified"),
        pytest.param("10.1.2.3", id="private-10"),
        pytest.param("172.16.0.1", id="private-172"),
        pytest.param("192.168.1.1", id="private-192"),
        pytest.param("100.64.0.1", id="carrier-grade-nat"),
        pytest.param("169.254.169.254", id="metadata-service"),
        pytest.param("192.0.2.1", id="documentation"),
        pytest.param("198.18.0.1", id="benchmarking"),
        pytest.param("224.0.0.1", id="multicast"),
        pytest.param("240.0.0.1", id="reserved"),
        pytest.param("255.255.255.255", id="broadcast"),
        pytest.param("::", id="unspecified-6"),
        pytest.param("::1", id="loopback-6"),
        pytest.param("fe80::1%eth0", id="link-local-with-zone"),
        pytest.param("fd00::1", id="unique-local"),
        pytest.param("fec0::1", id="site-local"),
        pytest.param("ff02::1", id="multicast-6"),
        pytest.param("::ffff:127.0.0.1", id="mapped-loopback"),
        pytest.param("::ffff:10.0.0.1", id="mapped-private"),
        pytest.param("::ffff:169.254.169.254", id="mapped-metadata-service"),
        pytest.param("::7f00:1", id="compatible-loopback"),
        pytest.param("64:ff9b::7f00:1", id="nat64-loopback"),
        pytest.param("64:ff9b::a9fe:a9fe", id="nat64-metadata-service"),
        pytest.param("64:ff9b:1::808:808", id="local-nat64"),
        pytest.param("2002:7f00:1::", id="6to4-loopback"),
        pytest.param("2002:a00:1::", id="6to4-private"),
        pytest.param("2001:0:4136:e378:8000:63bf:f5ff:fffe", id="teredo"),
        pytest.param("2001:db8::1", id="documentation-6"),
        pytest.param("0x7f000001", id="hexadecimal"),
        pytest.param("2130706433", id="decimal"),
        pytest.param("0177.0.0.1", id="octal"),
        pytest.param("localhost", id="a-name"),
        pytest.param("", id="empty"),
    ],
)
def test_an_address_that_is_not_of_the_internet_is_not_public(address):
    """ATK-SSRF-01: by every name that such an address has."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_an_address_of_the_internet_is_public(address):
    """The honest twin: also mapped, and through a translator."""
    assert is_public(address)


@given(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address))
def test_a_carried_address_is_judged_as_if_it_stood_alone(inner):
    """ATK-SSRF-01: an IPv6 spelling opens nothing that the IPv4 spelling closes."""
    spellings = (f"::ffff:{inner}", f"64:ff9b::{inner}")

    assert {is_public(str(inner))} == {is_public(spelling) for spelling in spellings}


@given(st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address))
def test_no_public_address_is_loopback(address):
    """The two never overlap, so http on loopback is never http to the internet."""
    assert not (is_public(str(address)) and is_loopback(str(address)))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_known_in_each_spelling(address):
    """Plain http may go there, where it is allowed."""
    assert is_loopback(address)
