"""Who guesses has to wait longer each time; sessions end by idleness and by age."""

from streamer.web.sessions import IDLE_S, LONGEST_S, Sessions
from streamer.web.slowing import FREE_FAILURES, LONGEST_WAIT_S, Slowing


class Clock:
    """Time that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_waits_double_up_to_a_limit_and_are_forgotten() -> None:
    clock = Clock()
    slowing = Slowing(clock)
    waits = []
    for _ in range(FREE_FAILURES + 12):
        slowing.note_failure("192.0.2.1")
        waits.append(slowing.wait_s("192.0.2.1"))
    assert waits[: FREE_FAILURES - 1] == [0.0] * (FREE_FAILURES - 1)
    assert waits[FREE_FAILURES - 1 : FREE_FAILURES + 2] == [1.0, 2.0, 4.0]
    assert waits[-1] == LONGEST_WAIT_S and slowing.wait_s("192.0.2.2") == 0
    clock.now_s += LONGEST_WAIT_S
    assert slowing.wait_s("192.0.2.1") == 0
    clock.now_s += 1000
    slowing.note_failure("192.0.2.1")
    assert slowing.wait_s("192.0.2.1") == 0


def test_a_whole_ipv6_network_is_one_guesser_and_a_right_password_ends_it() -> None:
    slowing = Slowing(Clock())
    for number in range(FREE_FAILURES):
        slowing.note_failure(f"2001:db8::{number + 1}")
    assert slowing.wait_s("2001:db8::ffff") > 0 and slowing.wait_s("2001:db8:1::1") == 0
    slowing.note_success("2001:db8::1")
    assert slowing.wait_s("2001:db8::ffff") == 0


def test_a_session_ends_by_idleness_by_age_and_by_logging_out() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    idle, used, left = (sessions.begin("user", name) for name in ("a", "b", "c"))
    sessions.end(left)
    assert sessions.find(left) is None and sessions.find("") is None
    while clock.now_s < 1000 + LONGEST_S - IDLE_S:
        clock.now_s += IDLE_S / 2
        found = sessions.find(used)
        assert found is not None and found.name == "b"
    assert sessions.find(idle) is None
    clock.now_s = 1001 + LONGEST_S
    assert sessions.find(used) is None
