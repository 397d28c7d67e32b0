"""What a camera costs: both lanes' work for it, as a share of the time since its first frame."""

import pytest

from streamer.camera_load import Load, LoadMeter


class ManualClock:
    """A clock that stands until it is set."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def work(meter: LoadMeter, clock: ManualClock, seconds: float, *cameras: str) -> None:
    with meter.working_on(cameras):
        clock.now_s += seconds


def test_work_counts_for_its_camera_in_equal_parts_of_a_batch(clock: ManualClock) -> None:
    meter = LoadMeter(clock)
    work(meter, clock, 1.0, "door", "hall")
    work(meter, clock, 3.0, "door", "door", "hall")
    clock.now_s += 6.0
    assert meter.loads() == {"door": Load(2.5, 10.0), "hall": Load(1.5, 10.0)}
    assert meter.loads()["door"].share == 0.25


def test_a_cameras_time_begins_with_its_first_frame_and_ends_with_its_source(
    clock: ManualClock,
) -> None:
    meter = LoadMeter(clock)
    work(meter, clock, 1.0, "door")
    clock.now_s += 1.0
    work(meter, clock, 1.0, "clip")
    clock.now_s += 1.0
    meter.end("clip")
    meter.end("clip")
    clock.now_s += 6.0
    assert meter.loads() == {"door": Load(1.0, 10.0), "clip": Load(1.0, 2.0)}


def test_work_that_fails_was_work_nevertheless(clock: ManualClock) -> None:
    meter = LoadMeter(clock)
    with pytest.raises(ValueError), meter.working_on(["door"]):
        clock.now_s += 2.0
        raise ValueError("an odd picture")
    assert meter.loads()["door"].busy_s == 2.0


def test_a_load_of_less_than_a_second_is_not_told(clock: ManualClock) -> None:
    meter = LoadMeter(clock)
    assert meter.loads() == {}
    work(meter, clock, 0.9, "door")
    assert meter.loads() == {}
    clock.now_s += 0.2
    assert meter.loads().keys() == {"door"}


def test_loads_of_a_restarted_matcher_add_up() -> None:
    assert (Load(1.0, 10.0) + Load(5.0, 10.0)).share == 0.3
