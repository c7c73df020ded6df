"""The network of a client, which counts as one visitor for the limits per address."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Network, ip_address

__all__ = ("network_of",)

_WITH_PORT = re.compile(r"([0-9.]+):\d+|\[([0-9A-Fa-f:.]+)\](?::\d+)?")


def network_of(address: str) -> str:
    """Return the network of an address: an IPv4 address, or a /64 of IPv6.

    A provider gives a /64 to each customer. Clients without a known address share one network,
    as do those behind a proxy without ``ProxyFix``.
    """
    if match := _WITH_PORT.fullmatch(address):  # some proxies add the port
        address = match[1] or match[2]
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Network((int(parsed) >> 64 << 64, 64)))
