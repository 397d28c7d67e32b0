"""Which network addresses may be asked for a picture: public ones, and the networks listed."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswerError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_allowed(text: str, networks: Sequence[str]) -> bool:
    """Whether an address, as resolved, is public or lies in a network that is listed."""
    try:
        address = _plain(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return False
    listed = map(ipaddress.ip_network, networks)
    if any(address.version == each.version and address in each for each in listed):
        return True
    return all(each.is_global and not each.is_multicast for each in (address, *_inside(address)))


def resolve_host(host: str, port: int, timeout_s: float) -> list[str]:
    """Return the addresses of a host in the system's order; OSError when there is none in time.

    In a thread of its own, for the system's resolver knows no deadline.
    """
    answer: Future[list[str]] = Future()

    def resolve() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.set_result(list(dict.fromkeys(str(each[4][0]) for each in found)))
        except (OSError, UnicodeError) as error:
            answer.set_exception(error)

    threading.Thread(target=resolve, name="resolve", daemon=True).start()
    try:
        return answer.result(timeout_s)
    except NoAnswerError:
        raise TimeoutError("no answer of the name server in time") from None
    except UnicodeError:
        raise OSError("no such host") from None


def _plain(address: Address) -> Address:
    """Return what an IPv4 address in IPv6's clothes is."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _inside(address: Address) -> Iterator[Address]:
    """Give the IPv4 addresses that gateways would send an IPv6 address on to."""
    if not isinstance(address, ipaddress.IPv6Address):
        return
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield address.teredo[1]
    if address in _NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
