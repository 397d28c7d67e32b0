"""The mailbox between a camera process and its matcher: pictures in shared memory.

A ring is a file `<camera>.<incarnation>.<n>.ring` in the run folder (ring_file.py). A slot is free,
being written, ready, or taken; it changes hands under the lock of the camera's counts file, which
the kernel frees when its holder dies, and carries a generation that never repeats, so that a reader
never works on, or gives back, a slot that was written over.

newest:    one ready frame, the newest; the one that it replaces is dropped, or skipped where no
           search of it was due.
lossless:  the writer waits for a free slot (credit); frames come in order.

Only this file drops frames. When the pictures grow, the writer goes on in ring n + 1.
"""

import time
from pathlib import Path
from typing import Literal

from pipeline.errors import WorkerError
from streamer.bell import Bell, Ringer
from streamer.frame_counters import (
    CountsFile,
    Drop,
    FrameCounters,
    Skip,
    counts_path,
    read_counters,
)
from streamer.pacer import time_ns_of
from streamer.ring_file import (
    MAX_SLOTS,
    RingFile,
    RingName,
    SlotCell,
    SlotState,
    credit_path,
    ring_bytes,
    slot_bytes_for,
)
from streamer.sources.base import Picture

__all__ = [
    "Drop", "FrameCounters", "RingWriter", "Skip", "read_counters", "ring_bytes",
]  # fmt: skip

Policy = Literal["newest", "lossless"]


class RingWriter:
    """The camera's end. One a camera process."""

    def __init__(
        self,
        run_dir: Path,
        camera: str,
        incarnation: int,
        size_wh: tuple[int, int],
        policy: Policy,
        n_slots: int = 4,
        bell: Path | None = None,
        is_spare: bool = False,
    ) -> None:
        """Create the ring; raises RingSpaceError when shared memory is too small.

        size_wh: the pictures expected; larger ones are welcome and cost a new ring.
        bell: where the matcher listens for new frames. is_spare: of a main stream that is read
        when it is needed: what nobody takes counts as skipped.
        """
        if not 3 <= n_slots <= MAX_SLOTS:
            raise ValueError(f"n_slots must be 3..{MAX_SLOTS}, got {n_slots}")
        self._run_dir, self._camera, self._incarnation = run_dir, camera, incarnation
        self._is_lossless, self._n_slots, self._n = policy == "lossless", n_slots, 0
        self._is_spare = is_spare
        # the counts first: a reader opens them as soon as it sees the ring
        self._counts = CountsFile.create(counts_path(run_dir, camera, incarnation))
        self._is_closed = False
        try:
            self._ring = self._create(slot_bytes_for(size_wh))
        except WorkerError:
            self._counts.close()
            raise
        self._generation = self._counts.decoded  # never repeats within an incarnation
        self._bell = None if bell is None else Ringer(bell)
        self._credit = Bell(credit_path(run_dir, camera)) if self._is_lossless else None

    def write(self, picture: Picture, timeout_s: float = 0.0) -> bool:
        """Copy a picture into the ring and wake the matcher.

        Returns False when a lossless ring gave no credit in time: nothing happened, try again.
        """
        if slot_bytes_for(picture.size_wh) > self._ring.slot_bytes:
            self._grow(picture.size_wh)
        row = self._slot_to_write(timeout_s)
        if row is None and self._is_lossless:
            return False
        if row is None:  # the reader holds every slot of a live ring
            self._counts.count_written()
            self._counts.count_dropped(Drop.OVERRUN)
            return True
        began_ns = time.monotonic_ns()
        self._ring.copy_planes(row, picture)
        decode_ns = round(picture.decode_ms * 1e6) + time.monotonic_ns() - began_ns
        with self._counts.locked():
            self._publish(row, picture, decode_ns)
        if self._bell is not None:
            self._bell.ring()
        return True

    def skip(self, cause: Skip = Skip.RATE, n: int = 1) -> None:
        """Count frames that were left out by wish."""
        self._counts.count_skipped(cause, n)

    def drop(self, cause: Literal[Drop.CORRUPT, Drop.STOPPED]) -> None:
        """Count a frame that was lost before it could be written."""
        self._counts.count_dropped(cause)

    @property
    def decoded(self) -> int:
        """Return how many frames this incarnation has decoded so far."""
        return self._counts.decoded

    def pending(self) -> int:
        """Return how many frames are ready or at the matcher."""
        with self._counts.locked():
            return self._counts.pending

    def wait_for_credit(self, timeout_s: float) -> None:
        """Sleep until the matcher gave a frame back, or the time ran out (lossless)."""
        if self._credit is not None:
            self._credit.wait(timeout_s)

    def close(self) -> None:
        """End the ring; frames that a lossless one still holds stay readable. Twice is fine."""
        if self._is_closed:
            return
        self._is_closed = True
        if not self._is_lossless:
            self._abandon(Drop.UNREAD)
        for end in (self._bell, self._credit, self._counts):
            if end is not None:
                end.close()

    def _create(self, slot_bytes: int) -> RingFile:
        path = RingName(self._incarnation, self._n).path(self._run_dir, self._camera)
        return RingFile.create(path, slot_bytes, self._n_slots, self._is_lossless)

    def _grow(self, size_wh: tuple[int, int]) -> None:
        self._n += 1
        larger = self._create(slot_bytes_for(size_wh))
        if not self._is_lossless:  # else the reader empties and removes it
            self._abandon(Drop.OVERRUN)
        self._ring = larger

    def _abandon(self, cause: Drop) -> None:
        """Drop what is ready and remove the file; a frame at the matcher stays with it."""
        self._ring.path.unlink(missing_ok=True)  # the reader may have removed it already
        with self._counts.locked():
            self._drop_ready(cause)

    def _slot_to_write(self, timeout_s: float) -> int | None:
        deadline_s = time.monotonic() + timeout_s
        while True:
            with self._counts.locked():
                free = self._ring.rows(SlotState.FREE)
                if free:
                    self._ring.slots[free[0], SlotCell.STATE] = SlotState.WRITING
                    return free[0]
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not self._is_lossless:
                return None
            self.wait_for_credit(left_s)

    def _publish(self, row: int, picture: Picture, decode_ns: int) -> None:
        if not self._is_lossless and self._counts.is_watched():
            self._drop_ready(Drop.OVERRUN, time_ns_of(picture))
        elif not self._is_lossless:
            self._drop_ready(Drop.NO_MATCHER)
        self._generation += 1
        self._ring.describe(row, picture, self._generation, self._counts.decoded, decode_ns)
        self._counts.count_written()
        self._ring.slots[row, SlotCell.STATE] = SlotState.READY

    def _drop_ready(self, cause: Drop, by_ns: int | None = None) -> None:
        """Free what is ready; by_ns: for a newer frame of that time, which may cost no search."""
        for row in self._ring.rows(SlotState.READY):
            # The slot first: a kill in between leaves a frame pending, which settles as stale; the
            # other way round the frame could still be taken, and count twice.
            self._ring.slots[row, SlotCell.STATE] = SlotState.FREE
            if self._is_spare:
                self._counts.count_skipped(Skip.UNNEEDED)
            elif by_ns is not None and self._counts.is_replaced(self._ring.time_ns(row), by_ns):
                self._counts.count_skipped(Skip.BETWEEN)
            else:
                self._counts.count_dropped(cause)
