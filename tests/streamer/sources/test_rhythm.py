"""Which silence is a stall: by the stream's own rate, as told or as measured."""

import pytest

from streamer.sources.base import SourceOptions
from streamer.sources.rhythm import Rhythm


def rhythm(**options: object) -> Rhythm:
    made = Rhythm(SourceOptions(url="rtsp://camera/1", **options))  # type: ignore[arg-type]
    made.begin()
    return made


def fed(gap_s: float, n: int, waited_s: float | None = None, **options: object) -> Rhythm:
    made = rhythm(**options)
    for number in range(n):
        made.note(number * gap_s, gap_s if waited_s is None else waited_s)
    return made


@pytest.mark.parametrize(
    ("gap_s", "limit_s"), [(0.04, 2.5), (0.5, 2.5), (2, 6), (4, 12), (60, 180), (3600, 195)]
)
def test_the_limit_follows_the_measured_rate(gap_s: float, limit_s: float) -> None:
    assert fed(gap_s, 3).limit_s == pytest.approx(limit_s)


@pytest.mark.parametrize(
    ("options", "limit_s"),
    [
        ({}, 2.5),
        ({"read_timeout_s": 20}, 20),
        ({"fps": 25}, 2.5),
        ({"fps": 0.25}, 12),
        ({"fps": 1 / 60}, 180),
        ({"fps": 0.25, "read_timeout_s": 20}, 20),
    ],
)
def test_before_the_first_picture_it_is_what_the_options_say(
    options: dict[str, float], limit_s: float
) -> None:
    assert rhythm(**options).limit_s == pytest.approx(limit_s)


def test_after_one_picture_the_next_may_be_a_minute_away() -> None:
    assert 60 < fed(1, 1).limit_s < 70


def test_what_lay_in_a_buffer_says_nothing_of_the_rate() -> None:
    burst = fed(0.0, 5, waited_s=0.0)
    assert burst.limit_s > 60
    burst.note(4, 4)
    burst.note(8, 4)
    assert burst.limit_s == pytest.approx(12)
    assert burst.measured_fps == pytest.approx(0.25)


def test_pictures_that_a_busy_machine_reads_late_and_at_once_say_little_of_the_rate() -> None:
    """Seven of 37 came in one go after the first, as when the reader got no core at the start."""
    busy = Rhythm(SourceOptions(url="rtsp://camera/1"))
    busy.begin()
    for now_s in (0.0, *(0.002 * n for n in range(1, 8)), *(0.04 * n for n in range(1, 30))):
        busy.note(now_s, 0.002)
    assert busy.measured_fps == pytest.approx(25, abs=0.5)


def test_a_stream_that_is_always_there_before_it_is_asked_is_known_in_the_end() -> None:
    assert fed(0.02, 40, waited_s=0.0).limit_s == 2.5


def test_one_hiccup_is_forgotten() -> None:
    hiccup = fed(0.04, 20)
    hiccup.note(3, 2.2)
    assert hiccup.limit_s > 6
    for number in range(16):
        hiccup.note(3.04 + number * 0.04, 0.04)
    assert hiccup.limit_s == 2.5


def test_connections_in_vain_are_given_longer_and_a_picture_ends_that() -> None:
    vain = rhythm()
    limits = []
    for _ in range(8):
        limits.append(vain.limit_s)
        vain.begin()
    assert limits == [2.5, 5, 10, 20, 40, 65, 65, 65]
    vain.note(0, 1)
    vain.begin()
    assert vain.limit_s == 2.5


def test_what_was_learnt_outlives_the_connection() -> None:
    known = fed(4, 5)
    known.begin()
    assert known.limit_s == pytest.approx(12)
    assert fed(1, 1).measured_fps is None
