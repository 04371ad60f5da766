"""Where a request came from, for the throttle, policy and the audit row. RFC 9700 §4.13.

Anyone can write ``X-Forwarded-For``. So it is read only from a peer that is a trusted proxy, from
the right, where that proxy wrote, and no further than trusted proxies vouch for one another.
"""

import ipaddress
import re
from collections.abc import Iterator, MutableMapping
from functools import lru_cache
from typing import Any, Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
KNOWN: Final = "broker.source"  # in the scope of a request whose source was found before
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

# An address, also in brackets, also with a port, as proxies write it. Nothing else is read.
_ENTRY: Final = re.compile(
    r"(?:(?P<v4>[0-9.]{7,15})|\[(?P<bracketed>[0-9A-Fa-f:.]{2,45})\])(?::[0-9]{1,5})?"
    r"|(?P<v6>[0-9A-Fa-f:.]{2,45})"
)


def client_source(
    # Any: the values of an ASGI scope depend on its type.
    scope: MutableMapping[str, Any],
    trusted_proxies: Networks,
) -> str:
    """Return the address of the peer, or what trusted proxies say is behind them.

    That is the right-most address in ``X-Forwarded-For`` that is no trusted proxy itself. If what
    they wrote cannot be read, it is the last address that was vouched for.
    """
    known = scope.get(KNOWN)
    if known is not None:
        return str(known)
    peer = scope.get("client")
    if not peer:
        return ""
    source = _parse_address(peer[0])
    if source is None:  # not an IP socket
        return str(peer[0])
    if not trusted_proxies or not _is_trusted(source, trusted_proxies):
        return _render(source)
    for entry in _forwarded_for(scope):
        address = _parse_entry(entry)
        if address is None:
            break
        source = address
        if not _is_trusted(source, trusted_proxies):
            break
    return _render(source)


def _forwarded_for(scope: MutableMapping[str, Any]) -> Iterator[str]:
    """Yield the entries of all ``X-Forwarded-For`` headers, the last written first."""
    for name, value in reversed(scope["headers"]):
        if name == b"x-forwarded-for":
            for entry in reversed(value.decode("latin-1").split(",")):
                yield entry.strip(" \t")


def _parse_entry(entry: str) -> Address | None:
    match = _ENTRY.fullmatch(entry)
    return None if match is None else _parse_address(match[match.lastgroup or 0])


# Few peers connect, again and again.
@lru_cache(maxsize=4096)
def _parse_address(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # One host has one name, also on a socket that serves both families.
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


@lru_cache(maxsize=4096)
def _render(address: Address) -> str:
    return str(address)


def _is_trusted(address: Address, networks: Networks) -> bool:
    return any(address in network for network in networks)
