"""The wire: what leaves the daemon, one pydantic model a kind of event.

MatchEvent      an item appeared, changed or left; numbered and journalled
StatusEvent     a worker's state; numbered and journalled
HeartbeatEvent  every second the last numbers of all; neither numbered nor journalled
MatchDraft      what a matcher hands to the daemon: a match without its numbers

docs/schemas/ holds their JSON Schemas; a test keeps them equal. Readers ignore fields that they
do not know, so that a newer daemon may add some within schema 1.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

if TYPE_CHECKING:
    from pipeline.types import Sighting

SCHEMA: Final = 1
MAX_LABEL = 1024
CAMERA_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Reason = Literal[
    "gone",
    "camera_lost",
    "matcher_restarted",
    "catalog_changed",
    "source_ended",
    "stopped",
    "camera_paused",
    "camera_removed",
    "camera_changed",
]
State = Literal[
    "starting",
    "running",
    "reconnecting",
    "stalled",
    "frozen",
    "restarting",
    "stopped",
    "ended",
    "failed",
]
Point = tuple[float, float]


class WireModel(BaseModel):
    """Frozen; every number is finite; JSON uses the wire's own field names."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        serialize_by_alias=True,
        validate_by_name=True,
        validate_by_alias=True,
    )


class Alternative(WireModel):
    """Another item that the crop might show."""

    item_id: str = Field(max_length=2048)
    probability: float = Field(ge=0, le=1)


class MatchBody(WireModel):
    """What is known of a match before it has numbers."""

    sighting_id: str = Field(min_length=1, max_length=128, description="one from appeared to left")
    type: Literal["appeared", "updated", "left"]
    reason: Reason | None = Field(None, description="why it left; null unless type is left")
    camera: str = Field(pattern=CAMERA_PATTERN)
    track_id: int
    item_id: str = Field(min_length=1, max_length=2048)
    label: str = Field(max_length=MAX_LABEL)
    catalog: str = Field(max_length=512)
    catalog_generation: int
    tier: Literal["exact", "very_similar", "similar"]
    probability: float = Field(ge=0, le=1, description="calibrated: that it is this very item")
    similarity: float = Field(description="cosine of the embeddings")
    margin: float = Field(description="similarity minus the runner-up item's")
    inliers: int = Field(ge=0, description="correspondences that agree on one homography")
    box_xyxy: tuple[float, float, float, float] = Field(description="px of the frame")
    box_normalized: tuple[float, float, float, float] = Field(description="shares of the frame")
    outline: tuple[Point, Point, Point, Point] | None = Field(
        None, description="the view's corners in px of the frame"
    )
    angle_deg: float = Field(description="clockwise turn of the item against its view")
    frame_number: int = Field(ge=0)
    frame_size_wh: tuple[int, int] = Field(description="px")
    alternatives: tuple[Alternative, ...] = Field((), max_length=100)


class MatchDraft(MatchBody):
    """A match as the matcher process hands it to the daemon: without numbers, with clocks."""

    model_config = ConfigDict(extra="forbid")

    captured: AwareDatetime
    clock: Literal["rtcp", "arrival", "file"]
    captured_ns: int = Field(description="time.monotonic_ns when the access unit left the demuxer")
    sent_ns: int = Field(description="time.monotonic_ns when the matcher handed it over")
    stage_ms: dict[str, float] = Field(default_factory=dict, max_length=32)


class Numbers(WireModel):
    """What the daemon adds to number an event."""

    schema_: Literal[1] = Field(1, alias="schema")
    journal_id: str = Field(description="random, one a journal; numbers count within it")
    seq: int = Field(ge=1, description="grows by one over all events, across restarts")
    camera_seq: int | None = Field(
        description="grows by one over the events of this camera; null for other workers"
    )
    event_id: str = Field(description="unique: journal_id-seq")


class EventTime(WireModel):
    """When the frame was captured, by which clock, and when the event was published."""

    captured: AwareDatetime
    clock: Literal["rtcp", "arrival", "file"]
    published: AwareDatetime


class PublishedTime(WireModel):
    """When the event was published."""

    published: AwareDatetime


class MatchEvent(MatchBody, Numbers):
    """One step in the life of a sighting: an item appears before a camera, changes, leaves."""

    time: EventTime
    latency_ms: float = Field(description="from the access unit leaving the demuxer to the send")
    stage_ms: dict[str, float] = Field(description="what each stage took for this frame")

    def topic(self) -> str:
        return match_topic(self.camera, self.item_id)


class StatusEvent(Numbers):
    """A worker (a camera, a matcher, the daemon) changed its state, or tells its counters."""

    type: Literal["status"] = "status"
    process: str = Field(description='"camera.door", "camera.door.main", "matcher.0", "daemon"')
    camera: str | None = Field(description="the camera that the process serves, if it is one")
    state: State
    reason: str | None = Field(None, max_length=2000)
    counters: dict[str, int | float] = Field(default_factory=dict)
    time: PublishedTime

    def topic(self) -> str:
        return f"status.{self.camera or self.process}."


class HeartbeatEvent(WireModel):
    """The last numbers of all, so that a silent loss is seen, and that the daemon is alive."""

    schema_: Literal[1] = Field(1, alias="schema")
    type: Literal["heartbeat"] = "heartbeat"
    journal_id: str
    last_seq: int = Field(ge=0, description="every event up to this one was sent before this")
    last_camera_seq: dict[str, int]
    oldest_seq: int = Field(ge=1, description="the journal holds nothing before this one")
    n_open_sightings: int = Field(ge=0)
    is_journal_ok: bool = Field(description="false while events cannot be written down")
    heartbeat_s: float = Field(gt=0, description="interval; three of them missed: daemon silent")
    uptime_s: float = Field(ge=0)
    time: PublishedTime

    def topic(self) -> str:
        return "heartbeat."


Event = MatchEvent | StatusEvent | HeartbeatEvent
_ANY_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def parse_event(event: dict[str, Any] | bytes | str) -> Event:
    """Return the typed event of a JSON text or of its decoded form.

    Raises pydantic.ValidationError when it is none.
    """
    if isinstance(event, dict):
        return _ANY_EVENT.validate_python(event)
    return _ANY_EVENT.validate_json(event)


def body_json(body: MatchBody) -> str:
    """Return what a match says of itself as one JSON object, without numbers and times.

    body: any kind of match; only MatchBody's own fields are told.
    """
    return MatchBody.__pydantic_serializer__.to_json(body).decode()


@lru_cache(maxsize=4096)
def match_topic(camera: str, item_id: str) -> str:
    """Return `match.<camera>.<item>.`; in the item every dot is encoded as well, so that a
    subscription to one item never catches a longer one."""
    return f"match.{camera}.{quote(item_id, safe='').replace('.', '%2E')}."


def camera_of(process: str) -> str | None:
    """Return the camera that a worker serves, or None when it serves none.

    Two may serve one: `camera.door` reads what is searched, `camera.door.main` its main stream.
    """
    kind, _, rest = process.partition(".")
    return rest.partition(".")[0] if kind == "camera" and rest else None


def utc_from_ns(wall_ns: int) -> datetime:
    """Return Unix nanoseconds as an aware datetime; what is below a microsecond is cut off."""
    return _EPOCH + timedelta(microseconds=wall_ns // 1000)


def match_event_from(sighting: Sighting, sent_ns: int) -> MatchDraft:
    """Return a sighting as the daemon wants it: plain numbers, rounded, no pictures.

    sent_ns: time.monotonic_ns at the hand-over; `publish` of stage_ms counts from there.
    """
    match = sighting.match
    width, height = sighting.frame_size_wh
    box: list[float] = match.box_xyxy.tolist()
    sides = (width, height, width, height)
    outline = None
    if match.outline is not None:
        outline = [(_rounded(x, 10), _rounded(y, 10)) for x, y in match.outline.tolist()]
    return MatchDraft.model_validate(
        {
            "sighting_id": sighting.sighting_id,
            "type": str(sighting.phase),
            "reason": sighting.reason,
            "camera": sighting.camera,
            "track_id": int(sighting.track_id),
            "item_id": str(match.item_id),
            "label": match.label[:MAX_LABEL],
            "catalog": sighting.catalog,
            "catalog_generation": int(sighting.catalog_generation),
            "tier": str(match.tier),
            "probability": _rounded(match.probability, 10_000),
            "similarity": _rounded(match.similarity, 10_000),
            "margin": _rounded(match.margin, 10_000),
            "inliers": int(match.inliers),
            "box_xyxy": [_rounded(value, 10) for value in box],
            "box_normalized": [
                _rounded(value / side, 100_000) for value, side in zip(box, sides, strict=True)
            ],
            "outline": outline,
            "angle_deg": _rounded(match.angle_deg, 10),
            "frame_number": int(sighting.frame_number),
            "frame_size_wh": (int(width), int(height)),
            "alternatives": [
                {"item_id": str(a.item_id), "probability": _rounded(a.probability, 10_000)}
                for a in match.alternatives
            ],
            "captured": utc_from_ns(int(sighting.wall_ns)),
            "clock": sighting.clock,
            "captured_ns": int(sighting.captured_ns),
            "sent_ns": sent_ns,
            "stage_ms": {name: _rounded(ms, 1000) for name, ms in sighting.stage_ms.items()},
        }
    )


def _rounded(value: float, steps: int) -> float:
    """Return the number to the nearest of so many steps a unit, a third of the cost of `round`
    by digits; what is not finite stays so, for the model to refuse."""
    scaled = float(value) * steps
    return round(scaled) / steps if isfinite(scaled) else scaled
