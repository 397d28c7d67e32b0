"""Frames through shared memory: newest wins or none is lost, and all are accounted for."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.types import ColorMatrix, ColorRange, Frame
from streamer.bell import Bell, Ringer
from streamer.errors import RingSpaceError
from streamer.frame_ring import (
    Drop,
    FrameCounters,
    RingReader,
    RingWriter,
    Skip,
    read_counters,
    ring_bytes,
)
from streamer.ring_file import check_room
from streamer.run_dir import create_run_dir, reclaim_dead_runs
from streamer.sources.base import Picture, SourceOptions

ROOT = Path(__file__).resolve().parents[2]


def picture(value: int, size_wh: tuple[int, int] = (64, 48)) -> Picture:
    """A picture whose every pixel says its number."""
    width, height = size_wh
    chroma = ((height + 1) // 2, (width + 1) // 2)
    return Picture(
        np.full((height, width), value % 256, np.uint8),
        np.full(chroma, (value + 1) % 256, np.uint8),
        np.full(chroma, (value + 2) % 256, np.uint8),
        ColorMatrix.BT709,
        ColorRange.FULL,
        captured_ns=1000 + value,
        wall_ns=2000 + value,
        clock="rtcp",
        media_ns=3000 + value,
        decode_ms=1.5,
    )


def assert_shows(frame: Frame, value: int) -> None:
    """Every pixel is of the same picture."""
    for offset, plane in enumerate((frame.y, frame.u, frame.v)):
        assert (plane == (value + offset) % 256).all()


def assert_sum_holds(counters: FrameCounters) -> None:
    parts = counters.processed + sum(counters.skipped.values()) + sum(counters.dropped.values())
    assert counters.decoded == parts + counters.pending


class Rings:
    """Makes both ends in a folder and closes them after the test."""

    def __init__(self, run_dir: Path, stack: contextlib.ExitStack) -> None:
        self._run_dir, self._stack = run_dir, stack

    def writer(
        self, camera: str, incarnation: int, size_wh: tuple[int, int], policy: Any, **options: Any
    ) -> RingWriter:
        writer = RingWriter.create(self._run_dir, camera, incarnation, size_wh, policy, **options)
        self._stack.callback(writer.close)
        return writer

    def reader(self, camera: str) -> RingReader:
        reader = RingReader(self._run_dir, camera)
        self._stack.callback(reader.close)
        return reader


@pytest.fixture
def rings(tmp_path: Path) -> Iterator[Rings]:
    with contextlib.ExitStack() as stack:
        yield Rings(tmp_path, stack)


def take(reader: RingReader) -> Frame:
    frame = reader.take()
    assert frame is not None
    return frame


def take_soon(reader: RingReader) -> Frame:
    """Wait for the next frame with a deadline."""
    found: list[Frame] = []

    def is_there() -> bool:
        frame = reader.take()
        found.extend([] if frame is None else [frame])
        return bool(found)

    until(is_there)
    return found[0]


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait for a condition with a deadline."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "the condition did not come true in time"
        os.sched_yield()


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process that runs the code, and wait until it has printed a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline()
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)


# --- what a frame carries ---------------------------------------------------------------


@pytest.mark.parametrize("size_wh", [(64, 48), (63, 47), (65, 1), (1920, 1080)])
def test_a_frame_comes_out_as_it_went_in(
    rings: Rings, tmp_path: Path, size_wh: tuple[int, int]
) -> None:
    writer = rings.writer("door", 5, size_wh, "newest")
    reader = rings.reader("door")
    assert reader.take() is None
    assert writer.write(picture(7, size_wh))
    frame = take(reader)
    assert_shows(frame, 7)
    assert (frame.camera, frame.incarnation, frame.number) == ("door", 5, 0)
    assert frame.size_wh == size_wh and frame.u.shape == (
        (size_wh[1] + 1) // 2,
        (size_wh[0] + 1) // 2,
    )
    assert (frame.captured_ns, frame.wall_ns, frame.media_ns) == (1007, 2007, 3007)
    assert (frame.matrix, frame.range, frame.clock) == (ColorMatrix.BT709, ColorRange.FULL, "rtcp")
    assert frame.decode_ms >= 1.5
    with pytest.raises(ValueError, match="read-only"):
        frame.y[0, 0] = 0
    reader.release(frame)
    assert reader.take() is None
    assert read_counters(tmp_path, "door") == FrameCounters(decoded=1, processed=1)
    writer.close()
    writer.close()
    reader.close()
    reader.close()


def test_only_the_owner_can_read_the_files(rings: Rings, tmp_path: Path) -> None:
    writer = rings.writer("door", 0, (64, 48), "lossless")
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    writer.close()


def test_a_camera_that_never_started_has_no_frames(rings: Rings, tmp_path: Path) -> None:
    assert read_counters(tmp_path, "door") == FrameCounters()
    assert rings.reader("door").take() is None


# --- newest wins ------------------------------------------------------------------------


def test_the_newest_frame_wins_and_the_others_count_as_overrun(
    rings: Rings, tmp_path: Path
) -> None:
    writer = rings.writer("door", 0, (64, 48), "newest")
    reader = rings.reader("door")
    assert reader.take() is None  # from now on there is a matcher
    for value in range(10):
        assert writer.write(picture(value))
    frame = take(reader)
    assert frame.number == 9
    assert_shows(frame, 9)
    reader.release(frame)
    counters = read_counters(tmp_path, "door")
    assert counters == FrameCounters(10, 1, {}, {"overrun": 9})


def test_without_a_matcher_frames_count_as_such(rings: Rings, tmp_path: Path) -> None:
    writer = rings.writer("door", 0, (64, 48), "newest")
    for value in range(4):
        writer.write(picture(value))
    writer.skip(Skip.RATE)
    writer.drop(Drop.CORRUPT)
    counters = read_counters(tmp_path, "door")
    assert counters == FrameCounters(6, 0, {"rate": 1}, {"no_matcher": 3, "corrupt": 1}, pending=1)
    assert counters.settled().dropped == {"no_matcher": 3, "corrupt": 1, "unread": 1}
    writer.close()
    assert read_counters(tmp_path, "door") == counters.settled()


def test_a_frame_in_use_is_never_written_over(rings: Rings, tmp_path: Path) -> None:
    writer = rings.writer("door", 0, (64, 48), "newest", n_slots=3)
    reader = rings.reader("door")
    held = []
    for value in range(0, 40, 10):
        for each in range(value, value + 10):
            writer.write(picture(each))
        if len(held) < 2:
            held.append(take(reader))
    assert [frame.number for frame in held] == [9, 19]
    for frame in held:
        assert_shows(frame, frame.number)
        reader.release(frame)
        reader.release(frame)  # twice is fine, and counts once
    assert_sum_holds(read_counters(tmp_path, "door"))
    assert read_counters(tmp_path, "door").processed == 2


def test_a_reader_that_holds_every_slot_costs_frames_not_the_stream(
    rings: Rings, tmp_path: Path
) -> None:
    writer = rings.writer("door", 0, (64, 48), "newest", n_slots=3)
    reader = rings.reader("door")
    held = []
    for value in range(3):
        writer.write(picture(value))
        held.append(take(reader))
    assert writer.write(picture(3))
    assert reader.take() is None
    for frame in held:
        assert_shows(frame, frame.number)
        reader.release(frame)
    writer.write(picture(4))
    assert take(reader).number == 4
    assert read_counters(tmp_path, "door") == FrameCounters(5, 3, {}, {"overrun": 1}, pending=1)


def test_a_frame_that_failed_is_dropped_by_cause(rings: Rings, tmp_path: Path) -> None:
    writer = rings.writer("door", 0, (64, 48), "newest")
    reader = rings.reader("door")
    writer.write(picture(0))
    reader.release(take(reader), failed=True)
    assert read_counters(tmp_path, "door") == FrameCounters(1, 0, {}, {"failed": 1})


# --- lossless with credit ---------------------------------------------------------------


def test_a_lossless_writer_waits_for_credit_and_keeps_the_order(
    rings: Rings, tmp_path: Path
) -> None:
    writer = rings.writer("film", 0, (64, 48), "lossless", n_slots=4)
    reader = rings.reader("film")
    for value in range(4):
        assert writer.write(picture(value))
    assert not writer.write(picture(4))
    assert writer.pending() == 4
    seen = []
    for value in range(4, 20):
        frame = take(reader)
        seen.append(frame.number)
        assert_shows(frame, frame.number)
        assert not writer.write(picture(value))  # taken is not given back
        reader.release(frame)
        assert writer.write(picture(value))
    while (frame := reader.take()) is not None:
        seen.append(frame.number)
        reader.release(frame)
    assert seen == list(range(20))
    assert read_counters(tmp_path, "film") == FrameCounters(20, 20)
    assert writer.pending() == 0


def test_frames_of_a_closed_lossless_ring_are_still_there(rings: Rings, tmp_path: Path) -> None:
    writer = rings.writer("film", 0, (64, 48), "lossless")
    for value in range(3):
        writer.write(picture(value))
    writer.close()
    reader = rings.reader("film")
    numbers = []
    while (frame := reader.take()) is not None:
        numbers.append(frame.number)
        reader.release(frame)
    assert numbers == [0, 1, 2]


# --- sizes that change ------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["newest", "lossless"])
def test_pictures_may_change_their_size(rings: Rings, tmp_path: Path, policy: str) -> None:
    writer = rings.writer("door", 0, (64, 48), policy)
    reader = rings.reader("door")
    for value, size_wh in enumerate([(64, 48), (48, 64), (33, 17), (640, 480), (64, 48)]):
        writer.write(picture(value, size_wh))
        frame = take(reader)
        assert frame.size_wh == size_wh and frame.number == value
        assert_shows(frame, value)
        reader.release(frame)
    assert read_counters(tmp_path, "door") == FrameCounters(5, 5)


def test_growing_loses_nothing_that_a_lossless_ring_still_holds(
    rings: Rings, tmp_path: Path
) -> None:
    writer = rings.writer("film", 0, (64, 48), "lossless")
    reader = rings.reader("film")
    for value in range(3):
        writer.write(picture(value))
    held = take(reader)
    writer.write(picture(3, (320, 240)))
    assert [take(reader).number for _ in range(3)] == [1, 2, 3]
    assert_shows(held, 0)
    reader.release(held)
    assert read_counters(tmp_path, "film") == FrameCounters(4, 1, pending=3)
    assert [path.name for path in tmp_path.glob("*.ring")] == ["film.0.1.ring"]


# --- processes that die -----------------------------------------------------------------

_WRITE_FOR_EVER = """
import sys, itertools
from pathlib import Path
from streamer.frame_ring import RingWriter
from tests.streamer.test_frame_ring import picture
writer = RingWriter.create(Path(sys.argv[1]), "door", int(sys.argv[2]), (640, 480), sys.argv[3])
for value in itertools.count():
    writer.write(picture(value, (640, 480)), timeout_s=60)
    if value == 5: print("started", flush=True)
"""
_READ_AND_HOLD = """
import sys, time
from pathlib import Path
from streamer.frame_ring import RingReader
reader = RingReader(Path(sys.argv[1]), "door")
frame = reader.take()
print(frame.number, flush=True)
sys.stdin.read()
"""


def test_no_frame_is_ever_torn(rings: Rings, tmp_path: Path) -> None:
    """A writer in another process at full speed; every pixel of a frame is of the same picture."""
    writer = start(_WRITE_FOR_EVER, tmp_path, 0, "newest")
    reader = rings.reader("door")
    try:
        last = -1
        for _ in range(60):
            frame = take_soon(reader)
            assert frame.number > last
            last = frame.number
            assert_shows(frame, frame.number)
            reader.release(frame)
    finally:
        kill(writer)
    assert_sum_holds(read_counters(tmp_path, "door"))
    assert read_counters(tmp_path, "door").processed == 60


@pytest.mark.parametrize("policy", ["newest", "lossless"])
def test_a_killed_camera_leaves_a_sum_that_holds(rings: Rings, tmp_path: Path, policy: str) -> None:
    """1. The camera is killed while it writes. 2. A new incarnation writes on.
    Result: the matcher goes on with the new one, and no frame is missing in the counts."""
    reader = rings.reader("door")
    if policy == "newest":
        kill(start(_WRITE_FOR_EVER, tmp_path, 0, policy))
    else:
        writer = rings.writer("door", 0, (64, 48), "lossless")
        for value in range(3):
            writer.write(picture(value))
        # not closed, as a killed one
    before = read_counters(tmp_path, "door")
    assert_sum_holds(before)
    second = rings.writer("door", 1, (64, 48), policy)
    second.write(picture(0))
    frames = []
    while (frame := reader.take()) is not None:
        frames.append((frame.incarnation, frame.number))
        reader.release(frame)
    assert frames[-1] == (1, 0)
    counters = read_counters(tmp_path, "door")
    assert_sum_holds(counters)
    assert counters.decoded == before.decoded + 1 and counters.pending == 0
    assert not list(tmp_path.glob("door.0.*.ring"))


def test_frames_after_a_matchers_death_say_so(rings: Rings, tmp_path: Path) -> None:
    writer = rings.writer("door", 0, (64, 48), "newest")
    writer.write(picture(0))
    matcher = subprocess.Popen(
        [sys.executable, "-c", _READ_AND_HOLD, str(tmp_path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert matcher.stdout is not None and matcher.stdout.readline() == "0\n"
    for value in range(1, 4):
        writer.write(picture(value))
    assert read_counters(tmp_path, "door").dropped == {"overrun": 2}
    kill(matcher)
    writer.write(picture(4))
    writer.write(picture(5))
    assert read_counters(tmp_path, "door").dropped == {"overrun": 2, "no_matcher": 2}
    second = rings.reader("door")
    second.release(take(second))
    assert read_counters(tmp_path, "door") == FrameCounters(
        6, 1, {}, {"overrun": 2, "no_matcher": 2, "matcher_died": 1}
    )


def test_a_killed_matcher_loses_only_the_frame_in_its_hands(rings: Rings, tmp_path: Path) -> None:
    writer = rings.writer("door", 0, (64, 48), "lossless")
    for value in range(3):
        writer.write(picture(value))
    first = subprocess.Popen(
        [sys.executable, "-c", _READ_AND_HOLD, str(tmp_path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert first.stdout is not None and first.stdout.readline() == "0\n"
    kill(first)
    second = rings.reader("door")
    for number in (1, 2):
        frame = take(second)
        assert frame.number == number
        second.release(frame)
    assert read_counters(tmp_path, "door") == FrameCounters(3, 2, {}, {"matcher_died": 1})
    for value in range(3, 7):
        assert writer.write(picture(value))  # all four slots are free again


def test_a_replaced_matcher_cannot_give_back_what_it_lost(rings: Rings, tmp_path: Path) -> None:
    writer = rings.writer("door", 0, (64, 48), "newest")
    hung, second = rings.reader("door"), rings.reader("door")
    writer.write(picture(0))
    frame = take(hung)
    assert second.take() is None  # takes over
    hung.release(frame)
    assert read_counters(tmp_path, "door") == FrameCounters(1, 0, {}, {"matcher_died": 1})


# --- shared memory: too small, left behind ----------------------------------------------


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


_RUN = """
import sys
from pathlib import Path
from streamer.run_dir import create_run_dir
run_dir = create_run_dir(Path(sys.argv[1]))
(run_dir / "door.0.0.ring").write_bytes(b"x" * 1000)
print(run_dir, flush=True)
sys.stdin.read()
"""


def test_the_next_start_reclaims_what_a_killed_daemon_left(tmp_path: Path) -> None:
    dead = subprocess.Popen(
        [sys.executable, "-c", _RUN, str(tmp_path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert dead.stdout is not None
    left_behind = Path(dead.stdout.readline().strip())
    assert reclaim_dead_runs(tmp_path) == [] and left_behind.is_dir()
    kill(dead)
    own = create_run_dir(tmp_path)
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    younger = tmp_path / f"magpie-{os.getpid()}-1"  # this number, but another process's start
    foreign = tmp_path / "magpie-notes"
    for folder in (younger, foreign):
        folder.mkdir()
    assert set(reclaim_dead_runs(tmp_path)) == {left_behind, younger}
    assert {path for path in tmp_path.iterdir()} == {own, foreign}


# --- bells ------------------------------------------------------------------------------


def test_a_bell_wakes_and_forgets(tmp_path: Path) -> None:
    path = tmp_path / "matcher.0.bell"
    ringer = Ringer(path)
    ringer.ring()  # nobody listens: no matter
    with Bell(path) as bell:
        assert not bell.wait(0)
        for _ in range(2000):
            ringer.ring()  # more than a socket holds: no matter
        assert bell.wait(5)
        assert not bell.wait(0)
        with Bell(path) as other:  # a successor takes the name over
            ringer.ring()
            assert other.wait(5)
    ringer.close()


def test_writing_rings_the_matchers_bell(rings: Rings, tmp_path: Path) -> None:
    with Bell(tmp_path / "bell") as bell:
        writer = rings.writer("door", 0, (64, 48), "newest", bell=tmp_path / "bell")
        assert not bell.wait(0)
        writer.write(picture(0))
        assert bell.wait(5)
        writer.close()


def test_a_camera_killed_while_it_drops_a_frame_loses_none_and_counts_none_twice(
    rings: Rings, tmp_path: Path
) -> None:
    """1. Camera dies at each step of replacing a ready frame. 2. A new incarnation writes on.
    Result: the sum holds, whatever the reader then takes."""
    reader = rings.reader("door")
    for incarnation, last_step in enumerate(("slot", "count")):
        writer = rings.writer("door", incarnation, (64, 48), "newest")
        writer.write(picture(0))
        if last_step == "slot":
            writer._counts.count_dropped = lambda cause: None  # type: ignore[method-assign]
        writer._drop_ready(Drop.OVERRUN)  # and then SIGKILL
    rings.writer("door", 2, (64, 48), "newest").write(picture(0))
    while (frame := reader.take()) is not None:
        reader.release(frame)
    counters = read_counters(tmp_path, "door")
    assert_sum_holds(counters)
    assert dict(counters.dropped) == {"stale": 1, "overrun": 1}
    assert counters.processed == 1


def test_a_matcher_killed_while_it_gives_a_frame_back_counts_it_once(
    rings: Rings, tmp_path: Path
) -> None:
    """1. A frame is counted as processed, its slot not yet free: the matcher dies just then.
    2. Another matcher takes over. Result: the frame was processed once."""
    rings.writer("door", 0, (64, 48), "newest").write(picture(0))
    first = rings.reader("door")
    assert first.take() is not None
    assert first._attached is not None
    first._attached.counts.count_processed()  # and then SIGKILL
    assert rings.reader("door").take() is None
    counters = read_counters(tmp_path, "door")
    assert_sum_holds(counters)
    assert counters.processed == 1 and not counters.dropped
