"""How many threads the networks of each lane get: measured at a machine's first start, and kept.

Where looks are identified at once (`calls_at_once`), each gets its share of the lane's threads.

A further thread makes a call shorter, but by less than it costs, and ever less: by how much depends
on the machine and on the network. `python -m pipeline.engines.thread_plan DETECTOR EMBEDDER` is the
measurement, a child process: what it compiles leaves no memory behind.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np

from pipeline.engines import Array, choose_engine, load_engine
from pipeline.errors import ConfigError
from pipeline.options import EngineOptions, MatcherOptions
from pipeline.weights import cache_dir, find_weights, read_kind, read_spec, sha256_of

LEAST_GAIN = 1.25  # twice the threads must make a call so many times shorter
MOST_THREADS = 8
MEASURED_S = 0.25  # a network and count
WITHIN_S = 120.0  # the first use of a network converts it
_ROOT = Path(__file__).resolve().parent.parent.parent

Times = Mapping[int, float]  # ms a call, by threads

log = logging.getLogger(__name__)


def share_cores(options: MatcherOptions) -> tuple[EngineOptions, EngineOptions]:
    """Return where the networks of the follow and of the identify lane run.

    On a CPU the lanes share the cores: both at once on all of them would wait for each other. Each
    gets at most half, and of these so many as are worth it here. The first start on a machine of
    more than two cores measures that (seconds); who sets `threads` is not asked.
    """
    engine = options.engine
    follows = engine.model_copy(update={"calls_at_once": 1})
    if options.lockstep or choose_engine(engine)[1] != "cpu":
        return follows, follows
    n_calls = engine.calls_at_once or 1
    identifies = engine.model_copy(update={"calls_at_once": n_calls})
    if engine.threads:
        return follows, identifies
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    n_follow = n_identify = max(1, (n_cores or 1) // 2)
    if n_follow > 1:
        weights = (
            find_weights("detector", options.detect.weights),
            find_weights("embedder", options.embed.weights),
        )
        n_follow, n_identify = _known_or_measured(engine, weights, n_follow, n_calls)
    return (
        follows.model_copy(update={"threads": n_follow}),
        identifies.model_copy(update={"threads": n_identify}),
    )


def choose_threads(times_ms: Times, at_most: int) -> int:
    """Return how many threads are worth it: doubled as long as that gains LEAST_GAIN."""
    threads = 1
    while (twice := threads * 2) <= at_most and twice in times_ms:
        if times_ms[threads] < LEAST_GAIN * times_ms[twice]:
            break
        threads = twice
    return threads


def _known_or_measured(
    engine: EngineOptions, weights: tuple[Path, Path], at_most: int, n_calls: int
) -> tuple[int, int]:
    of_call = max(1, at_most // n_calls)
    path = _stored_at(engine, weights, at_most)
    measured = _read(path) or _measured_by_child(engine, weights, at_most)
    if measured is None:
        return at_most, of_call
    follow, identify = (
        choose_threads(times_ms, most)
        for times_ms, most in zip(measured, (at_most, of_call), strict=True)
    )
    log.info("networks: %d threads to follow, %d to identify", follow, identify)
    if path is not None and not path.exists():
        _write(path, measured)
    return follow, identify


def _stored_at(engine: EngineOptions, weights: tuple[Path, Path], at_most: int) -> Path | None:
    """Return the file of this machine and these weights; None without a cache."""
    said = [_cpu_name(), str(at_most), engine.engine, engine.precision, *map(sha256_of, weights)]
    try:
        name = hashlib.sha256("\n".join(said).encode()).hexdigest()[:20]
        return cache_dir() / "engines" / f"threads-{name}.json"
    except ConfigError:
        return None


def _read(path: Path | None) -> list[Times] | None:
    """Return what was measured before; None when there is nothing that can be read."""
    if path is None:
        return None
    try:
        stored = json.loads(path.read_text())
        return [{int(n): float(ms) for n, ms in times_ms.items()} for times_ms in stored]
    except (OSError, ValueError, AttributeError, TypeError):
        return None


def _write(path: Path, measured: list[Times]) -> None:
    """Keep it for the next start; a cache that cannot be written costs a measurement each time."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        part.write_text(json.dumps(measured))
        part.replace(path)
    except OSError as error:
        log.warning("engine cache: threads are measured at each start: %s", error)


def _measured_by_child(
    engine: EngineOptions, weights: tuple[Path, Path], at_most: int
) -> list[Times] | None:
    """Return the times of both networks, or None, and say so, when they could not be had."""
    log.info("measuring how many threads the networks are worth here, once")
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    arguments = [engine.model_dump_json(), str(at_most), *map(str, weights)]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.engines.thread_plan", *arguments],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=True,
        )
        return [{int(n): ms for n, ms in times.items()} for times in json.loads(done.stdout)]
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        log.warning("threads could not be measured (%s): half of the cores each", error)
        return None


def _measure(weights: Path, engine: EngineOptions, at_most: int) -> dict[int, float]:
    """Return what a call takes, ms, with 1, 2, 4… threads, in the median."""
    found: dict[int, float] = {}
    threads = 1
    while threads <= min(at_most, MOST_THREADS):
        network = load_engine(weights, engine.model_copy(update={"threads": threads}))
        arrays = _blank(weights)
        network(*arrays)  # compiles
        times_s: list[float] = []
        while sum(times_s) < MEASURED_S:
            began_s = time.perf_counter()
            network(*arrays)
            times_s.append(time.perf_counter() - began_s)
        found[threads] = 1e3 * median(times_s)
        threads *= 2
    return found


def _blank(weights: Path) -> tuple[Array, ...]:
    """One input of a detector (a picture of 16:9) or an embedder."""
    side_px = int(read_spec(weights).get("input_side_px", 128))
    height, width = (384, 640) if read_kind(weights) == "detector" else (side_px, side_px)
    return (np.zeros((1, height, width, 3), np.uint8),)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def main(arguments: list[str]) -> int:
    engine = EngineOptions.model_validate_json(arguments[0])
    at_most, *weights = int(arguments[1]), *map(Path, arguments[2:])
    print(json.dumps([_measure(each, engine, at_most) for each in weights]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
