# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Decides from which network addresses a remote image may be fetched."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# These are refused in addition to what Python's ``is_global`` excludes: ranges that can lead into a
# private network, and IPv6 ranges that embed an IPv4 address, which would escape its check.
_REFUSED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "100.64.0.0/10",  # carrier-grade NAT; also a cloud's metadata service
        "192.0.0.0/24",  # protocol assignments; also a cloud's metadata service
        "192.88.99.0/24",  # 6to4 relays
        "168.63.129.16/32",  # a cloud's metadata service on a public address
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",  # NAT64, local use
        "::/96",  # IPv4-compatible
        "::ffff:0:0:0/96",  # IPv4-translated
        "2001::/23",  # Teredo, ORCHID and other assignments
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
        "fec0::/10",  # site-local
    )
)


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Parse CIDRs such as "192.168.1.0/24" (ALLOWED_PRIVATE_NETWORKS). Raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def is_allowed(text: str, private: Sequence[Network]) -> bool:
    """Whether the service may connect to this address.

    Args:
        text: an IPv4 or IPv6 address; an IPv6 address may have a zone ("fe80::1%eth0").
        private: networks that are allowed although they are not public.

    Raises:
        ValueError: ``text`` is not an address.
    """
    address = ipaddress.ip_address(text.split("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if any(address in network for network in private):
        return True
    refused = any(address in network for network in _REFUSED)
    return address.is_global and not address.is_multicast and not refused
