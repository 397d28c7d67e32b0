"""Shared memory that is too small is refused before it is used."""

import os
from pathlib import Path

import pytest

from streamer.errors import RingSpaceError
from streamer.frame_ring import ring_bytes
from streamer.ring_file import check_room
from streamer.sources.base import SourceOptions
from tests.streamer.ring_rig import Rings


def test_too_little_shared_memory_is_refused_with_the_bytes(
    rings: Rings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed_bytes = ring_bytes((1920, 1080))
    assert needed_bytes > 4 * 1920 * 1080 * 3 // 2
    real = os.statvfs(tmp_path)
    free = os.statvfs_result((real.f_bsize, 4096, *tuple(real)[2:4], 250, *tuple(real)[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: free)
    with pytest.raises(RingSpaceError, match=rf"'door'.*needs {needed_bytes} bytes.*1024000 free"):
        rings.writer("door", 0, (1920, 1080), "newest")
    assert [path.name for path in tmp_path.iterdir()] == ["door.0.counts"]
    cameras = {
        "door": SourceOptions(url="test:?size=64x48"),
        "desk": SourceOptions(url="0", width=1920, height=1080),
    }
    needed_bytes += ring_bytes((64, 48))
    with pytest.raises(RingSpaceError, match=rf"door, desk: .* {needed_bytes} bytes.*--shm-size"):
        check_room(tmp_path, cameras)
    check_room(tmp_path, {"door": cameras["door"]})
