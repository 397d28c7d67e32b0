from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.color import frame_from_bgr
from pipeline.timing import FrameClock, StageTimer
from pipeline.types import Frame

S = 1_000_000_000


def frame(captured_s: float, media_s: float = -1.0) -> Frame:
    picture = frame_from_bgr(np.zeros((16, 16, 3), np.uint8))
    media_ns = int(media_s * S) if media_s >= 0 else -1
    return replace(picture, captured_ns=int(captured_s * S), media_ns=media_ns)


@pytest.mark.parametrize(
    ("name", "frames", "expected"),
    [
        ("live", [(5.0, -1), (5.5, -1), (7.0, -1)], [0.0, 0.5, 2.0]),
        ("live, times jump back", [(5.0, -1), (4.0, -1), (4.5, -1)], [0.0, 0.0, 0.5]),
        ("file read slowly", [(5.0, 0.0), (9.0, 0.04), (20.0, 0.08)], [0.0, 0.04, 0.08]),
        ("file starts again", [(5.0, 3.0), (5.1, 3.04), (5.2, 0.0)], [0.0, 0.04, 0.14]),
    ],
)
def test_camera_time_never_goes_back(
    name: str, frames: list[tuple[float, float]], expected: list[float]
) -> None:
    clock = FrameClock()
    assert [clock.advance(frame(*f)) for f in frames] == pytest.approx(expected), name


@pytest.mark.parametrize(
    ("steps_s", "slowness"),
    [
        ([], 1.0),
        ([0.04] * 9, 1.0),
        ([0.4] * 9, 1.0),
        ([4.0], 10.0),
        ([0.01, 2.0, 2.0], 5.0),
        ([0.04] * 9 + [3.0], 1.0),
        ([60.0] * 3, 150.0),
    ],
)
def test_a_slow_camera_is_told_by_its_usual_step(steps_s: list[float], slowness: float) -> None:
    clock, now_s = FrameClock(), 5.0
    clock.advance(frame(now_s))
    for step_s in steps_s:
        now_s += step_s
        clock.advance(frame(now_s))
    assert clock.slowness == pytest.approx(slowness)


def test_stages_add_up_and_name_what_came_before() -> None:
    timer = StageTimer()
    for _ in range(2):
        with timer.stage("detect"):
            np.linalg.svd(np.ones((60, 60)))
    with pytest.raises(KeyError), timer.stage("track"):
        raise KeyError("a stage that fails is timed as well")
    captured_s = timer.started_ns / S - 0.1
    stages = timer.of_frame(replace(frame(captured_s), decode_ms=30.0))
    assert list(stages) == ["decode", "wait", "detect", "track"]
    assert stages["decode"] == 30.0 and stages["wait"] == pytest.approx(70, abs=1)
    assert stages["detect"] > 0
