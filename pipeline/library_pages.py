"""Gives back the memory that loading took and working does not need."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

MADV_PAGEOUT = 21  # <linux/mman.h>, since Linux 5.4; an older kernel refuses, which changes nothing


def give_back_pages() -> None:
    """Return freed heap to the system, and drop the pages of files mapped for reading.

    Loading libraries and networks reads parts of their files that no frame needs. What is needed
    after all comes back from the page cache, 4 KiB at a time, without reading the disk.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc's alone
        libc.malloc_trim(0)
    for line in Path("/proc/self/maps").read_text().splitlines():
        addresses, permissions, _, _, inode, *_ = line.split(maxsplit=5)
        if inode == "0" or "w" in permissions:
            continue
        first, end = (int(address, 16) for address in addresses.split("-"))
        libc.madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), MADV_PAGEOUT)
