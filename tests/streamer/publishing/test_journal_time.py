"""What a clock may do, and what the journal may forget because of it."""

import datetime
from dataclasses import dataclass, field

import pytest

from streamer.publishing.journal_time import JournalTime

MINUTE, HOUR, DAY = 60, 3600, 86_400
KEEP = 7 * DAY


def date(year: int, month: int = 1, day: int = 1) -> int:
    return int(datetime.datetime(year, month, day, tzinfo=datetime.UTC).timestamp())


NOW = date(2027, 6, 1)


@dataclass
class Machine:
    """A journal on a machine whose true time is known to nobody but the test, all in seconds."""

    true_s: int = 0
    wall_s: int = NOW
    up_s: int = 0
    last_ns: int | None = None
    state: str | None = None
    written: dict[str, tuple[int, int]] = field(default_factory=dict)  # journal's and true time

    def boot(self, wall_s: int, off_s: int = 0) -> None:
        """Start a new run after so long, with a clock that shows `wall_s`."""
        self.true_s += off_s
        self.wall_s, self.up_s = wall_s, 0
        self.time = JournalTime(
            self.last_ns, self.state, lambda: self.wall_s * 10**9, lambda: self.up_s * 10**9
        )

    def run(self, seconds: int, every_s: int = MINUTE) -> None:
        for _ in range(0, seconds, every_s):
            self.true_s, self.wall_s = self.true_s + every_s, self.wall_s + every_s
            self.up_s += every_s
            self.last_ns, self.state = self.time.now_ns(), self.time.state()

    def write(self, name: str) -> None:
        self.last_ns, self.state = self.time.now_ns(), self.time.state()
        self.written[name] = (self.last_ns, self.true_s)

    def forgotten(self) -> set[str]:
        """Return the events that may go now; none is older than the one before it."""
        ages = {name: self.time.age_ns(at) for name, (at, _) in self.written.items()}
        gone = {name for name, age_ns in ages.items() if age_ns > KEEP * 10**9}
        assert list(ages.values()) == sorted(ages.values(), reverse=True)
        times = [at for at, _ in self.written.values()]
        assert times == sorted(times)
        return gone


@pytest.fixture
def machine() -> Machine:
    """A machine with a right clock that has written one event, two days ago."""
    machine = Machine()
    machine.boot(NOW)
    machine.write("old")
    machine.run(2 * DAY, HOUR)
    return machine


def test_with_a_right_clock_events_go_when_they_are_old(machine: Machine) -> None:
    machine.write("new")
    machine.run(5 * DAY, HOUR)
    assert machine.forgotten() == set()
    machine.run(2 * HOUR)
    assert machine.forgotten() == {"old"}
    assert machine.time.trouble() is None


def test_1970_for_one_run_and_then_right_deletes_nothing_young(machine: Machine) -> None:
    machine.boot(0, off_s=MINUTE)
    machine.write("in 1970")
    trouble = machine.time.trouble()
    assert trouble is not None and "1970-01-01" in trouble
    machine.run(10 * MINUTE)
    machine.boot(NOW + 2 * DAY + 12 * MINUTE, off_s=MINUTE)
    assert machine.time.trouble() is None
    machine.run(4 * DAY, HOUR)
    assert machine.forgotten() == set()
    machine.run(2 * DAY, HOUR)
    assert machine.forgotten() == {"old"}
    machine.run(2 * DAY, HOUR)
    assert machine.forgotten() == {"old", "in 1970"}


def test_1970_at_the_journals_birth_and_then_right_deletes_nothing_young() -> None:
    machine = Machine()
    machine.boot(5)
    machine.write("first")
    machine.run(10 * MINUTE)
    machine.wall_s = NOW  # set by the network, in the middle of the run
    machine.run(3 * HOUR)
    machine.boot(NOW + 4 * HOUR)
    machine.run(2 * HOUR)
    assert machine.forgotten() == set() and machine.time.trouble() is None
    machine.run(KEEP, HOUR)
    assert machine.forgotten() == {"first"}


def test_a_minute_in_2038_deletes_nothing_and_makes_nothing_immortal(machine: Machine) -> None:
    right = machine.wall_s
    machine.wall_s = date(2038)
    machine.run(MINUTE, 1)
    machine.write("in 2038")
    trouble = machine.time.trouble()
    assert trouble is not None and "2038-01-01" in trouble and "days ahead" in trouble
    assert machine.forgotten() == set()
    machine.wall_s = right + MINUTE
    machine.write("after")
    machine.run(DAY, HOUR)
    assert machine.forgotten() == set() and machine.time.trouble() is None
    machine.run(KEEP, HOUR)
    assert machine.forgotten() == {"old", "in 2038", "after"}


def test_a_run_that_begins_in_2038_for_a_minute_deletes_nothing(machine: Machine) -> None:
    machine.boot(date(2038))
    machine.write("in 2038")
    machine.run(MINUTE, 1)
    machine.boot(NOW + 2 * DAY)
    machine.run(4 * DAY, HOUR)
    assert machine.forgotten() == set()


def test_a_clock_that_stays_in_2038_and_comes_back_makes_nothing_immortal(
    machine: Machine,
) -> None:
    right = machine.wall_s
    machine.wall_s = date(2038)
    machine.run(2 * HOUR)
    machine.wall_s = right + 2 * HOUR
    machine.write("after")
    machine.run(DAY, HOUR)
    trouble = machine.time.trouble()
    assert trouble is not None and "behind the journal" in trouble
    assert "after" not in machine.forgotten()
    machine.run(KEEP, HOUR)
    assert "after" in machine.forgotten()


def test_a_clock_set_back_an_hour_changes_nothing(machine: Machine) -> None:
    machine.wall_s -= HOUR
    machine.write("after")
    machine.run(4 * DAY, HOUR)
    assert machine.forgotten() == set() and machine.time.trouble() is None
    machine.run(2 * DAY, HOUR)
    assert machine.forgotten() == {"old"}


def test_a_machine_that_was_off_for_40_days_forgets_after_an_hour(machine: Machine) -> None:
    machine.boot(machine.wall_s + 40 * DAY, off_s=40 * DAY)
    machine.write("new")
    machine.run(50 * MINUTE)
    assert machine.forgotten() == set()
    machine.run(20 * MINUTE)
    assert machine.forgotten() == {"old"}
    machine.time.forget_before(machine.written["new"][0])
    machine.run(KEEP, HOUR)
    assert machine.forgotten() == {"old", "new"}


def test_a_clock_that_is_found_out_late_makes_no_event_of_its_run_old(machine: Machine) -> None:
    """A board that goes on with the time of its last stop, until the network tells it better."""
    machine.boot(machine.wall_s, off_s=40 * DAY)
    machine.write("before the step")
    machine.run(10 * MINUTE)
    machine.wall_s += 40 * DAY
    machine.write("after the step")
    machine.run(2 * HOUR)
    assert machine.forgotten() == {"old"}
    machine.run(KEEP, HOUR)
    assert machine.forgotten() == {"old", "before the step", "after the step"}


def test_a_machine_that_is_off_every_night_counts_the_nights() -> None:
    machine = Machine()
    machine.boot(NOW)
    machine.write("first")
    for day in range(1, 9):
        machine.run(HOUR)
        machine.boot(NOW + day * DAY, off_s=23 * HOUR)
    assert machine.forgotten() == {"first"} and machine.time.trouble() is None
