"""The demo's verdict: right events pass, each kind of fault is found and named."""

import numpy as np
import pytest

from catalog_tools.demo.check import check_events
from catalog_tools.demo.truth import Shown, TruePack, Truth, find_sightings

FPS = 25
PLACES = {"a": 100, "b": 500, "stranger": 900}


def _shown(frame: int, name: str) -> Shown:
    x = PLACES[name]
    quad = np.array([[x, 200], [x + 200, 200], [x + 200, 450], [x, 450]], np.float32)
    return Shown(frame, name, quad, 0.05, 1.0)


@pytest.fixture
def truth() -> Truth:
    packs = [TruePack("a", "A", "a"), TruePack("b", "B", "b"), TruePack("stranger", "S", None)]
    shown = [_shown(frame, "a") for frame in [*range(100), *range(200, 300)]]
    shown += [_shown(frame, "b") for frame in range(50, 250)]
    shown += [_shown(frame, "stranger") for frame in range(300)]
    found = tuple(find_sightings(shown, packs, FPS))
    return Truth(FPS, (1280, 720), 300, tuple(packs), tuple(shown), found)


def _life(sighting_id: str, item_id: str, frames: list[int], at: str) -> list[dict]:
    x = PLACES[at] + 20
    common = {
        "sighting_id": sighting_id, "item_id": item_id, "tier": "exact", "probability": 0.99,
        "box_xyxy": [x, 210, x + 190, 460], "latency_ms": 40.0,
    }  # fmt: skip
    types = ["appeared"] + ["updated"] * (len(frames) - 2) + ["left"]
    return [{**common, "type": t, "frame_number": f} for t, f in zip(types, frames, strict=True)]


def _right_events() -> list[dict]:
    return (
        _life("1", "a", [10, 50, 110], "a")
        + _life("2", "b", [60, 100, 200, 260], "b")
        + _life("3", "a", [215, 299], "a")
    )


def test_right_events_meet_every_target(truth):
    report = check_events(_right_events(), truth)
    assert report.is_met and report.faults == ()
    assert (report.precision, report.recall, report.n_true_sightings) == (1.0, 1.0, 3)
    assert report.first_event_s == pytest.approx((0.44, 0.44, 0.64))
    assert report.median_first_event_s == pytest.approx(0.44)


def test_an_event_on_a_stranger_is_counted_and_named(truth):
    report = check_events(_right_events() + _life("4", "b", [70, 90], "stranger"), truth)
    assert report.n_events_of_strangers == 1 and not report.is_met
    assert report.precision == pytest.approx(3 / 4)
    assert "frame 70: appeared b (exact, 0.99) where stranger is" in report.faults


def test_a_match_that_drifts_onto_another_pack_costs_precision_of_events(truth):
    events = _right_events()
    events[1] = {**events[1], "item_id": "b"}  # the first sighting says b where a is, once
    report = check_events(events, truth)
    assert report.precision == 1.0 and report.n_events_of_strangers == 0
    assert report.precision_of_events == pytest.approx(5 / 6) and not report.is_met
    assert report.recall == 1.0  # its other event was right


def test_a_match_where_nothing_is_or_after_it_has_gone_is_wrong(truth):
    gone = check_events(_life("1", "a", [150, 160], "a"), truth)
    assert gone.n_right_sightings == 0 and "where nothing is" in gone.faults[0]
    assert gone.recall == 0.0 and gone.median_first_event_s is None and not gone.is_met


def test_a_missed_a_late_and_a_broken_sighting_are_told(truth):
    events = _life("1", "a", [70, 110], "a") + _life("2", "b", [160, 260], "b")[:1]
    events += _life("5", "a", [80, 90], "a")
    report = check_events(events, truth)
    assert report.n_found == 2 and report.n_repeated == 1
    assert any("a was never announced" in fault for fault in report.faults)
    assert "sighting 2: appeared" in report.faults
    assert report.median_first_event_s > 2 and not report.is_met


def test_no_events_at_all_is_a_failure(truth):
    report = check_events([], truth)
    assert not report.is_met and report.precision == 0.0 and report.recall == 0.0
    assert report.as_json()["median_first_event_s"] is None
