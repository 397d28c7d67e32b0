"""What a matcher process counts and measures of its work, and tells the daemon once a second."""

import time
from collections.abc import Iterable, Mapping

from pipeline.types import Frame
from pipeline.waiting_room import RoomFigures
from streamer.camera_load import LoadMeter
from streamer.child import ChildContext, WorkerState
from streamer.latency import Histogram, Histograms

SAY_EVERY_S = 1.0


class MatcherFigures:
    """A matcher process's memory of its figures; but for `loads`, of the follow lane's thread only.

    loads: what each camera costs, measured by both lanes.
    """

    def __init__(self) -> None:
        self.loads = LoadMeter()
        self.n_sightings = 0
        self._n_frames = self._n_still = 0
        self._histograms: Histograms = {}
        self._said_at_s = 0.0

    def add(self, stage: str, ms: float) -> None:
        """Count how long a stage took once."""
        self._histograms.setdefault(stage, Histogram()).add(ms)

    def add_stages(self, stage_ms: Mapping[str, float]) -> None:
        for stage, ms in stage_ms.items():
            self.add(stage, ms)

    def add_latency(self, name: str, captured_ns: Iterable[int]) -> None:
        """Count how long it is now since each of these moments (monotonic)."""
        now_ns = time.monotonic_ns()
        for each_ns in captured_ns:
            self.add(name, (now_ns - each_ns) / 1e6)

    def count_frames(self, n: int, still: bool) -> None:
        self._n_frames += n
        self._n_still += n if still else 0

    def is_due(self) -> bool:
        """Whether it is time to tell them again."""
        return time.monotonic() - self._said_at_s >= SAY_EVERY_S

    def tell(
        self, context: ChildContext, n_failed: int, n_lost: int, looks: RoomFigures | None
    ) -> None:
        """Tell the daemon; n_failed frames, n_lost events. looks: none in lockstep."""
        self._said_at_s = time.monotonic()
        counters: dict[str, int | float] = {
            "frames": self._n_frames,
            "still": self._n_still,
            "events": self.n_sightings,
            "failed": n_failed,
            "lost_events": n_lost,
        }
        if looks is not None:
            counters |= {
                "looks_waiting": looks.waiting,
                "looks_done": looks.taken,
                "looks_replaced": looks.replaced,
                "looks_dropped": looks.dropped,
                "look_waited_s": round(looks.oldest_s, 2),
            }
        if "capture to decision" in self._histograms:
            latency = self._histograms["capture to decision"].percentiles()
            counters["latency_p50_ms"] = round(latency.p50_ms, 2)
            counters["latency_p99_ms"] = round(latency.p99_ms, 2)
        context.report(WorkerState.RUNNING, None, **counters)
        context.note("figures", stages=self._histograms, loads=self.loads.loads())


def before_ms(frame: Frame, taken_ns: int) -> dict[str, float]:
    """Return what a frame went through before this process took it."""
    waited_ms = (taken_ns - frame.captured_ns) / 1e6 - frame.decode_ms
    return {"decode": frame.decode_ms, "wait": max(0.0, waited_ms)}
