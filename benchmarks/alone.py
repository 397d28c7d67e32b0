"""What each part of the work costs alone, in core-time, on one recording: efficiency's measure.

In a process of its own, as a matcher's is: the same options, so the same threads a network. Nothing
else of the run works meanwhile; core-time is what all threads of the process used.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.recorded import frames_of, measure_decoding
from pipeline.errors import WorkerError
from pipeline.options import MatcherOptions
from streamer.pacer import Pacer

_AT_MOST_FRAMES = 240  # of the recording; 3 MB each at 1080p
_WARM_UP_FRAMES = 3
_WITHIN_S = 300.0
CAMERA = "cam"


@dataclass(frozen=True, slots=True)
class Alone:
    """Core-time, ms: of a decoded frame, of a searched one, of one that is not, of a look.

    stages: wall time of a searched frame's and of a look's stages, ms, for people.
    """

    decode_ms: float
    search_ms: float
    coast_ms: float
    look_ms: float
    stages: Mapping[str, float]

    def needed_s(self, decoded: int, searched: int, looks: int) -> float:
        """Return the core-time that so much work needs at least, in s."""
        coasted = max(0, decoded - searched)
        total_ms = decoded * self.decode_ms + searched * self.search_ms
        return (total_ms + coasted * self.coast_ms + looks * self.look_ms) / 1e3


def efficiency(needed_s: float, wall_s: float, n_cores: float) -> float:
    """Return the share of the cores' time that went into the work itself, 0..1 and more.

    n_cores: the machine's, or what other programs left of them.
    """
    if wall_s <= 0 or n_cores <= 0:
        raise ValueError(f"wall_s and n_cores must be positive, got {wall_s} and {n_cores}")
    return needed_s / (wall_s * n_cores)


def measure_alone(
    clip: Path, catalog: Path, options: MatcherOptions, detect_fps: float = 10.0
) -> Alone:
    """Measure in a new process; WorkerError when that fails."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_measure, args=(clip, catalog, options, detect_fps, theirs))
    process.start()
    theirs.close()
    try:
        if not ours.poll(_WITHIN_S):
            raise WorkerError.at("bench", "steps alone must be measured", f"none in {_WITHIN_S} s")
        found: dict[str, Any] = ours.recv()
    except EOFError as error:
        raise WorkerError.at("bench", "steps alone must be measured", "the process died") from error
    finally:
        process.terminate()
        process.join()
    return Alone(**found)


def _measure(
    clip: Path, catalog: Path, options: MatcherOptions, detect_fps: float, results: Connection
) -> None:
    from pipeline.matcher import create_matcher

    decoding = measure_decoding(clip)
    matcher = create_matcher(options, {CAMERA: catalog})
    spent = {"search": 0.0, "coast": 0.0, "look": 0.0}
    counts = dict.fromkeys(spent, 0)
    stages: dict[str, float] = {}
    pacer = Pacer(detect_fps)

    def count(kind: str, began_s: float, n: int, stage_ms: Mapping[str, float]) -> None:
        spent[kind] += time.process_time() - began_s
        counts[kind] += n
        for stage, ms in stage_ms.items():
            stages[stage] = stages.get(stage, 0.0) + ms

    for number, frame in enumerate(frames_of(clip, CAMERA, _AT_MOST_FRAMES)):
        is_warm = number >= _WARM_UP_FRAMES
        began_s = time.process_time()
        if not pacer.is_due(frame):
            matcher.coast([frame])
            count("coast", began_s, 1, {})
            continue
        _, looks = matcher.follow([frame])
        if is_warm:
            count("search", began_s, 1, matcher.stage_ms)
        for start in range(0, len(looks), matcher.looks_at_once):
            batch = looks[start : start + matcher.looks_at_once]
            began_s = time.process_time()
            answers = matcher.identify(batch)
            if is_warm:
                count("look", began_s, len(batch), answers[0].stage_ms)
            matcher.apply(answers)
    each_ms = {kind: 1e3 * spent[kind] / max(1, counts[kind]) for kind in spent}
    of_look = ("embed", "search", "verify")
    mean_ms = {
        stage: ms / max(1, counts["look" if stage in of_look else "search"])
        for stage, ms in stages.items()
    }
    results.send(
        {
            "decode_ms": decoding.core_ms,
            **{f"{kind}_ms": ms for kind, ms in each_ms.items()},
            "stages": mean_ms,
        }
    )
