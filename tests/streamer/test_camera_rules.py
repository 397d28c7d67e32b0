"""The rules of the camera process by themselves: retries, frozen pictures, the rate."""

import random

import numpy as np
import pytest

from pipeline.errors import SourceError
from pipeline.types import ColorMatrix, ColorRange
from streamer.camera_process import FrozenWatch, Retry
from streamer.errors import (
    AuthenticationError,
    CodecError,
    NotFoundError,
    UnreachableError,
    UnsupportedError,
)
from streamer.pacer import Pacer
from streamer.sources.base import Picture


def picture(value: int, captured_s: float = 0.0, media_s: float = -1e-9) -> Picture:
    plane = np.full((8, 8), value, np.uint8)
    return Picture(
        plane, plane[:4, :4], plane[:4, :4], ColorMatrix.BT601, ColorRange.FULL,
        captured_ns=round(captured_s * 1e9), wall_ns=0, media_ns=round(media_s * 1e9),
    )  # fmt: skip


def test_retries_wait_longer_and_longer() -> None:
    retry = Retry(random.Random(1))
    waits_s = [retry.after(UnreachableError("x")) for _ in range(40)]
    for wait_s, usual_s in zip(waits_s, [0.5, 1, 2] + [2] * 37, strict=True):
        assert 0.8 * usual_s <= wait_s <= 1.2 * usual_s
    assert max(waits_s) - min(waits_s[3:]) > 0.4  # not all cameras at the same moment
    retry.reset()
    assert retry.after(UnreachableError("x")) <= 0.6


@pytest.mark.parametrize(
    "error", [AuthenticationError, NotFoundError, UnsupportedError, CodecError]
)
def test_a_no_is_not_asked_again_soon(error: type[SourceError]) -> None:
    retry = Retry(random.Random(1))
    waits_s = [retry.after(error("x")) for _ in range(2000)]
    for wait_s, usual_s in zip(waits_s, [0.5, 1, 2, 4, 8, 16, 30, 30], strict=False):
        assert 0.8 * usual_s <= wait_s <= 1.2 * usual_s
    assert max(waits_s) <= 36


def test_a_frozen_picture_is_noticed_and_so_is_its_end() -> None:
    watch = FrozenWatch(after_s=2)
    seen = [watch.look(picture(7, captured_s=number / 10)) for number in range(40)]
    looks = [(number / 10, look) for number, look in enumerate(seen) if look is not None]
    assert [at_s for at_s, _ in looks] == pytest.approx([0.5 * n for n in range(8)])
    assert [look for _, look in looks] == [False] * 4 + [True] * 4
    assert watch.look(picture(8, captured_s=5)) is False
    moving = FrozenWatch(after_s=2)
    assert not any(moving.look(picture(n, captured_s=n)) for n in range(20))
    slow = FrozenWatch(after_s=2)  # one picture a minute: three that are the same say nothing
    assert [slow.look(picture(7, captured_s=60 * n)) for n in range(5)] == [False] * 3 + [True] * 2
    never = FrozenWatch(after_s=0)
    assert not any(never.look(picture(7, captured_s=n)) for n in range(20))


@pytest.mark.parametrize(
    ("fps", "max_fps", "kept"), [(25, 0, 100), (25, 25, 100), (25, 30, 100), (25, 5, 20)]
)
def test_a_rate_is_kept_evenly(fps: float, max_fps: float, kept: int) -> None:
    pacer = Pacer(max_fps)
    numbers = [n for n in range(100) if pacer.is_due(picture(0, media_s=n / fps))]
    assert len(numbers) == kept
    assert len(set(np.diff(numbers))) == 1


def test_a_rate_that_does_not_divide_is_met_on_average() -> None:
    pacer = Pacer(10)
    kept = sum(pacer.is_due(picture(0, captured_s=5 + n / 25)) for n in range(250))
    assert kept == pytest.approx(100, abs=2)
