"""Waits between tries: half a second, doubled, never more than said."""

from streamer.sinks.backoff import Backoff


def test_wait_doubles_up_to_its_limit_and_begins_anew_after_a_success() -> None:
    backoff = Backoff(4.0)
    waits = [backoff.next_s() for _ in range(6)]
    for wait_s, most_s in zip(waits, (0.5, 1, 2, 4, 4, 4), strict=True):
        assert 0.8 * most_s <= wait_s <= most_s
    backoff.reset()
    assert backoff.next_s() <= 0.5


def test_what_the_server_asks_for_is_kept_within_reason() -> None:
    assert Backoff(4.0).next_s(at_least_s=3) == 3
    assert Backoff(4.0).next_s(at_least_s=99_999) == 20
