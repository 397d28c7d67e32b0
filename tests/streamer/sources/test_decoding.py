"""Times of live pictures: the camera's clock where it can be right."""

import struct
import time
from dataclasses import dataclass

import pytest

from streamer.sources.decoding import CameraClock


@dataclass
class Reported:
    """A packet with a sender report's time, as FFmpeg hangs it on."""

    wall_s: float | None

    def has_sidedata(self, kind: str) -> bool:
        return kind == "prft" and self.wall_s is not None

    def get_sidedata(self, kind: str) -> bytes:
        assert self.wall_s is not None and kind == "prft"
        return struct.pack("<qi", round(self.wall_s * 1e6), 0)


def stamp(clock: CameraClock, ahead_s: float | None) -> tuple[str, float]:
    """The clock's name and how far from now the stamp lies, s."""
    now_s = time.time()
    moment = clock.stamp(Reported(None if ahead_s is None else now_s + ahead_s))  # type: ignore[arg-type]
    return moment.clock, moment.wall_ns / 1e9 - now_s


@pytest.mark.parametrize("ahead_s", [0.0, -0.4, 3.0, -8.0])
def test_a_clock_that_can_be_right_is_believed(ahead_s: float) -> None:
    clock = CameraClock()
    assert stamp(clock, ahead_s) == ("rtcp", pytest.approx(ahead_s, abs=0.01))
    assert clock.remark is None


@pytest.mark.parametrize(
    ("ahead_s", "says"), [(3600, "3600 s ahead"), (-86400, "86400 s behind"), (-2e9, "")]
)
def test_a_clock_that_is_wrong_is_not_and_it_is_said(ahead_s: float, says: str) -> None:
    clock = CameraClock()
    assert stamp(clock, ahead_s) == ("arrival", pytest.approx(0, abs=0.5))
    if says:  # a camera that does not know the year is usual, and goes unsaid
        assert clock.remark == f"its clock is {says}: times of arrival are used"


def test_a_clock_that_jumps_never_moves_the_times_by_more_than_it_can_be_wrong() -> None:
    clock, stamps = CameraClock(), []
    for ahead_s in (0, 0, 3600, 3600, 3600, None, -1, -1):
        stamps.append(stamp(clock, ahead_s))
        is_wrong = ahead_s == 3600 or (ahead_s is None)
        assert (clock.remark is not None) == is_wrong
    assert all(abs(off_s) < 10 for _, off_s in stamps)
    assert [name for name, _ in stamps] == ["rtcp"] * 2 + ["arrival"] * 4 + ["rtcp"] * 2


def test_without_a_report_it_is_the_arrival() -> None:
    assert stamp(CameraClock(), None) == ("arrival", pytest.approx(0, abs=0.5))
