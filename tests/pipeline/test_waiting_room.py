"""Between the lanes: one look a track, fair between cameras, the most urgent first."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest

from pipeline.types import Crop, Track
from pipeline.waiting_room import LONG_WAIT_S, STALE_S, WaitingRoom

BOX = np.array([0, 0, 9, 9], np.float32)


@dataclass
class Look:
    """What the room sees of a look."""

    camera: str
    number: int
    overdue: float = np.inf
    now_s: float = 0.0

    @property
    def crop(self) -> Crop:
        track = Track(self.camera, self.number, BOX, 0.9, 0, 3)
        return Crop(track, BOX, np.zeros((9, 9, 3), np.uint8))


def put(room: WaitingRoom, *looks: Look, n_places: int | None = 9) -> list[Look]:
    gone = [room.put(look, n_places) for look in looks]  # type: ignore[arg-type]
    return [look for look in gone if look is not None]  # type: ignore[misc]


def take(room: WaitingRoom, n: int = 100) -> list[Look]:
    return room.take(n, 0.0)  # type: ignore[return-value]


def test_an_empty_room_gives_nothing_in_time() -> None:
    began_s = time.monotonic()
    assert WaitingRoom().take(2, 0.05) == []
    assert 0.04 <= time.monotonic() - began_s < 1


def test_a_better_view_takes_the_place_of_the_one_that_waits() -> None:
    room = WaitingRoom()
    first, better = Look("door", 1, 2.0), Look("door", 1)
    assert put(room, first, Look("till", 1), better) == [first]
    assert take(room) == [better, Look("till", 1)]
    assert (room.figures().replaced, room.figures().taken) == (1, 2)


def test_looks_of_a_recording_keep_their_places() -> None:
    room = WaitingRoom()
    first, better = Look("film", 1, 2.0), Look("film", 1)
    assert put(room, first, *(Look("film", n) for n in range(2, 20)), better, n_places=None) == []
    assert room.n_waiting("film") == 20 and len(room.tracks()) == 19
    assert {id(first), id(better)} <= {id(look) for look in take(room)}


def test_within_a_camera_the_never_seen_come_first_then_the_most_overdue() -> None:
    room = WaitingRoom()
    late, later, new, newer = (
        Look("door", 1, 1.5),
        Look("door", 2, 7.0),
        Look("door", 3, now_s=1.0),
        Look("door", 4, now_s=2.0),
    )
    put(room, late, new, later, newer)
    assert take(room) == [newer, new, later, late]


def test_cameras_are_served_in_turn() -> None:
    room = WaitingRoom()
    put(room, *(Look("busy", n) for n in range(5)), Look("calm", 1), Look("calm", 2))
    order = [look.camera for look in take(room, 1) + take(room, 1) + take(room, 1) + take(room, 1)]
    assert sorted(order[:2]) == sorted(order[2:]) == ["busy", "calm"]


def test_where_a_cameras_places_are_taken_its_least_urgent_look_goes() -> None:
    room = WaitingRoom()
    calm = Look("calm", 1, 1.0)
    put(room, calm, Look("busy", 1, 5.0), Look("busy", 2, 9.0), n_places=2)
    assert (room.n_waiting("busy"), room.n_waiting("calm")) == (2, 1)
    assert put(room, Look("busy", 3), n_places=2) == [Look("busy", 1, 5.0)]
    late = Look("busy", 4, 1.2)
    assert put(room, late, n_places=2) == [late], "it may be the one that came"
    assert calm in take(room)
    assert room.figures().dropped == 2


def test_what_has_waited_too_long_comes_before_the_newest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    room = WaitingRoom()
    put(room, Look("door", 1), Look("door", 2, 1.1))
    clock[0] += LONG_WAIT_S + 0.1
    put(room, Look("door", 1), Look("door", 2, 1.1))  # newer views of the same
    put(room, Look("door", 3, now_s=9.0), Look("door", 4, 7.0))
    assert room.figures().oldest_s == pytest.approx(LONG_WAIT_S + 0.1)
    assert [look.number for look in take(room)] == [1, 3, 2, 4], "known tracks wait for new ones"


def test_a_stale_view_waits_for_all_that_are_not_and_is_taken_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    room = WaitingRoom()
    stale, seen_again, known = Look("door", 1), Look("till", 2), Look("till", 3, 1.5)
    put(room, stale, seen_again)
    clock[0] += STALE_S + 0.1
    put(room, seen_again, known)
    assert take(room) == [seen_again, known, stale]


def test_a_recordings_view_is_never_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    room = WaitingRoom()
    put(room, Look("film", 1), n_places=None)
    clock[0] += 60.0
    put(room, Look("film", 2, 1.5), n_places=None)
    assert [look.number for look in take(room)] == [1, 2]


def test_where_places_are_taken_the_stale_view_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    room = WaitingRoom()
    stale, known = Look("door", 1), Look("door", 2, 1.5)
    put(room, stale)
    clock[0] += STALE_S + 0.1
    assert put(room, known, n_places=1) == [stale]


def test_a_newer_view_is_as_urgent_as_the_one_whose_place_it_takes() -> None:
    room = WaitingRoom()
    put(room, Look("door", 1, now_s=1.0), Look("door", 2, 5.0), Look("door", 1, 1.0, now_s=2.0))
    assert room.tracks() == {("door", 1), ("door", 2)}
    (first,) = take(room, 1)
    assert (first.number, first.now_s, first.overdue) == (1, 2.0, np.inf)


def test_a_camera_that_starts_anew_is_forgotten() -> None:
    room = WaitingRoom()
    put(room, Look("door", 1), Look("till", 1))
    assert room.n_waiting("door") == 1
    room.forget("door")
    assert room.n_waiting("door") == 0
    assert [look.camera for look in take(room)] == ["till"]


def test_who_takes_says_so_before_anyone_sees_that_nothing_waits() -> None:
    room = WaitingRoom()
    put(room, Look("door", 1))
    told: list[tuple[str, ...]] = []
    room.take(1, 0, told.append)
    assert told == [("door",)]


def test_closing_wakes_who_waits() -> None:
    room = WaitingRoom()
    taken: list[object] = []
    waiting = threading.Thread(target=lambda: taken.append(room.take(1, 30)))
    waiting.start()
    room.close()
    waiting.join(5)
    assert taken == [[]]
