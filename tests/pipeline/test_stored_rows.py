"""Rows read from disk when asked for: right, and never the death of the process."""

import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.stored_rows import StoredRows


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64])
@pytest.mark.parametrize("shape", [(0, 4), (7, 4), (7,), (3, 2, 5)])
def test_rows_are_those_of_the_array(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    stored = StoredRows(tmp_path / "a.npy")
    assert (stored.shape, stored.dtype) == (array.shape, array.dtype)
    for first in range(len(array) + 1):
        for last in range(first, len(array) + 1):
            rows = stored.rows(first, last)
            assert np.array_equal(rows, array[first:last]) and rows.flags.writeable


def test_bytes_of_any_other_file(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"0123456789")
    assert StoredRows(tmp_path / "a.bin").rows(3, 6).tobytes() == b"345"


def test_a_file_that_shrinks_or_goes_is_no_death(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((1000, 64), np.float32))
    stored = StoredRows(path)
    os.truncate(path, 5000)
    assert len(stored.rows(0, 10)) == 10
    with pytest.raises(EOFError, match="not there any more"):
        stored.rows(500, 600)
    path.unlink()
    assert len(stored.rows(0, 10)) == 10


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x09\x00"])
def test_what_is_no_array_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises((ValueError, KeyError, EOFError)):
        StoredRows(tmp_path / "a.npy")
