"""When a camera that gives no frames counts as lost: by its own pace."""

import pytest

from streamer.feed import FrameGaps

S = 1_000_000_000


def after(*gaps_s: float) -> tuple[FrameGaps, float]:
    """Gaps between frames, the first frame coming at once; and the time of the last one, s."""
    gaps, now_s = FrameGaps(0), 0.0
    gaps.note(0)
    for gap_s in gaps_s:
        now_s += gap_s
        gaps.note(round(now_s * S))
    return gaps, now_s


@pytest.mark.parametrize(
    ("gaps_s", "lost_after_s"),
    [
        ((), 65),
        ((0.04,) * 2, 65),
        ((0.04,) * 10, 1),
        ((2.0, 2.0), 65),
        ((0.01, 2.0, 2.0), 6),  # two pictures of the beginning in one go
        ((60.0,) * 4, 180),
        ((0.04,) * 9 + (3.0,), 1),  # one hiccup
        ((4.0,) * 8 + (0.04,) * 8, 1),
    ],
)
def test_a_camera_is_lost_by_its_own_pace(gaps_s: tuple[float, ...], lost_after_s: float) -> None:
    gaps, now_s = after(*gaps_s)
    assert not gaps.is_silent(round((now_s + lost_after_s * 0.99) * S), 1 * S)
    assert gaps.is_silent(round((now_s + lost_after_s * 1.01) * S), 1 * S)


def test_before_its_first_frame_a_camera_may_take_its_time() -> None:
    gaps = FrameGaps(0)
    assert not gaps.is_silent(60 * S, S) and gaps.is_silent(66 * S, S)
