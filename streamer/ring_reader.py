"""The matcher's end of a ring (frame_ring.py): which frame comes next, and giving it back."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.types import Frame
from streamer.bell import Ringer
from streamer.frame_counters import CountsFile, Drop, Skip, counts_path
from streamer.ring_file import (
    RingFile,
    RingName,
    SlotCell,
    SlotState,
    credit_path,
    ring_names,
)

_MTIME_STEP_NS = 100_000_000  # a folder's time is coarser than the clock


class _Attached(NamedTuple):
    """A ring that the reader has open."""

    name: RingName
    ring: RingFile
    counts: CountsFile


class RingReader:
    """The matcher's end of one camera; finds the camera's newest ring by itself."""

    def __init__(self, run_dir: Path, camera: str) -> None:
        self._run_dir, self._camera = run_dir, camera
        self._attached: _Attached | None = None
        self._held: dict[tuple[int, int], _Attached] = {}
        self._seen_mtime_ns = self._changed_mtime_ns = -1
        self._changed_at_ns = 0
        self._credit = Ringer(credit_path(run_dir, camera))

    @property
    def is_lossless(self) -> bool:
        """Whether the camera's frames wait for this reader; False before the ring is found."""
        return self._attached is not None and self._attached.ring.is_lossless

    def take(self) -> Frame | None:
        """Return the newest unseen frame (lossless: the next), or None when there is none.

        Its planes are views into shared memory: valid until `release`, read-only.
        """
        while True:
            if self._attached is not None:
                frame = self._claim(self._attached)
                if frame is not None:
                    return frame
            if not self._move_on():
                return None

    def release(self, frame: Frame, failed: bool = False, skipped: Skip | None = None) -> None:
        """Give a frame's slot back and count it: processed, or dropped when work on it failed.

        skipped: why it was not searched, if it was not.
        """
        attached = self._held.pop((frame.incarnation, frame.generation), None)
        if attached is None:
            return
        slot = attached.ring.slots[frame.slot]
        with attached.counts.locked():
            if (
                slot[SlotCell.STATE] != SlotState.TAKEN
                or slot[SlotCell.GENERATION] != frame.generation
            ):
                return  # another matcher took over: the frame is counted already
            if failed:
                attached.counts.count_dropped(Drop.FAILED)
            elif skipped is not None:
                attached.counts.count_skipped(skipped)
            else:
                attached.counts.count_processed()
            slot[SlotCell.STATE] = SlotState.FREE
        if attached.ring.is_lossless:
            self._credit.ring()
        if attached is not self._attached and attached not in self._held.values():
            attached.counts.close()  # the last frame of a ring that was left

    def set_due(self, due_ns: float, period_ns: float) -> None:
        """Tell the camera from when on the next frame is to be searched (`Pacer`)."""
        if self._attached is not None:
            self._attached.counts.set_due(due_ns, period_ns)

    def close(self) -> None:
        """Let go of the ring; frames not released stay taken. Twice is fine."""
        if self._attached is not None:
            self._attached.counts.set_matcher(0)
        for attached in {id(each): each for each in self._open_rings()}.values():
            attached.counts.close()
        self._attached = None
        self._held.clear()
        self._credit.close()

    def _open_rings(self) -> Iterator[_Attached]:
        if self._attached is not None:
            yield self._attached
        yield from self._held.values()

    def _claim(self, attached: _Attached) -> Frame | None:
        ring, counts = attached.ring, attached.counts
        if not self._has_ready(attached):  # without the lock: cheap
            return None
        with counts.locked():
            ready = ring.rows(SlotState.READY)
            if not ready:
                return None
            row = ready[0] if ring.is_lossless else ready[-1]
            ring.slots[row, SlotCell.STATE] = SlotState.TAKEN
        frame = ring.frame(row, self._camera, attached.name.incarnation)
        self._held[frame.incarnation, frame.generation] = attached
        return frame

    @staticmethod
    def _has_ready(attached: _Attached) -> bool:
        return bool((attached.ring.slots[:, SlotCell.STATE] == SlotState.READY).any())

    def _move_on(self) -> bool:
        """Attach the ring that follows the current one; returns False when there is none."""
        mtime_ns = os.stat(self._run_dir).st_mtime_ns
        if mtime_ns == self._seen_mtime_ns:
            return False
        if mtime_ns != self._changed_mtime_ns:
            self._changed_mtime_ns, self._changed_at_ns = mtime_ns, time.monotonic_ns()
        here = None if self._attached is None else self._attached.name
        names = ring_names(self._run_dir, self._camera)
        later = [name for name in names if here is None or name > here]
        if not later:
            if time.monotonic_ns() - self._changed_at_ns > _MTIME_STEP_NS:
                self._seen_mtime_ns = mtime_ns
            return False
        if self._attached is not None:
            if self._attached.ring.is_lossless and self._has_ready(self._attached):
                return True  # written between the last look and the new ring
            self._leave(self._attached)
        self._attached = None
        for name in later:
            try:
                self._attached = self._attach(name)
            except FileNotFoundError:
                continue  # the writer outgrew it meanwhile
            if self._attached.ring.is_lossless or name == later[-1]:
                return True
            self._leave(self._attached)  # a live camera's older ring: only its newest counts
        return False

    def _attach(self, name: RingName) -> _Attached:
        ring = RingFile(name.path(self._run_dir, self._camera))
        counts = CountsFile(counts_path(self._run_dir, self._camera, name.incarnation))
        with counts.locked():
            for row in ring.rows(SlotState.TAKEN):  # by a matcher that died with it
                if counts.pending:  # else it died between the count and the slot
                    counts.count_dropped(Drop.MATCHER_DIED)
                ring.slots[row, SlotCell.STATE] = SlotState.FREE
        counts.set_matcher(os.getpid())
        if ring.is_lossless:
            self._credit.ring()
        return _Attached(name, ring, counts)

    def _leave(self, attached: _Attached) -> None:
        """Remove a ring that its writer has left; whatever is ready in it is too old."""
        with attached.counts.locked():
            for row in attached.ring.rows(SlotState.READY):
                attached.ring.slots[row, SlotCell.STATE] = SlotState.FREE
                attached.counts.count_dropped(Drop.STALE)
        attached.ring.path.unlink(missing_ok=True)
        if attached not in self._held.values():
            attached.counts.close()
