"""Frames through shared memory: newest wins or none is lost, and all are accounted for."""

import stat
from pathlib import Path

import pytest

from pipeline.types import ColorMatrix, ColorRange
from streamer.frame_ring import Drop, FrameCounters, Skip, read_counters
from tests.streamer.ring_rig import Rings, assert_shows, assert_sum_holds, picture, take

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


def test_a_frame_that_a_newer_one_replaces_is_lost_only_if_a_search_is(
    rings: Rings, tmp_path: Path
) -> None:
    writer = rings.writer("door", 0, (64, 48), "newest")
    reader = rings.reader("door")
    assert reader.take() is None
    reader.set_due(3003, 4)  # pictures say 3000, 3001, …: searches from 3003, 3007, 3011 on
    for value in range(3):  # none is due: the last one waits
        writer.write(picture(value))
    assert read_counters(tmp_path, "door").skipped == {"between": 2}
    for value in range(3, 7):  # any of these four serves the search that is due at 3003
        writer.write(picture(value))
    assert read_counters(tmp_path, "door").skipped == {"between": 6}
    writer.write(picture(12))  # the searches of 3003 and 3007 will not be: one frame was ready
    counters = read_counters(tmp_path, "door")
    assert (counters.skipped, counters.dropped) == ({"between": 6}, {"overrun": 1})
    assert take(reader).number == 7
    assert_sum_holds(counters)


def test_a_frame_that_was_not_searched_as_nothing_moved_counts_as_skipped(
    rings: Rings, tmp_path: Path
) -> None:
    writer = rings.writer("door", 0, (64, 48), "newest")
    reader = rings.reader("door")
    for value in range(5):
        writer.write(picture(value))
        reader.release(take(reader), skipped=Skip.STILL if value in (1, 2) else None)
    writer.skip(Skip.RATE)
    writer.drop(Drop.CORRUPT)
    writer.write(picture(5))
    counters = read_counters(tmp_path, "door")
    skipped = {"rate": 1, "still": 2}
    assert counters == FrameCounters(8, 3, skipped, {"corrupt": 1}, pending=1)
    assert_sum_holds(counters)


def test_a_spare_frame_that_nobody_takes_is_skipped_not_lost(rings: Rings, tmp_path: Path) -> None:
    writer = rings.writer("door+main", 0, (64, 48), "newest", is_spare=True)
    for value in range(4):  # no matcher yet
        writer.write(picture(value))
    reader = rings.reader("door+main")
    reader.release(take(reader))
    for value in range(4, 7):
        writer.write(picture(value))
    reader.release(take(reader), skipped=Skip.UNNEEDED)
    writer.write(picture(7))
    counters = read_counters(tmp_path, "door+main")
    assert counters == FrameCounters(8, 1, {"unneeded": 6}, {}, pending=1)
    assert counters.settled(Skip.UNNEEDED) == FrameCounters(8, 1, {"unneeded": 7}, {})
    writer.close()
    assert read_counters(tmp_path, "door+main") == counters.settled(Skip.UNNEEDED)


def test_the_ring_of_a_main_stream_is_not_taken_for_its_cameras(
    rings: Rings, tmp_path: Path
) -> None:
    rings.writer("door+main", 3, (64, 48), "newest", is_spare=True).write(picture(9))
    rings.writer("door", 0, (64, 48), "newest").write(picture(1))
    assert_shows(take(rings.reader("door")), 1)
    assert_shows(take(rings.reader("door+main")), 9)
    assert read_counters(tmp_path, "door").decoded == 1


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
