"""What the downloader's child may connect to, and how often it did."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class PrivateAddressError(OSError):
    """A name leads to this machine or its own network.

    An OSError, as what a look-up may raise: anything else yt-dlp takes for its own bug and hides.
    """


class RequestCounter:
    """Counts every HTTP request of this process from now on, redirects included."""

    def __init__(self) -> None:
        self.count = 0
        put_request = http.client.HTTPConnection.putrequest

        def counting(connection: Any, *args: Any, **kwargs: Any) -> None:
            self.count += 1
            put_request(connection, *args, **kwargs)

        http.client.HTTPConnection.putrequest = counting  # type: ignore[method-assign,assignment]

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """Count a stream's segments as the one request that its file would be."""
        before = self.count
        try:
            yield
        finally:
            self.count = min(self.count, before + 1)


def refuse_private_addresses(proxy: str | None) -> None:
    """Every connection of this process looks its address up here, redirects included.

    A proxy that the user names is let through; which addresses it visits is then its affair.
    """
    look_up = socket.getaddrinfo
    proxies = _places({"proxy": proxy} if proxy else urllib.request.getproxies())

    def public_only(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        found = look_up(host, port, *args, **kwargs)
        if (host, port) not in proxies and not all(is_public(str(entry[4][0])) for entry in found):
            raise PrivateAddressError(f"{host} is a private address; allow_private permits it")
        return found

    socket.getaddrinfo = public_only


def _places(proxies: dict[str, str]) -> set[tuple[str | None, int]]:
    """Host and port of every proxy."""
    urls = (v if "://" in v else f"http://{v}" for k, v in proxies.items() if k != "no")
    ports = {"http": 80, "https": 443}
    return {(u.hostname, u.port or ports.get(u.scheme, 1080)) for u in map(urlsplit, urls)}


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet's, and so is the IPv4 address it may embed."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if embedded:
            return is_public(str(embedded))
        if ip.is_site_local:
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved)
