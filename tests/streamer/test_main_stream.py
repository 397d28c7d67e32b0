"""The main stream beside the small one: which picture goes with a frame, and what counts."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.types import Frame
from streamer import main_stream
from streamer.frame_counters import FrameCounters, Skip, read_counters
from streamer.frame_ring import RingWriter
from streamer.main_stream import MainStream
from streamer.matcher_args import ended_mark, main_ring
from tests.streamer.ring_rig import Rings, picture

RING = main_ring("door")


@pytest.fixture
def main(tmp_path: Path) -> Iterator[MainStream]:
    stream = MainStream(tmp_path, "door")
    yield stream
    stream.close()


def writer(rings: Rings, policy: str = "newest") -> RingWriter:
    return rings.writer(RING, 0, (64, 48), policy, is_spare=True)


def put(ring: RingWriter, **times: float) -> None:
    ring.write(replace(picture(0), **stamps(**times)))


def frame(**times: float) -> Frame:
    plane = np.zeros((24, 32), np.uint8)
    return replace(Frame("door", 0, 0, 0, plane, plane, plane), **stamps(**times))


def stamps(
    arrived_ms: float = 0.0, media_ms: float = -1.0, rtcp_ms: float = -1.0
) -> dict[str, Any]:
    """Times as pictures and frames have them. rtcp_ms: by the camera's clock, if it tells."""
    is_told = rtcp_ms >= 0
    return {
        "captured_ns": round(arrived_ms * 1e6),
        "media_ns": round(media_ms * 1e6) if media_ms >= 0 else -1,
        "wall_ns": round((rtcp_ms if is_told else arrived_ms) * 1e6),
        "clock": "rtcp" if is_told else "arrival",
    }


def number_of(found: Frame | None) -> int | None:
    return None if found is None else found.number


def test_before_any_picture_there_is_none(main: MainStream) -> None:
    assert not main.follow(frame(media_ms=0))
    assert main.picture_of(frame(media_ms=0)) is None


def test_the_nearest_picture_of_a_recording_goes_with_a_frame(
    rings: Rings, main: MainStream, tmp_path: Path
) -> None:
    ring = writer(rings, "lossless")
    for media_ms in (0, 40, 80, 120):
        put(ring, media_ms=media_ms)
    assert main.follow(frame(media_ms=0)) and number_of(main.picture_of(frame(media_ms=0))) == 0
    late = frame(media_ms=81)  # between two: the nearer, and the other one is kept for what comes
    assert main.follow(late) and number_of(main.picture_of(late)) == 2
    last = frame(media_ms=120)
    assert main.follow(last) and number_of(main.picture_of(last)) == 3
    assert not main.follow(frame(media_ms=160))  # it may still come


def test_a_picture_too_far_away_in_time_does_not_go_with_a_frame(
    rings: Rings, main: MainStream
) -> None:
    put(writer(rings), arrived_ms=1000)
    for arrived_ms, expected in ((849, None), (851, 0), (1149, 0), (1151, None)):
        main.follow(frame(arrived_ms=arrived_ms))
        assert number_of(main.picture_of(frame(arrived_ms=arrived_ms))) == expected


def test_the_cameras_own_clock_counts_where_both_streams_have_it(
    rings: Rings, main: MainStream
) -> None:
    ring = writer(rings)
    put(ring, arrived_ms=1200, rtcp_ms=5000)  # large pictures arrive late
    same = frame(arrived_ms=1000, rtcp_ms=5000)
    main.follow(same)
    assert number_of(main.picture_of(same)) == 0
    assert main.picture_of(frame(arrived_ms=1000)) is None


def test_a_picture_that_is_no_larger_does_not_go_with_a_frame(
    rings: Rings, main: MainStream
) -> None:
    put(writer(rings), arrived_ms=1000)
    plane = np.zeros((48, 64), np.uint8)
    large = replace(frame(arrived_ms=1000), y=plane)
    main.follow(large)
    assert main.picture_of(large) is None


def test_each_picture_counts_once_used_or_unneeded(
    rings: Rings, main: MainStream, tmp_path: Path
) -> None:
    ring = writer(rings)
    for number in range(8):
        put(ring, arrived_ms=40 * number)
        now = frame(arrived_ms=40 * number)
        main.follow(now)
        found = main.picture_of(now)
        assert found is not None
        if number % 4 == 0:
            main.note_use(found)
            main.note_use(found)  # by two frames
    main.close()
    main.close()
    expected = FrameCounters(8, 2, {"unneeded": 6}, {})
    assert read_counters(tmp_path, RING).settled(Skip.UNNEEDED) == expected


def test_a_recording_is_followed_through_a_ring_that_is_always_full(
    rings: Rings, main: MainStream, tmp_path: Path
) -> None:
    ring = writer(rings, "lossless")
    n_written = 0
    for number in range(30):
        while n_written < 30 and ring.write(replace(picture(0), media_ns=n_written * 40_000_000)):
            n_written += 1
        assert main.follow(frame(media_ms=40 * number))
        assert number_of(main.picture_of(frame(media_ms=40 * number))) == number
    assert n_written == 30


def test_a_recording_that_ended_or_gives_nothing_for_long_is_not_waited_for(
    rings: Rings, main: MainStream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not main.follow(frame(media_ms=0))
    monkeypatch.setattr(main_stream, "WAIT_NS", 0)
    assert main.follow(frame(media_ms=0))
    monkeypatch.undo()
    put(writer(rings, "lossless"), media_ms=0)
    assert main.follow(frame(media_ms=0)) and not main.follow(frame(media_ms=40))
    ended_mark(tmp_path, RING).touch()
    assert main.follow(frame(media_ms=40))


def test_a_stream_that_starts_anew_is_caught_up_with(
    rings: Rings, main: MainStream, tmp_path: Path
) -> None:
    first = writer(rings, "lossless")
    put(first, media_ms=0)
    put(first, media_ms=40)
    assert main.follow(frame(media_ms=40))
    first.close()
    again = rings.writer(RING, 1, (64, 48), "lossless", is_spare=True)
    for media_ms in (0, 40, 80):
        put(again, media_ms=media_ms)
    now = frame(media_ms=80)
    assert main.follow(now)
    found = main.picture_of(now)
    assert found is not None and (found.incarnation, found.number) == (1, 2)
