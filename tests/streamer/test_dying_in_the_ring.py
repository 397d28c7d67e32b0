"""Cameras and matchers that die with the ring in their hands: no frame torn, the sum holds."""

from pathlib import Path

import pytest

from streamer.frame_ring import Drop, FrameCounters, read_counters
from tests.streamer.ring_rig import (
    Rings,
    assert_shows,
    assert_sum_holds,
    kill,
    picture,
    start,
    take,
    take_soon,
)

_WRITE_FOR_EVER = """
import sys, itertools
from pathlib import Path
from streamer.frame_ring import RingWriter
from tests.streamer.ring_rig import picture
writer = RingWriter(Path(sys.argv[1]), "door", int(sys.argv[2]), (640, 480), sys.argv[3])
for value in itertools.count():
    writer.write(picture(value, (640, 480)), timeout_s=60)
    if value == 5: print("started", flush=True)
"""
_READ_AND_HOLD = """
import sys, time
from pathlib import Path
from streamer.ring_reader import RingReader
reader = RingReader(Path(sys.argv[1]), "door")
frame = reader.take()
print(frame.number, flush=True)
sys.stdin.read()
"""


def test_no_frame_is_ever_torn(rings: Rings, tmp_path: Path) -> None:
    """A writer in another process at full speed; every pixel of a frame is of the same picture."""
    writer, _ = start(_WRITE_FOR_EVER, tmp_path, 0, "newest")
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
        kill(start(_WRITE_FOR_EVER, tmp_path, 0, policy)[0])
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
    matcher, number = start(_READ_AND_HOLD, tmp_path)
    assert number == "0"
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
    first, number = start(_READ_AND_HOLD, tmp_path)
    assert number == "0"
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
