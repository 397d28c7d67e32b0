"""`skip_frame`: what the decoder leaves out is counted, one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from streamer.frame_ring import read_counters
from streamer.sources.base import LeftOut, Picture, SourceOptions, create_source
from streamer.sources.left_out import LONGEST_REORDER, LeftOutPictures
from tests.streamer.camera_rig import Rig
from tests.streamer.clips import write_clip

N = 50
CLIPS: dict[str, dict[str, str]] = {
    "with B-frames": {"g": "12", "bf": "2", "b_strategy": "0"},
    "with P-frames only": {"g": "10", "bf": "0"},
    "with key frames only": {"g": "1"},
}


def read(clip: Path, skip_frame: str) -> tuple[list[int], list[int]]:
    """Return the times (ms) of the pictures, and how many were left out before each and the end."""
    options = SourceOptions(url=str(clip), skip_frame=skip_frame)  # type: ignore[arg-type]
    media_ms, left_out = [], [0]
    for each in create_source(options).pictures(lambda _: False):
        if isinstance(each, LeftOut):
            left_out[-1] += each.n
        elif isinstance(each, Picture):
            media_ms.append(round(each.media_ns / 1e6))
            left_out.append(0)
    return media_ms, left_out


@pytest.mark.parametrize("kind", CLIPS)
@pytest.mark.parametrize("skip_frame", ["none", "nonref", "nonkey"])
def test_each_picture_comes_out_or_is_counted_as_left_out(
    tmp_path: Path, kind: str, skip_frame: str
) -> None:
    clip = write_clip(tmp_path / "a.mp4", N, options=CLIPS[kind])
    media_ms, left_out = read(clip, skip_frame)
    assert len(media_ms) + sum(left_out) == N
    if skip_frame == "none" or kind == "with key frames only":
        assert len(media_ms) == N
    elif skip_frame == "nonkey":
        step = int(CLIPS[kind]["g"])
        assert media_ms == [40 * number for number in range(0, N, step)]
    elif kind == "with B-frames":
        assert N // 3 <= len(media_ms) <= 0.7 * N


def test_what_was_left_out_between_two_key_frames_is_told_with_the_second(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", N, options=CLIPS["with P-frames only"])
    assert read(clip, "nonkey")[1] == [0, 9, 9, 9, 9, 9]


def test_a_cameras_frames_are_all_accounted_for(rig: Callable[..., Rig], tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", N, options=CLIPS["with P-frames only"])
    camera = rig(url=str(clip), skip_frame="nonkey")
    assert len(camera.work_until_end()) == 5
    counters = read_counters(camera.run_dir, "door")
    assert (counters.decoded, counters.processed) == (N, 5)
    assert counters.skipped == {"decoder": N - 5} and not counters.dropped


def test_a_picture_without_a_time_stands_for_all_that_were_sent_before_it() -> None:
    found, tokens = LeftOutPictures(), [object() for _ in range(4)]
    for token in tokens:
        assert found.sent(token, None) == 0
    assert found.came_out(tokens[2]) == 2
    assert found.came_out(tokens[2]) == 0
    assert found.rest() == 1


def test_a_later_picture_that_was_sent_earlier_is_still_waited_for() -> None:
    found = LeftOutPictures()
    key, forward, first, second = (object() for _ in range(4))
    for token, pts in ((key, 0), (forward, 3), (first, 1), (second, 2)):
        found.sent(token, pts)
    assert [found.came_out(token) for token in (key, second, forward)] == [0, 1, 0]


def test_one_that_could_not_be_decoded_is_not_left_out_as_well() -> None:
    found, broken, whole = LeftOutPictures(), object(), object()
    found.sent(broken, 0)
    found.sent(whole, 1)
    found.failed(broken)
    assert found.came_out(whole) == 0 and found.rest() == 0


def test_a_clock_that_jumps_back_keeps_nothing_for_ever() -> None:
    found = LeftOutPictures()
    counted = sum(found.sent(object(), 10_000 - number) for number in range(100))
    assert counted == 100 - LONGEST_REORDER
    assert counted + found.rest() == 100
