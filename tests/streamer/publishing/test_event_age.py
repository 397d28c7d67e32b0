"""Which events are old when the clock was wrong: only those that no history of it makes young."""

import pytest

from streamer.publishing.event_age import RELEASED_NS, ClockWatch, clock_remark, count_old

DAY = 86_400 * 10**9
NOW = RELEASED_NS + 400 * DAY
KEEP = 30 * DAY


def ago(days: float) -> int:
    return NOW - round(days * DAY)


Y1970, Y2038 = 5 * DAY, NOW + 4000 * DAY


@pytest.mark.parametrize(
    ("name", "stamps_ns", "later_ns", "n_old"),
    [
        ("nothing", [], None, 0),
        ("all young", [ago(3), ago(2)], None, 0),
        ("all old", [ago(90), ago(60)], None, 2),
        ("some old", [ago(90), ago(31), ago(29), ago(1)], None, 2),
        ("one run in 1970, then right", [Y1970] * 4, ago(0.01), 0),
        ("one run in 1970, nothing since", [Y1970] * 4, None, 0),
        ("1970, long ago", [Y1970] * 4 + [ago(40), ago(1)], None, 5),
        ("right, 1970, right", [ago(50), Y1970, Y1970, ago(1)], None, 1),
        ("right, 2038 for a minute, right", [ago(50), Y2038, ago(40), ago(1)], None, 3),
        ("right, then 2038 until now", [ago(50), Y2038, Y2038], None, 1),
        ("set back an hour", [ago(31), ago(31.04), ago(31), ago(2)], None, 3),
        ("set back by years, which is wrong", [ago(1), ago(300), ago(299), ago(0.5)], None, 0),
        ("off for forty days", [ago(41), ago(40.5)], None, 2),
        ("the next batch is right", [Y1970, Y1970], ago(35), 2),
    ],
)
def test_only_what_every_reading_calls_old_is_old(
    name: str, stamps_ns: list[int], later_ns: int | None, n_old: int
) -> None:
    assert count_old(stamps_ns, later_ns, NOW, KEEP) == n_old, name


def test_a_clock_that_goes_on_is_trusted_at_once() -> None:
    watch = ClockWatch(newest_ns=ago(0.1))
    assert all(watch.trusts(NOW + 5 * n * 10**9, 100 + 5 * n) for n in range(10))


@pytest.mark.parametrize("jump_ns", [20 * 365 * DAY, -3 * DAY, 120 * 10**9])
def test_a_clock_that_jumps_is_trusted_again_when_it_has_gone_on_for_an_hour(jump_ns: int) -> None:
    watch = ClockWatch(newest_ns=ago(0.1))
    assert watch.trusts(NOW, 100)
    times = [watch.trusts(NOW + jump_ns + s * 10**9, 100 + s) for s in (5, 60, 3000, 3604, 3606)]
    assert times == [False, False, False, False, True]


def test_a_gap_that_no_clock_has_seen_is_believed_after_an_hour() -> None:
    """A daemon that starts in 2038 must not empty its journal."""
    watch = ClockWatch(newest_ns=NOW)
    assert not watch.trusts(Y2038, 100) and not watch.trusts(Y2038 + 10 * 10**9, 110)
    assert watch.trusts(Y2038 + 3700 * 10**9, 3800)
    assert ClockWatch(newest_ns=0).trusts(NOW, 100)


def test_a_clock_before_the_release_is_never_trusted_and_it_is_said() -> None:
    watch = ClockWatch(newest_ns=0)
    assert not watch.trusts(Y1970, 100) and not watch.trusts(Y1970 + 4000 * 10**9, 4100)
    remark = clock_remark(Y1970)
    assert remark is not None and "1970-01-06" in remark and "set the clock" in remark
    assert clock_remark(NOW) is None
