"""One `appeared`, one `left`, whatever the workers send."""

import time

import pytest

from pipeline.types import Phase
from streamer.publishing.events import match_event_from
from streamer.publishing.open_sightings import OpenSightings, Origin, Step
from tests.streamer.publishing.rig import sighting

MATCHER = Origin("matcher.0", 1)


def send(book: OpenSightings, sighting_id: str, word: str, origin: Origin = MATCHER) -> list[str]:
    draft = match_event_from(sighting(sighting_id, Phase(word)), time.monotonic_ns())
    return words(book.admit(draft, origin))


def words(steps: list[Step]) -> list[str]:
    return [step.body.type + (f" {step.body.reason}" if step.body.reason else "") for step in steps]


@pytest.mark.parametrize(
    ("sent", "published", "refused"),
    [
        ([], [], {}),
        (["appeared", "updated", "left"], ["appeared", "updated", "left gone"], {}),
        (["left"], [], {"never_appeared": 1}),
        (["appeared", "left", "left"], ["appeared", "left gone"], {"has_left": 1}),
        (["appeared", "appeared"], ["appeared"], {"appeared_twice": 1}),
        (["updated", "left"], ["appeared", "left gone"], {}),
        (["appeared", "left", "updated", "appeared"], ["appeared", "left gone"], {"has_left": 2}),
    ],
)
def test_a_sighting_has_one_life(
    sent: list[str], published: list[str], refused: dict[str, int]
) -> None:
    book = OpenSightings()
    assert [word for each in sent for word in send(book, "a", each)] == published
    assert book.refused == refused


def test_close_ends_each_open_sighting_once() -> None:
    book = OpenSightings()
    send(book, "a", "appeared")
    send(book, "b", "appeared")
    assert words(book.close("stopped")) == ["left stopped"] * 2
    assert book.close("stopped") == [] and len(book) == 0
    assert send(book, "a", "left") == []


def test_close_of_a_camera_leaves_the_others_open() -> None:
    book = OpenSightings()
    send(book, "a", "appeared")
    assert book.close("camera_lost", camera="yard") == []
    assert words(book.close("camera_lost", camera="door")) == ["left camera_lost"]


def test_a_dead_workers_sightings_end_and_its_later_words_end_at_once() -> None:
    book = OpenSightings()
    send(book, "a", "appeared", Origin("matcher.0", 1))
    send(book, "b", "appeared", Origin("matcher.1", 1))
    closed = book.close("matcher_restarted", worker="matcher.0", incarnation=1)
    assert [step.body.sighting_id for step in closed] == ["a"]
    assert send(book, "a", "left") == []
    late = send(book, "c", "appeared", Origin("matcher.0", 1))
    assert late == ["appeared", "left matcher_restarted"]
    assert send(book, "d", "appeared", Origin("matcher.0", 2)) == ["appeared"]


def test_without_an_incarnation_the_last_life_heard_from_is_the_dead_one() -> None:
    book = OpenSightings()
    send(book, "a", "appeared", Origin("matcher.0", 4))
    assert words(book.close("matcher_restarted", worker="matcher.0")) == ["left matcher_restarted"]
    assert send(book, "b", "appeared", Origin("matcher.0", 5)) == ["appeared"]
