"""Slows down who guesses passwords and keys: after some failures an address has to wait."""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

FREE_FAILURES = 5
LONGEST_WAIT_S = 300.0
_FORGET_AFTER_S = 900.0
_ADDRESSES_MAX = 4096


class Slowing:
    """Counts failures an address (IPv6: a /64); threads may share it."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._failed: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how often, last when

    def wait_s(self, address: str) -> float:
        """Return for how long this address may not try again; 0: it may now."""
        with self._lock:
            n, last_s = self._failed.get(_group(address), (0, 0.0))
            if n < FREE_FAILURES:
                return 0.0
            wait_s = min(LONGEST_WAIT_S, 2.0 ** (n - FREE_FAILURES))
            return max(0.0, last_s + wait_s - self._now_s())

    def note_failure(self, address: str) -> None:
        """Count a wrong password or key."""
        with self._lock:
            group = _group(address)
            n, last_s = self._failed.pop(group, (0, 0.0))
            if self._now_s() - last_s > _FORGET_AFTER_S:
                n = 0
            self._failed[group] = (n + 1, self._now_s())
            if len(self._failed) > _ADDRESSES_MAX:
                self._failed.popitem(last=False)

    def note_success(self, address: str) -> None:
        """Forget an address's failures: it knows a password."""
        with self._lock:
            self._failed.pop(_group(address), None)


def _group(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 6:
        return str(ipaddress.ip_network((ip, 64), strict=False))
    return str(ip)
