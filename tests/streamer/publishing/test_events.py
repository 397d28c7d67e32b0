"""The models of the wire: what they say, and what they refuse."""

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from pipeline.types import Phase
from streamer.child import WorkerState
from streamer.publishing import events
from streamer.publishing.events import MatchEvent, State, StatusEvent, match_event_from, parse_event
from streamer.publishing.schemas import MODEL_BY_NAME, schema_text
from tests.streamer.publishing.rig import sighting

SCHEMAS = Path(__file__).resolve().parents[3] / "docs" / "schemas"
EXAMPLE = {
    "schema": 1,
    "journal_id": "5f0e",
    "seq": 1042,
    "camera_seq": 311,
    "event_id": "5f0e-1042",
    "sighting_id": "s1",
    "type": "appeared",
    "reason": None,
    "camera": "door",
    "track_id": 7,
    "item_id": "tea",
    "label": "Tea",
    "catalog": "shelf",
    "catalog_generation": 3,
    "tier": "exact",
    "probability": 0.997,
    "similarity": 0.83,
    "margin": 0.21,
    "inliers": 61,
    "box_xyxy": [64.0, 48.0, 320.0, 240.0],
    "box_normalized": [0.1, 0.1, 0.5, 0.5],
    "outline": None,
    "angle_deg": 12.0,
    "frame_number": 901,
    "frame_size_wh": [640, 480],
    "alternatives": [{"item_id": "coffee", "probability": 0.01}],
    "time": {
        "captured": "2026-11-21T10:00:00.123456Z",
        "clock": "rtcp",
        "published": "2026-11-21T10:00:00.154656Z",
    },
    "latency_ms": 31.2,
    "stage_ms": {"decode": 1.5, "publish": 0.2},
}


def test_a_match_goes_over_the_wire_and_back_unchanged_in_the_designs_order() -> None:
    event = parse_event(json.dumps(EXAMPLE))
    assert isinstance(event, MatchEvent)
    assert json.loads(event.model_dump_json()) == EXAMPLE
    assert list(json.loads(event.model_dump_json())) == list(EXAMPLE)


def test_a_reader_ignores_fields_of_a_newer_daemon() -> None:
    assert parse_event({**EXAMPLE, "colour": "red"}) == parse_event(EXAMPLE)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", 2),
        ("type", "seen"),
        ("camera", "front door"),
        ("probability", 1.01),
        ("similarity", math.nan),
        ("reason", "bored"),
        ("box_xyxy", [1, 2, 3]),
        ("seq", 0),
    ],
)
def test_a_match_that_breaks_a_rule_is_refused(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        parse_event({**EXAMPLE, field: value})


def test_a_sighting_becomes_plain_rounded_numbers() -> None:
    draft = match_event_from(sighting("s1", frame_size_wh=(640, 480)), time.monotonic_ns())
    assert draft.box_normalized == (0.1, 0.1, 0.5, 0.5)
    assert draft.probability == 0.9877
    assert draft.outline == ((64, 48), (320, 48), (320, 240), (64, 240))
    assert draft.type == "appeared" and draft.reason is None
    assert draft.alternatives[0].item_id == "coffee"
    assert abs(draft.captured.timestamp() - time.time()) < 5


def test_a_left_carries_its_reason_and_a_match_without_outline_none() -> None:
    seen = sighting("s1", Phase.LEFT)
    draft = match_event_from(replace(seen, match=replace(seen.match, outline=None)), 0)
    assert (draft.type, draft.reason, draft.outline) == ("left", "gone", None)


@pytest.mark.parametrize(
    ("item_id", "topic"),
    [
        ("tea", "match.door.tea."),
        ("tea.green", "match.door.tea%2Egreen."),
        ("tee grün/1", "match.door.tee%20gr%C3%BCn%2F1."),
    ],
)
def test_topics_end_in_a_dot_and_hold_no_other_in_the_item(item_id: str, topic: str) -> None:
    assert events.match_topic("door", item_id) == topic


def test_a_status_of_a_camera_has_the_cameras_topic() -> None:
    status = {
        key: EXAMPLE[key] for key in ("schema", "journal_id", "seq", "camera_seq", "event_id")
    }
    status |= {"type": "status", "process": "camera.door", "camera": "door", "state": "stalled"}
    status |= {"reason": "no frame", "counters": {"decoded": 4}}
    event = parse_event({**status, "time": {"published": "2026-11-21T10:00:00Z"}})
    assert isinstance(event, StatusEvent)
    assert event.topic() == "status.door."


def test_the_wire_has_a_word_for_every_state_of_a_worker() -> None:
    assert list(get_args(State)) == [state.value for state in WorkerState]


@pytest.mark.parametrize("name", list(MODEL_BY_NAME))
def test_the_schema_in_docs_is_the_models(name: str) -> None:
    written = (SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8")
    remedy = "run: python -m streamer.publishing.schemas docs/schemas"
    assert written == schema_text(name), remedy
