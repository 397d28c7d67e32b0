"""Clips for enrolment: some pictures a second, the same ones each time, and plain reasons."""

import os
from pathlib import Path

import numpy as np
import pytest

from streamer.errors import CodecError
from streamer.sources.clip_file import open_clip
from tests.streamer.clips import write_clip


def times_ms(path: Path, fps: float) -> list[int]:
    return [round(frame.media_ns / 1e6) for frame in open_clip(path).frames(fps)]


def test_a_clip_gives_at_most_so_many_pictures_a_second(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 50)
    expected = [0, 120, 200, 320, 400, 520, 600, 720, 800, 920]
    assert times_ms(clip, 10) == [*expected, *(1000 + time for time in expected)]
    assert times_ms(clip, 10) == times_ms(clip, 10)
    assert len(times_ms(clip, 100)) == 50


def test_a_clip_says_how_long_it_is(tmp_path: Path) -> None:
    assert open_clip(write_clip(tmp_path / "a.mp4", 50)).length_s == pytest.approx(2.0, abs=0.05)


def test_a_slow_clip_gives_all_its_pictures(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mkv", 3, times_s=[0.0, 1.5, 4.0])
    assert times_ms(clip, 10) == [0, 1500, 4000]


def test_pictures_are_upright(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 2, rotation_deg=90)
    assert next(open_clip(clip).frames(10)).size_wh == (240, 320)


def test_what_is_no_video_is_told_without_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(CodecError) as caught:
        open_clip(path)
    assert str(caught.value).startswith("the data cannot be understood as video")
    whole = write_clip(tmp_path / "whole.mp4", 25).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CodecError, match=r"^the data cannot be"):
        list(open_clip(path).frames(10))


def test_a_name_of_another_encoding_is_told(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    write_clip(tmp_path / "a.mp4", 2).rename(path)
    with pytest.raises(CodecError, match="must have a name in UTF-8; rename it"):
        open_clip(path)


def test_names_like_patterns_and_protocols_are_read(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", 2).rename(tmp_path / "img%03d [a] 10:00.mp4")
    assert times_ms(path, 10) == [0]
