"""Every frame is accounted for: decoded = processed + skipped + dropped, by cause.

Each incarnation of a camera has one small file in the run folder that outlives it. What can be
derived is not stored, so that the sum holds whenever a process is killed:

    decoded = written + skipped and lost before the ring
    written = processed + skipped and lost in the ring + pending
"""

import contextlib
import fcntl
import mmap
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from pathlib import Path

import numpy as np

from pipeline.errors import WorkerError
from streamer.run_dir import create_shared_file

_FILE_BYTES = 4096
LOCK_TIMEOUT_S = 1.0


class Skip(StrEnum):
    """Why a frame was left out by wish."""

    RATE = "rate"
    STILL = "still"  # it showed nothing new: the matcher did not search it
    DECODER = "decoder"  # the decoder left it out, as `skip_frame` has it
    BETWEEN = "between"  # a newer one came, and no search was due before it (`detect_fps`)
    UNNEEDED = "unneeded"  # of a main stream beside `detect_url`: no search was at its moment


class Drop(StrEnum):
    """Why a frame was lost."""

    CORRUPT = "corrupt"  # it could not be decoded
    STOPPED = "stopped"  # decoded while the camera was asked to stop
    OVERRUN = "overrun"  # a newer frame came before the matcher was ready
    STALE = "stale"  # left behind by a camera process that died
    NO_MATCHER = "no_matcher"  # a newer frame came while no matcher lived
    MATCHER_DIED = "matcher_died"  # taken by a matcher that died with it
    FAILED = "failed"  # the matcher could not work on it
    UNREAD = "unread"  # nobody took it before the end


BEFORE_RING = (Drop.CORRUPT, Drop.STOPPED)
IN_RING = (Skip.STILL, Skip.BETWEEN, Skip.UNNEEDED)


class _Cell(IntEnum):
    WRITTEN = 0
    PROCESSED = 1
    MATCHER_PID = 2
    DUE_NS = 3  # of the frames' own time: when the next search is due
    PERIOD_NS = 4  # between two searches; 0: every frame is searched
    SKIPPED = 16  # first of a cell a cause
    DROPPED = 32


_N_CELLS = 64
_SKIPS, _DROPS = tuple(Skip), tuple(Drop)


@dataclass(frozen=True, slots=True)
class FrameCounters:
    """What became of a camera's frames; `pending` ones lie in the ring or at the matcher."""

    decoded: int = 0
    processed: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    pending: int = 0

    def settled(self, cause: Drop | Skip = Drop.UNREAD) -> "FrameCounters":
        """Return the counters with what is still pending counted as dropped, or skipped."""
        skipped, dropped = Counter(self.skipped), Counter(self.dropped)
        if self.pending:
            (dropped if isinstance(cause, Drop) else skipped)[cause.value] += self.pending
        return FrameCounters(self.decoded, self.processed, dict(skipped), dict(dropped), 0)

    def __add__(self, other: "FrameCounters") -> "FrameCounters":
        return FrameCounters(
            self.decoded + other.decoded,
            self.processed + other.processed,
            dict(Counter(self.skipped) + Counter(other.skipped)),
            dict(Counter(self.dropped) + Counter(other.dropped)),
            self.pending + other.pending,
        )


class CountsFile:
    """One incarnation's counts, shared by the camera and its matcher, and their common lock."""

    def __init__(self, path: Path) -> None:
        """Open the counts; raises FileNotFoundError when they were never created."""
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._cells = np.frombuffer(mmap.mmap(self._fd, _FILE_BYTES), np.int64, _N_CELLS)

    @classmethod
    def create(cls, path: Path) -> "CountsFile":
        """Create the counts, all zero, or open those that are there; nobody sees half a file."""
        if not path.exists():
            camera = path.name.split(".")[0]
            create_shared_file(path, _FILE_BYTES, f"camera {camera!r}")
        return cls(path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of this camera's rings; the kernel frees it when a holder dies.

        Raises WorkerError when another process holds it for LOCK_TIMEOUT_S (it never should for
        more than some microseconds).
        """
        _lock(self._fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    @property
    def decoded(self) -> int:
        return _counters_of(self._cells).decoded

    @property
    def pending(self) -> int:
        return _counters_of(self._cells).pending

    def count_written(self) -> None:
        self._cells[_Cell.WRITTEN] += 1

    def count_processed(self) -> None:
        self._cells[_Cell.PROCESSED] += 1

    def count_skipped(self, cause: Skip, n: int = 1) -> None:
        self._cells[_Cell.SKIPPED + _SKIPS.index(cause)] += n

    def count_dropped(self, cause: Drop) -> None:
        self._cells[_Cell.DROPPED + _DROPS.index(cause)] += 1

    def set_matcher(self, pid: int) -> None:
        """Note which process takes this camera's frames; 0: none any more."""
        self._cells[_Cell.MATCHER_PID] = pid

    def set_due(self, due_ns: float, period_ns: float) -> None:
        """Note from when on the next frame is to be searched, and how far apart searches are."""
        self._cells[_Cell.DUE_NS], self._cells[_Cell.PERIOD_NS] = round(due_ns), round(period_ns)

    def is_replaced(self, time_ns: int, by_ns: int) -> bool:
        """Whether no search is lost when a frame of one time gives way to one of another.

        It is not due yet, or the newer one is due within the same period.
        """
        due_ns, period_ns = int(self._cells[_Cell.DUE_NS]), int(self._cells[_Cell.PERIOD_NS])
        if not period_ns:
            return False
        return time_ns < due_ns or (time_ns - due_ns) // period_ns == (by_ns - due_ns) // period_ns

    def is_watched(self) -> bool:
        """Whether a matcher takes this camera's frames, and lives."""
        pid = int(self._cells[_Cell.MATCHER_PID])
        if not pid:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def counts_path(run_dir: Path, camera: str, incarnation: int) -> Path:
    return run_dir / f"{camera}.{incarnation}.counts"


def read_counters(run_dir: Path, camera: str) -> FrameCounters:
    """Return what became of all frames of a camera, over all its incarnations.

    Works from any process, also after the camera's died. What an earlier incarnation left in the
    ring counts as stale. All zero when the camera never started.
    """
    incarnations = sorted(
        int(path.name.rsplit(".", 2)[1]) for path in run_dir.glob(f"{camera}.*.counts")
    )
    total = FrameCounters()
    for incarnation in incarnations:
        one = _read(counts_path(run_dir, camera, incarnation))
        total += one if incarnation == incarnations[-1] else one.settled(Drop.STALE)
    return total


def _read(path: Path) -> FrameCounters:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # without the lock a frame may be seen as processed before it is seen as written
        with contextlib.suppress(WorkerError):
            _lock(fd, fcntl.LOCK_SH)
        content = os.pread(fd, _N_CELLS * 8, 0).ljust(_N_CELLS * 8, b"\0")
    finally:
        os.close(fd)
    return _counters_of(np.frombuffer(content, np.int64))


def _counters_of(cells: np.ndarray[tuple[int], np.dtype[np.int64]]) -> FrameCounters:
    values = [int(value) for value in cells]
    written, processed = values[_Cell.WRITTEN], values[_Cell.PROCESSED]
    skipped = {
        cause.value: values[_Cell.SKIPPED + row]
        for row, cause in enumerate(_SKIPS)
        if values[_Cell.SKIPPED + row]
    }
    dropped = {
        cause.value: values[_Cell.DROPPED + row]
        for row, cause in enumerate(_DROPS)
        if values[_Cell.DROPPED + row]
    }
    before = sum(dropped.get(cause.value, 0) for cause in BEFORE_RING)
    in_ring = sum(skipped.get(cause.value, 0) for cause in IN_RING)
    before += sum(skipped.values()) - in_ring
    in_ring += sum(dropped.values()) - sum(dropped.get(cause.value, 0) for cause in BEFORE_RING)
    return FrameCounters(
        decoded=written + before,
        processed=processed,
        skipped=skipped,
        dropped=dropped,
        pending=max(0, written - processed - in_ring),
    )


def _lock(fd: int, kind: int) -> None:
    deadline_s = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            return fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                raise WorkerError.at(
                    "frame ring", f"expected its lock within {LOCK_TIMEOUT_S} s", "none",
                    remedy="the process that holds it hangs and is restarted",
                ) from None  # fmt: skip
            time.sleep(20e-6)
