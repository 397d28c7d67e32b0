"""The identify lane: a thread that answers looks, and never holds up who asks."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from streamer.camera_load import LoadMeter
from streamer.identify_lane import MAX_FAILURES_IN_A_ROW, IdentifyLane
from tests.fakes import wait_until


@dataclass
class Look:
    camera: str
    number: int
    overdue: float = float("inf")
    now_s: float = 0.0

    @property
    def crop(self) -> SimpleNamespace:
        return SimpleNamespace(track=SimpleNamespace(track_id=self.number))


class Matcher:
    """Answers each look by its number, when it may; fails on those below zero."""

    looks_at_once = 1
    identifiers = 1

    def __init__(self) -> None:
        self.may = threading.Event()
        self.may.set()

    def identify(self, looks: Sequence[Look]) -> list[int]:
        assert self.may.wait(30)
        if any(look.number < 0 for look in looks):
            raise ValueError("an odd crop")
        return [look.number for look in looks]


@pytest.fixture
def started() -> Iterator[Callable[[], tuple[Matcher, IdentifyLane, threading.Event]]]:
    matcher, woken = Matcher(), threading.Event()
    with closing(IdentifyLane(matcher, woken.set, LoadMeter())) as lane:
        yield lambda: (matcher, lane, woken)
        matcher.may.set()


def put(lane: IdentifyLane, *looks: Look) -> None:
    for look in looks:
        lane.put(look, 8)


def answers(lane: IdentifyLane) -> list[int]:
    return [answer for _, answer in lane.done() if answer is not None]


def given_up(lane: IdentifyLane) -> list[Look]:
    return [look for look, answer in lane.done() if answer is None]


Started = Callable[[], tuple[Matcher, IdentifyLane, threading.Event]]


def test_answers_come_back_and_wake_who_asked(started: Started) -> None:
    _, lane, woken = started()
    put(lane, Look("door", 1), Look("till", 2))
    assert woken.wait(10)
    found: list[int] = []
    wait_until(lambda: len(found.extend(answers(lane)) or found) == 2)
    assert sorted(found) == [1, 2]


def test_a_look_counts_as_work_for_its_camera() -> None:
    now_s = [100.0]

    class SlowMatcher(Matcher):
        def identify(self, looks: Sequence[Look]) -> list[int]:
            now_s[0] += 2.0
            return super().identify(looks)

    loads = LoadMeter(lambda: now_s[0])
    with closing(IdentifyLane(SlowMatcher(), threading.Event().set, loads)) as lane:
        put(lane, Look("door", 1), Look("door", 2), Look("till", 3))
        found: list[int] = []
        wait_until(lambda: len(found.extend(answers(lane)) or found) == 3)
    assert {name: load.busy_s for name, load in loads.loads().items()} == {"door": 4.0, "till": 2.0}


class Pair(Matcher):
    """Answers two looks at a time, each in a thread of its own."""

    identifiers = 2

    def __init__(self) -> None:
        super().__init__()
        self.both = threading.Barrier(2)

    def identify(self, looks: Sequence[Look]) -> list[int]:
        self.both.wait(20)  # neither is answered alone
        return super().identify(looks)


def test_who_asks_may_help_while_the_lane_is_at_work() -> None:
    with closing(IdentifyLane(Pair(), threading.Event().set, LoadMeter())) as lane:
        assert not lane.help(), "nothing waits"
        put(lane, Look("door", 1), Look("door", 2))
        assert lane.help()
        found: list[int] = []
        wait_until(lambda: len(found.extend(answers(lane)) or found) == 2)
        wait_until(lambda: lane.is_done_with("door"))


def test_nobody_helps_a_matcher_that_answers_one_look_at_a_time(started: Started) -> None:
    matcher, lane, _ = started()
    matcher.may.clear()
    put(lane, Look("door", 1), Look("door", 2))
    assert not lane.help()


def test_a_slow_look_holds_nobody_up_and_is_not_done(started: Started) -> None:
    matcher, lane, _ = started()
    matcher.may.clear()
    put(lane, Look("door", 1))
    wait_until(lambda: lane.figures().taken == 1)
    put(lane, Look("till", 2))
    assert answers(lane) == []
    assert not lane.is_done_with("door") and not lane.is_done_with("till")
    assert lane.is_done_with("yard") and not lane.is_stuck()
    matcher.may.set()
    found: list[int] = []
    wait_until(lambda: len(found.extend(answers(lane)) or found) == 2)
    wait_until(lambda: lane.is_done_with("door") and lane.is_done_with("till"))


def test_a_look_that_fails_is_given_up_and_the_others_go_on(started: Started) -> None:
    _, lane, _ = started()
    put(lane, Look("door", -1), Look("till", 7))
    found: list[tuple[Look, int | None]] = []
    wait_until(lambda: len(found.extend(lane.done()) or found) == 2)
    assert sorted((look.number, answer) for look, answer in found) == [(-1, None), (7, 7)]


def test_looks_that_had_to_go_are_given_up(started: Started) -> None:
    matcher, lane, _ = started()
    matcher.may.clear()
    put(lane, *(Look("door", n, overdue=float(n)) for n in range(20)))
    assert 20 - 8 - 1 <= len(given_up(lane)) <= 20 - 8
    assert len(lane.waiting()) <= 8


def test_a_look_whose_place_a_better_view_takes_is_given_up(started: Started) -> None:
    matcher, lane, _ = started()
    matcher.may.clear()
    put(lane, Look("till", 0))
    wait_until(lambda: lane.figures().taken == 1)
    first = Look("door", 1, 2.0)
    put(lane, first, Look("door", 1))
    assert [id(look) for look in given_up(lane)] == [id(first)]
    assert lane.waiting() == {("door", 1)}


def test_all_looks_of_a_recording_are_answered(started: Started) -> None:
    matcher, lane, _ = started()
    matcher.may.clear()
    for number in (*range(20), *range(20)):
        lane.put(Look("film", number), None)
    matcher.may.set()
    found: list[int] = []
    wait_until(lambda: len(found.extend(answers(lane)) or found) == 40)
    assert lane.figures().replaced == lane.figures().dropped == 0


def test_too_many_failures_in_a_row_end_the_process(started: Started) -> None:
    _, lane, _ = started()

    def fails() -> bool:
        put(lane, Look("door", -1))
        try:
            answers(lane)
        except ValueError:
            return True
        return False

    wait_until(fails)
    assert MAX_FAILURES_IN_A_ROW > 1
