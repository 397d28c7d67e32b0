"""Rows of a large array on disk, read when they are asked for.

Not memory-mapped: a mapped file that shrinks under its reader, as a catalog does that is copied
over in place, ends the process with SIGBUS. A read that comes back short is an error in words. The
file stays open, so what is deleted or renamed meanwhile can still be read.
"""

from __future__ import annotations

import math
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class StoredRows:
    """The rows of a .npy file, or the bytes of any other file. Any thread may read."""

    def __init__(self, path: Path) -> None:
        """Open the file; OSError or ValueError when it cannot be read or is no array."""
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        if path.suffix != ".npy":
            self.dtype: np.dtype[Any] = np.dtype(np.uint8)
            self.shape: tuple[int, ...] = (os.fstat(self._descriptor).st_size,)
            self._start_bytes = 0
            return
        with open(self._descriptor, "rb", closefd=False) as file:
            version = np.lib.format.read_magic(file)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            self.shape, is_fortran, self.dtype = read_header(file)
            self._start_bytes = file.tell()
        if is_fortran or self.dtype.hasobject:
            raise ValueError("rows must lie one after the other")

    def rows(self, first: int, last: int) -> NDArray[Any]:
        """Return rows first..last (not included) in memory of their own.

        EOFError when the file has become shorter than it was.
        """
        row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])
        wanted = (last - first) * row_bytes
        data = bytearray(wanted)
        view, at = memoryview(data), self._start_bytes + first * row_bytes
        while view:
            n_read = os.preadv(self._descriptor, [view], at)
            if not n_read:
                raise EOFError(f"{len(view)} of {wanted} bytes are not there any more")
            view, at = view[n_read:], at + n_read
        return np.frombuffer(data, self.dtype).reshape(last - first, *self.shape[1:])
