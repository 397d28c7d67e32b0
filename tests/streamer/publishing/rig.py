"""A wire to test with: real sockets on free ports of the loopback, a real journal."""

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.types import Alternative, ItemId, Match, Phase, Sighting, Tier
from streamer.publishing import Subscriber
from streamer.publishing.journal import Journal
from streamer.publishing.options import PublishOptions
from streamer.publishing.publisher import Publisher
from streamer.publishing.sink import EventSink

DEADLINE_S = 10.0  # for what takes milliseconds; only a failing test waits so long


def sighting(sighting_id: str, phase: Phase = Phase.APPEARED, **changes: Any) -> Sighting:
    """A sighting as the matcher makes it; `changes` are Sighting's own fields."""
    match = Match(
        item_id=ItemId("tea"),
        label="Tea",
        view_index=0,
        tier=Tier.EXACT,
        probability=0.987654,
        similarity=0.83,
        margin=0.21,
        inliers=61,
        agreement=0.7,
        box_xyxy=np.array([64, 48, 320, 240], np.float32),
        outline=np.array([[64, 48], [320, 48], [320, 240], [64, 240]], np.float32),
        angle_deg=12.0,
        alternatives=(Alternative(ItemId("coffee"), 0.01),),
    )
    made = Sighting(
        sighting_id=sighting_id,
        phase=phase,
        camera="door",
        track_id=7,
        match=match,
        frame_number=901,
        frame_size_wh=(640, 480),
        captured_ns=time.monotonic_ns(),
        wall_ns=time.time_ns(),
        clock="arrival",
        catalog="shelf",
        catalog_generation=3,
        reason="gone" if phase is Phase.LEFT else None,
        stage_ms={"decode": 1.5, "detect": 12.0},
    )
    return replace(made, **changes)


def take(events: Subscriber, count: int) -> list[dict[str, Any]]:
    """The next `count` events; fails when one does not come."""
    taken = []
    for _ in range(count):
        event = events.receive_dict(DEADLINE_S)
        assert event is not None, f"got {len(taken)} of {count} events: {taken}"
        taken.append(event)
    return taken


def is_live(events: Subscriber) -> bool:
    """Whether the reader has caught up and hears the publisher: a heartbeat (of 0.1 s) came."""
    assert events.receive_dict(0.05) is None
    return events._heartbeat_s == 0.1


@dataclass
class Wire:
    """A publisher under test, and what connects to it; everything is closed at the test's end."""

    run_dir: Path
    journal_path: Path
    options: PublishOptions
    open_things: ExitStack
    publisher: Publisher
    journal: Journal

    def sink(self, worker: str = "matcher.0", incarnation: int = 0) -> EventSink:
        sink = EventSink(self.run_dir, worker, incarnation)
        self.open_things.callback(sink.close)
        return sink

    def subscriber(self, **options: Any) -> Subscriber:
        options.setdefault("ask_endpoint", self.publisher.ask_endpoint)
        events = Subscriber(self.publisher.endpoint, **options)
        self.open_things.callback(events.close)
        return events

    def stop(self) -> None:
        self.publisher.stop()
        self.journal.close()

    def restart(self, **options: Any) -> None:
        """Stop and start again on the same ports, with the same journal unless told otherwise."""
        self.stop()
        same = {"endpoint": self.publisher.endpoint, "ask_endpoint": self.publisher.ask_endpoint}
        path = options.pop("journal", self.journal_path)
        self.options = PublishOptions(**{**dict(self.options), **same, **options})
        self.journal = Journal(path)
        self.publisher = Publisher(self.options, self.journal, self.run_dir)
        self.publisher.start()
