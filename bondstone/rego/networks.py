"""Rego's `net.cidr` functions, with addresses as Go reads them: no leading zeros.

(Source: OPA 1.22, `v1/topdown/cidr.go`.)
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Final

from bondstone.rego.operands import require_strings

MAX_EXPANDED: Final = 65_536
"""Most addresses that `net.cidr_expand` lists."""

Network = IPv4Network | IPv6Network


class NotSupported(ValueError):
    """An address that is valid and that Go reads in a way of its own."""


def cidr_contains(whole: str, part: str) -> bool:
    """`net.cidr_contains`: an address or a network in a network."""
    require_strings(whole, part)
    network = _network(whole)
    inner = _network(part) if "/" in part else ip_network(_unmapped(part))
    if isinstance(network, IPv4Network):
        return isinstance(inner, IPv4Network) and inner.subnet_of(network)
    return isinstance(inner, IPv6Network) and inner.subnet_of(network)


def cidr_intersects(one: str, other: str) -> bool:
    """`net.cidr_intersects`."""
    require_strings(one, other)
    networks = (_network(one), _network(other))
    return networks[0].version == networks[1].version and networks[0].overlaps(networks[1])


def cidr_expand(whole: str) -> set[str]:
    """`net.cidr_expand`: every address of a network."""
    require_strings(whole)
    network = _network(whole)
    if network.num_addresses > MAX_EXPANDED:
        raise ValueError(f"{whole} has more than {MAX_EXPANDED} addresses")
    return {str(address) for address in network}


def cidr_is_valid(whole: Any) -> bool:
    """`net.cidr_is_valid`."""
    try:
        _network(whole)
    except NotSupported:
        raise
    except (TypeError, ValueError):
        return False
    return True


def _network(text: str) -> Network:
    require_strings(text)
    address, slash, bits = text.partition("/")
    if not slash or not (bits.isascii() and bits.isdigit()):
        raise ValueError(f"invalid CIDR address: {text}")
    return ip_network((_unmapped(address), int(bits)), strict=False)


def _unmapped(text: str) -> str:
    """An address without a zone, and none of IPv4 inside IPv6, which Go takes for IPv4 in places."""
    address = ip_address(text)
    if address.version == 6 and (address.ipv4_mapped or address.scope_id):  # noqa: PLR2004 - IPv6
        raise NotSupported(f"{text} is not supported: write it as an address of IPv4")
    return text
