"""A recording's answers come in at fixed frames, whatever the identify lane's speed."""

from streamer.answers_in_order import FRAMES_BEHIND, AnswersInOrder


def test_answers_are_due_in_the_order_of_their_looks_so_many_frames_later() -> None:
    order = AnswersInOrder()
    looks = [object() for _ in range(FRAMES_BEHIND + 3)]
    taken_in: list[tuple[int, object]] = []
    for number, look in enumerate(looks):
        assert not order.is_waiting
        order.ask([look])
        order.note(look, number)
        taken_in += [(number, answer) for _, answer in order.due()]
    assert taken_in == [(answer + FRAMES_BEHIND, answer) for answer in range(3)]
    assert [answer for _, answer in order.due(is_last=True)] == [
        3 + n for n in range(FRAMES_BEHIND)
    ]


def test_the_next_frame_waits_for_an_answer_that_is_due() -> None:
    order = AnswersInOrder()
    late = object()
    order.ask([late, late_too := object()])
    for _ in range(FRAMES_BEHIND):
        assert not order.is_waiting
        order.ask([])
    assert order.is_waiting and order.due() == []
    order.note(late_too, "second")
    assert order.is_waiting, "one of two"
    order.note(late, None)
    assert not order.is_waiting
    assert order.due() == [(late, None), (late_too, "second")]


def test_what_came_before_a_recording_began_anew_is_forgotten() -> None:
    order = AnswersInOrder()
    look = object()
    order.ask([look])
    order.forget()
    order.note(look, "late")
    assert order.due(is_last=True) == [] and not order.is_waiting
