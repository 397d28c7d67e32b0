"""A frame ring's file: a page with a table of slots, then the slots with their planes.

Only the layout is here; frame_ring.py says who may touch what, and when.
"""

import mmap
import os
from collections.abc import Iterator, Mapping
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.types import U8, ColorMatrix, ColorRange, Frame
from streamer.run_dir import check_space, create_shared_file, socket_path
from streamer.sources.base import Picture, SourceOptions
from streamer.sources.test_pattern import parse_pattern

_PAGE = 4096
MAX_SLOTS = 16
_USUAL_WH = (1280, 720)
_MATRICES, _RANGES = tuple(ColorMatrix), tuple(ColorRange)
_CLOCKS = ("arrival", "rtcp", "file")


class SlotState(IntEnum):
    FREE = 0
    WRITING = 1
    READY = 2
    TAKEN = 3


class _Head(IntEnum):
    """Cells of the ring's first row."""

    N_SLOTS = 0
    SLOT_BYTES = 1
    LOSSLESS = 2


class SlotCell(IntEnum):
    """Cells of a slot's row."""

    STATE = 0
    GENERATION = 1
    NUMBER = 2
    WIDTH = 3
    HEIGHT = 4
    CAPTURED_NS = 5
    WALL_NS = 6
    MEDIA_NS = 7
    DECODE_NS = 8
    MATRIX = 9
    RANGE = 10
    CLOCK = 11


_N_CELLS = 16


class RingName(NamedTuple):
    """Which of a camera's rings; sorts from the oldest to the newest."""

    incarnation: int
    n: int

    def path(self, run_dir: Path, camera: str) -> Path:
        return run_dir / f"{camera}.{self.incarnation}.{self.n}.ring"


def ring_names(run_dir: Path, camera: str) -> list[RingName]:
    """Return the rings of a camera that are there, the oldest first."""
    stems = (path.stem for path in run_dir.glob(f"{camera}.*.ring"))
    return sorted(RingName(*map(int, stem.rsplit(".", 2)[1:])) for stem in stems)


def ring_bytes(size_wh: tuple[int, int], n_slots: int = 4) -> int:
    """Return what a ring for pictures of this size takes in shared memory."""
    return _PAGE + n_slots * slot_bytes_for(size_wh)


def check_room(run_dir: Path, cameras: Mapping[str, SourceOptions], n_slots: int = 4) -> None:
    """Raise RingSpaceError when shared memory cannot hold the rings of these cameras.

    WorkerError when a path would be too long for its socket.

    Asked before anything starts. A size that only the stream knows is taken as 1280x720; a camera
    with larger pictures that do not fit says so itself when they come.
    """
    for camera in cameras:
        credit_path(run_dir, camera)
    needed_bytes = sum(ring_bytes(_expected_size_wh(each), n_slots) for each in cameras.values())
    check_space(run_dir, f"cameras {', '.join(cameras)}", needed_bytes)


def credit_path(run_dir: Path, camera: str) -> Path:
    """Return the socket over which a lossless ring's slots are given back.

    WorkerError when its path would be too long.
    """
    return socket_path(run_dir, f"{camera}.credit")


def _expected_size_wh(source: SourceOptions) -> tuple[int, int]:
    if source.kind == "test":
        return parse_pattern(source.url).size_wh
    return (source.width, source.height) if source.width and source.height else _USUAL_WH


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def slot_bytes_for(size_wh: tuple[int, int]) -> int:
    width, height = size_wh
    rows = _up(width, 64) * height + 2 * _up((width + 1) // 2, 64) * ((height + 1) // 2)
    return _up(rows, _PAGE)


class RingFile:
    """A ring file, mapped; both ends use it. All but the pixels is touched under the lock."""

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._bytes = np.frombuffer(mmap.mmap(fd, 0), np.uint8)
        finally:
            os.close(fd)
        table = self._bytes[:_PAGE].view(np.int64).reshape(-1, _N_CELLS)
        self.path = path
        self.n_slots = int(table[0, _Head.N_SLOTS])
        self.slot_bytes = int(table[0, _Head.SLOT_BYTES])
        self.is_lossless = bool(table[0, _Head.LOSSLESS])
        self.slots: NDArray[np.int64] = table[1 : 1 + self.n_slots]

    @staticmethod
    def create(path: Path, slot_bytes: int, n_slots: int, is_lossless: bool) -> "RingFile":
        size_bytes = _PAGE + n_slots * slot_bytes
        where = f"camera {path.name.split('.')[0]!r}"
        check_space(path.parent, where, size_bytes)
        head = np.array([n_slots, slot_bytes, is_lossless], np.int64)
        create_shared_file(path, size_bytes, where, head.tobytes())
        return RingFile(path)

    def rows(self, state: SlotState) -> list[int]:
        """Return the slots in this state, the oldest content first."""
        rows = np.flatnonzero(self.slots[:, SlotCell.STATE] == state)
        return [int(row) for row in rows[np.argsort(self.slots[rows, SlotCell.GENERATION])]]

    def planes(self, row: int, size_wh: tuple[int, int]) -> Iterator[U8]:
        """Yield the slot's y, u, v as views for a picture of this size."""
        width, height = size_wh
        offset = _PAGE + row * self.slot_bytes
        chroma = ((width + 1) // 2, (height + 1) // 2)
        for plane_width, plane_height in ((width, height), chroma, chroma):
            stride = _up(plane_width, 64)
            plane = self._bytes[offset : offset + stride * plane_height]
            yield plane.reshape(plane_height, stride)[:, :plane_width]
            offset += stride * plane_height

    def copy_planes(self, row: int, picture: Picture) -> None:
        """Copy a picture's pixels into a slot that is being written."""
        pixels = (picture.y, picture.u, picture.v)
        for plane, source in zip(self.planes(row, picture.size_wh), pixels, strict=True):
            np.copyto(plane, source)

    def describe(
        self, row: int, picture: Picture, generation: int, number: int, decode_ns: int
    ) -> None:
        """Write all that a slot says about its picture; the state stays as it is."""
        cells = self.slots[row]
        cells[SlotCell.GENERATION], cells[SlotCell.NUMBER] = generation, number
        cells[SlotCell.WIDTH], cells[SlotCell.HEIGHT] = picture.size_wh
        cells[SlotCell.CAPTURED_NS], cells[SlotCell.WALL_NS] = picture.captured_ns, picture.wall_ns
        cells[SlotCell.MEDIA_NS], cells[SlotCell.DECODE_NS] = picture.media_ns, decode_ns
        cells[SlotCell.MATRIX] = _MATRICES.index(picture.matrix)
        cells[SlotCell.RANGE] = _RANGES.index(picture.range)
        cells[SlotCell.CLOCK] = _CLOCKS.index(picture.clock)

    def time_ns(self, row: int) -> int:
        """Return the time that a slot's picture is paced by."""
        media_ns = int(self.slots[row, SlotCell.MEDIA_NS])
        return media_ns if media_ns >= 0 else int(self.slots[row, SlotCell.CAPTURED_NS])

    def frame(self, row: int, camera: str, incarnation: int) -> Frame:
        """Return what a taken slot holds; the planes are read-only views into it."""
        cells = [int(cell) for cell in self.slots[row]]
        y, u, v = self.planes(row, (cells[SlotCell.WIDTH], cells[SlotCell.HEIGHT]))
        for plane in (y, u, v):
            plane.flags.writeable = False
        return Frame(
            camera=camera,
            number=cells[SlotCell.NUMBER],
            captured_ns=cells[SlotCell.CAPTURED_NS],
            wall_ns=cells[SlotCell.WALL_NS],
            y=y,
            u=u,
            v=v,
            matrix=_MATRICES[cells[SlotCell.MATRIX]],
            range=_RANGES[cells[SlotCell.RANGE]],
            incarnation=incarnation,
            clock=_CLOCKS[cells[SlotCell.CLOCK]],
            decode_ms=cells[SlotCell.DECODE_NS] / 1e6,
            slot=row,
            generation=cells[SlotCell.GENERATION],
            media_ns=cells[SlotCell.MEDIA_NS],
        )
