"""Imports the faiss-gpu wheel without NVIDIA's cuBLAS, which a search on the CPU never calls.

The wheel loads cuBLAS when it is imported: 155 MB of memory of the process's own and 0.3 s, also on
machines without a GPU. Its code calls seven functions of cuBLAS, none from the indexes that
search.py builds, so empty libraries of the same names satisfy the loader.
"""

from __future__ import annotations

import _ctypes
import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LEFT_OUT = ("libcublas.so.12", "libcublasLt.so.12")
_NEEDED = "cuda_runtime/lib/libcudart.so.12"  # registers faiss's kernels as it is loaded; small
_MARKER = "faiss._gpu_build"  # the wheel loads CUDA's libraries where this module is present


@contextmanager
def cublas_left_out() -> Iterator[None]:
    """Let `import faiss` inside do without cuBLAS where that is safe; elsewhere change nothing.

    When the import fails all the same, the empty libraries are gone again, and a second one loads
    the real ones.
    """
    runtime = _cuda_runtime()
    if "faiss" in sys.modules or runtime is None or not _is_safe():
        yield
        return
    flags = sys.getdlopenflags()
    empty: list[ctypes.CDLL] = []
    try:
        ctypes.CDLL(str(runtime), mode=ctypes.RTLD_GLOBAL)
        empty += [_load_empty(name) for name in LEFT_OUT]
    except OSError:  # a loader that takes no library from memory: faiss loads the real ones
        yield
        return
    sys.modules[_MARKER] = None  # type: ignore[assignment]
    sys.setdlopenflags(os.RTLD_LAZY)  # functions are looked up when called, and these never are
    try:
        yield
    except ImportError:
        for library in empty:
            _ctypes.dlclose(library._handle)
        raise
    finally:
        sys.setdlopenflags(flags)
        del sys.modules[_MARKER]


def _is_safe() -> bool:
    """Whether nothing else of this process may want the real libraries or look up at once."""
    if platform.libc_ver()[0] != "glibc" or platform.machine() != "x86_64":
        return False
    if "LD_BIND_NOW" in os.environ:
        return False
    try:
        wanted = importlib.metadata.requires("torch") or []
    except importlib.metadata.PackageNotFoundError:
        return True
    return not any("cublas-cu12" in package for package in wanted)  # torch for CUDA 12 links them


def _cuda_runtime() -> Path | None:
    """The runtime library beside the cuBLAS that faiss-gpu would load; None: another faiss."""
    try:
        nvidia = importlib.util.find_spec("nvidia")
    except (ImportError, ValueError):
        return None
    folders = nvidia.submodule_search_locations if nvidia else None
    candidates = (Path(folder) / _NEEDED for folder in folders or ())
    return next((path for path in candidates if path.is_file()), None)


def _load_empty(name: str) -> ctypes.CDLL:
    """Load an empty library under this name; OSError when the loader does not take it."""
    # The file stays open: the loader tells libraries apart by their path, the descriptor's number.
    descriptor = os.memfd_create(name)
    os.write(descriptor, empty_library(name))
    return ctypes.CDLL(f"/proc/self/fd/{descriptor}", mode=ctypes.RTLD_GLOBAL)


def empty_library(name: str) -> bytes:
    """Return an ELF shared library (x86-64) of this name (DT_SONAME) without a symbol.

    Format: System V Application Binary Interface, chapters 4 and 5.
    """
    header_bytes, entry_bytes, symbol_bytes = 64, 56, 24
    names = b"\0" + name.encode() + b"\0"
    at_names = header_bytes + 3 * entry_bytes
    at_symbols = -(-(at_names + len(names)) // 8) * 8
    at_dynamic = at_symbols + symbol_bytes
    soname, strtab, symtab, strsz, syment, end = 14, 5, 6, 10, 11, 0
    dynamic = struct.pack(
        "<12q",
        *(soname, 1, strtab, at_names, symtab, at_symbols),
        *(strsz, len(names), syment, symbol_bytes, end, 0),
    )
    size = at_dynamic + len(dynamic)
    load, dynamic_part, stack, read_write = 1, 2, 0x6474E551, 6
    header = struct.pack(
        "<16s2HI3QI6H",
        *(b"\x7fELF\x02\x01\x01", 3, 62, 1, 0, header_bytes, 0, 0),
        *(header_bytes, entry_bytes, 3, 64, 0, 0),
    )
    parts = struct.pack(
        "<2I6Q2I6Q2I6Q",
        *(load, read_write, 0, 0, 0, size, size, 4096),
        *(dynamic_part, read_write, at_dynamic, at_dynamic, at_dynamic, *[len(dynamic)] * 2, 8),
        *(stack, read_write, 0, 0, 0, 0, 0, 16),  # else the loader makes the stack executable
    )
    return (header + parts + names).ljust(at_dynamic, b"\0") + dynamic
