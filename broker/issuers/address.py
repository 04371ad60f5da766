"""Which addresses an outbound request may go to. ATK-SSRF: judged by address, never by name."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address

# RFC 6052 §2.1: the last 32 bits are an IPv4 address, and that is where the packets go.
_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether this address belongs to a host on the public internet.

    An IPv6 address that carries an IPv4 address is judged by both, so neither form hides the other.
    """
    outer = parse_address(address)
    if outer is None:
        return False
    # The translator's prefix is itself no public address: only what it leads to counts.
    if outer in _NAT64:
        return _is_public(IPv4Address(int(outer) & 0xFFFF_FFFF))
    return all(_is_public(each) for each in (outer, *_carried(outer)))


def is_loopback(address: str) -> bool:
    """Whether this address is this machine itself."""
    parsed = parse_address(address)
    if parsed is None:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback


def parse_address(address: str) -> Address | None:
    """Return the address, without the zone that a link-local one may name; None if it is none."""
    try:
        return ip_address(address.partition("%")[0])
    except ValueError:
        return None


def _carried(address: Address) -> tuple[IPv4Address, ...]:
    if isinstance(address, IPv4Address):
        return ()
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    return tuple(each for each in inner if each is not None)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return True  # says nothing by itself: what it carries is judged beside it
        if address.is_site_local:
            return False
    # ``is_global`` alone lets multicast pass, and which reserved blocks it knows varies by
    # Python's version; these are its other names for "not a host of the internet".
    return address.is_global and not (
        address.is_private
        or address.is_multicast
        or address.is_reserved
        or address.is_loopback
        or address.is_link_local
        or address.is_unspecified
    )
