"""What benchmarks share: the machine they ran on, percentiles, processes' cost, a JSON result."""

from __future__ import annotations

import itertools
import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from pipeline.writable import make_ready
from streamer.redaction import redact

_PACKAGES = (
    *("av", "faiss-gpu", "faiss-cpu", "kornia", "numpy", "opencv-python", "opencv-python-headless"),
    *("openvino", "pyzmq", "timm", "torch", "trackers", "ultralytics"),
)
COMMIT_VARIABLE = "MAGPIE_COMMIT"  # where the files were carried without their history
_SAMPLE_EVERY_S = 0.5


def describe_machine() -> dict[str, Any]:
    """Give what a figure depends on: processor, memory, versions; no names of host or user."""
    flags = _cpu_info("flags").split()
    return {
        "cpu": _cpu_info("model name") or platform.processor(),
        "cores": os.cpu_count(),
        "vector_units": [name for name in ("avx2", "avx512f", "amx_bf16") if name in flags],
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpus": _gpus(),
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _gpus() -> list[str]:
    """Give each GPU's name, memory and driver, as NVIDIA's tool tells them."""
    command = [
        "nvidia-smi",
        "--query-gpu=name,memory.total,driver_version",
        "--format=csv,noheader",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


def _cpu_info(key: str) -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    except OSError:
        pass
    return ""


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def current_commit() -> str:
    """Give the checkout's commit, with `+changes` when files differ from it; "" outside of one."""
    if COMMIT_VARIABLE in os.environ:
        return os.environ[COMMIT_VARIABLE]
    root = Path(__file__).resolve().parent.parent
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=+changes"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """Give n, p50, p95, p99 and max of the values, or None of none."""
    if not len(values):
        return None
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    shown = {"p50": p50, "p95": p95, "p99": p99, "max": max(values)}
    return {"n": len(values), **{key: round(float(value), 3) for key, value in shown.items()}}


def time_calls(call: Callable[[], object], seconds: float, at_least: int = 5) -> list[float]:
    """Return what single calls took, in ms: for so many seconds, after two that do not count."""
    for _ in range(2):
        call()
    times_ms: list[float] = []
    end_s = time.perf_counter() + seconds
    while len(times_ms) < at_least or time.perf_counter() < end_s:
        began_s = time.perf_counter()
        call()
        times_ms.append((time.perf_counter() - began_s) * 1e3)
    return times_ms


def write_result(out: Path, name: str, config: Mapping[str, Any], figures: Any) -> Path:
    """Write `<name>-<time>.json` with machine, commit, command and config beside the figures."""
    make_ready(out, "--out", "choose another")
    now = datetime.now(UTC)
    path = _new_file(out, f"{name}-{now:%Y%m%dT%H%M%SZ}")
    document = {
        "benchmark": name,
        "time": now.isoformat(timespec="seconds"),
        "commit": current_commit(),
        "command": " ".join(_command()),
        "machine": describe_machine(),
        "config": dict(config),
        "figures": figures,
    }
    path.write_text(json.dumps(document, indent=1, default=str) + "\n")
    return path


def _new_file(out: Path, stem: str) -> Path:
    """Take a name that nobody has: two runs side by side may end in the same second."""
    path = out / f"{stem}.json"
    for number in itertools.count(2):
        with suppress(FileExistsError):
            path.touch(exist_ok=False)
            break
        path = out / f"{stem}-{number}.json"
    return path


def _command() -> list[str]:
    """The command as a user types it; of paths only the last name, which is no machine's."""
    program = Path(sys.argv[0])
    is_script = program.suffix == ".py" and program.parent.name == "benchmarks"
    first = f"python -m benchmarks.{program.stem}" if is_script else "magpie"
    given = [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]
    return [first, *(redact(word) for word in given)]


@dataclass
class _Cost:
    cpu_s: float = 0.0
    all_cpu_s: float = 0.0  # since the process began
    wall_s: float = 0.0
    private_mb: list[float] = field(default_factory=list)
    first: tuple[float, float] | None = None


def _now_s() -> tuple[float, float, float]:
    """The clock, the time that the machine's cores have worked, and that of this process."""
    times = psutil.cpu_times()
    waiting_s = times.idle + getattr(times, "iowait", 0.0)
    guest_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # is in user, too
    return time.monotonic(), sum(times) - waiting_s - guest_s, time.process_time()


def _quarter(values: Sequence[float], number: int) -> float:
    """The median of the values' quarter of this number, 0..3; of all where they are few."""
    size = len(values) // 4
    return float(np.median(values[number * size : (number + 1) * size] if size else values))


class ProcessCosts:
    """Samples CPU time and private memory (USS: what the process shares with no other) of processes
    by name, in a thread.
    """

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        """pids: which processes there are by now."""
        self._pids = pids
        self._costs: dict[str, _Cost] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="process-costs", daemon=True)
        self._began = self._ended = (0.0, 0.0, 0.0)

    def __enter__(self) -> ProcessCosts:
        self._began = _now_s()
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self._ended = _now_s()

    def others_cores(self) -> float:
        """Give how many cores' time went to processes that are neither these nor this one."""
        wall_s, busy_s, own_s = (b - a for a, b in zip(self._began, self._ended, strict=True))
        ours_s = own_s + sum(cost.all_cpu_s for cost in self._costs.values())
        return max(0.0, busy_s - ours_s) / wall_s if wall_s > 0 else 0.0

    def figures(self) -> dict[str, dict[str, float]]:
        """Give each process's share of one core in % and its private memory in MB: the median, the
        most, and the medians of the second and of the last quarter of its time.
        """
        return {
            name: {
                "cpu_percent": round(100 * cost.cpu_s / cost.wall_s, 1) if cost.wall_s else 0.0,
                "private_mb_median": round(float(np.median(cost.private_mb)), 1),
                "private_mb_max": round(max(cost.private_mb), 1),
                "private_mb_early": round(_quarter(cost.private_mb, 1), 1),
                "private_mb_late": round(_quarter(cost.private_mb, 3), 1),
            }
            for name, cost in self._costs.items()
            if cost.private_mb
        }

    def _run(self) -> None:
        while not self._stop.wait(_SAMPLE_EVERY_S):
            for name, pid in self._pids().items():
                try:
                    self._sample(name, psutil.Process(pid))
                except (psutil.NoSuchProcess, psutil.AccessDenied):
                    continue

    def _sample(self, name: str, process: psutil.Process) -> None:
        times = process.cpu_times()
        now_s, cpu_s = time.monotonic(), times.user + times.system
        cost = self._costs.setdefault(name, _Cost())
        if cost.first is None:
            cost.first = (now_s, cpu_s)
        cost.all_cpu_s = cpu_s
        cost.wall_s, cost.cpu_s = now_s - cost.first[0], cpu_s - cost.first[1]
        cost.private_mb.append(process.memory_full_info().uss / 1e6)
