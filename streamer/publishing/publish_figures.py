"""What the publisher tells of its own work: for the summary and `magpie status`."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from streamer.publishing.numbering import Numbered

_REMEMBERED = 10_000
JOURNAL_TROUBLE = "the journal cannot be written; events go out anyway"


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Milliseconds over the newest events; all zero when there were none."""

    n: int
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @classmethod
    def of(cls, values_ms: Sequence[float]) -> Quantiles:
        if not values_ms:
            return cls(0, 0.0, 0.0, 0.0)
        ordered = sorted(values_ms)
        at = [ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.5, 0.95, 0.99)]
        return cls(len(ordered), *(round(value, 3) for value in at))


@dataclass(frozen=True, slots=True)
class PublishSummary:
    """What was published since the start.

    latency: from the access unit leaving the demuxer to the send, over matchers' events.
    publish: from the matcher's hand-over to the send.
    refused: messages of workers that would have broken a sighting's life, by cause.
    trouble: what keeps the publisher from its work now, a sentence each.
    """

    n_events: int
    n_by_type: dict[str, int]
    n_by_camera: dict[str, dict[str, int]]
    latency: Quantiles
    publish: Quantiles
    refused: dict[str, int]
    trouble: tuple[str, ...] = ()


@dataclass(slots=True)
class PublishFigures:
    """Counts in the publisher's thread; `summary` may be called from any."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _by_type: Counter[str] = field(default_factory=Counter)
    _by_camera: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    _latency_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _publish_ms: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def add(self, batch: Sequence[Numbered]) -> None:
        with self._lock:
            for numbered in batch:
                self._by_type[numbered.type] += 1
                entry = numbered.entry
                if entry.sighting_id is not None and entry.camera is not None:
                    self._by_camera[entry.camera][numbered.type] += 1
                if numbered.latency_ms is not None and numbered.publish_ms is not None:
                    self._latency_ms.append(numbered.latency_ms)
                    self._publish_ms.append(numbered.publish_ms)

    def summary(self, refused: Counter[str], trouble: tuple[str, ...] = ()) -> PublishSummary:
        with self._lock:
            return PublishSummary(
                n_events=self._by_type.total(),
                n_by_type=dict(self._by_type),
                n_by_camera={name: dict(counts) for name, counts in self._by_camera.items()},
                latency=Quantiles.of(self._latency_ms),
                publish=Quantiles.of(self._publish_ms),
                refused=dict(refused),
                trouble=trouble,
            )
