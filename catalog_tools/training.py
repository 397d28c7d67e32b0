"""What the trainings share: options, the clock that ends them, checkpoints, the curve, batches made
ahead.
"""

from __future__ import annotations

import pickle
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from pydantic import Field
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.errors import ConfigError, WeightsError
from pipeline.options import Options

if TYPE_CHECKING:
    import torch

Batch = TypeVar("Batch")
_BATCHES_AHEAD = 3


class TrainOptions(Options):
    """What a user can set about a training."""

    pool: Path = Field(description="folder of tar files or sub-folders of pictures")
    out: Path = Field(description="folder for checkpoint, curve and the exported weights")
    minutes: float = Field(
        gt=0, description="wall time of the whole training, resumed parts together"
    )
    seed: int = Field(0, ge=0)
    threads: int = Field(2, ge=1)
    batch: int = Field(64, ge=2, description="pairs or scenes a step")
    check_count: int = Field(60, ge=1, description="unseen packs in each check")
    resume: bool = Field(True, description="go on from the checkpoint in out, when there is one")
    start: Path | None = Field(None, description="weights to begin with instead of random ones")


class TrainingRun:
    """One training's clock, figures and files: `<out>/<name>.checkpoint.pt`, `.png`,
    `.safetensors`.
    """

    def __init__(self, name: str, options: TrainOptions) -> None:
        self.name, self.options = name, options
        self.step, self.figures = 0, list[dict[str, float]]()
        self._earlier_s, self._start_s = 0.0, time.monotonic()
        self._saved_s = self._start_s
        options.out.mkdir(parents=True, exist_ok=True)
        columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
        self._bar = Progress(*columns, transient=True)
        self._bar.disable = not self._bar.console.is_terminal  # lines alone in a log file
        self._task = self._bar.add_task(name, total=options.minutes * 60)
        self.checkpoint_path = options.out / f"{name}.checkpoint.pt"

    def elapsed_s(self) -> float:
        """Seconds trained, earlier parts included."""
        return self._earlier_s + time.monotonic() - self._start_s

    def progress(self) -> float:
        """Share of the wished time that has passed, 0..1."""
        return min(1.0, self.elapsed_s() / (self.options.minutes * 60))

    def learning_rate(self, peak: float, warmup_steps: int = 100) -> float:
        """Rise linearly, then fall as a cosine over the wished time, whatever the throughput."""
        cosine = 0.5 * (1 + np.cos(np.pi * self.progress()))
        return float(peak * min(1.0, (self.step + 1) / warmup_steps) * max(cosine, 0.01))

    def load(self) -> dict[str, Any] | None:
        """Give the state in the checkpoint and take up its clock; None for a fresh start."""
        import torch

        if not (self.options.resume and self.checkpoint_path.is_file()):
            return None
        try:
            state: dict[str, Any] = torch.load(self.checkpoint_path, weights_only=True)
            self.step, self.figures = state["step"], state["figures"]
            self._earlier_s = state["elapsed_s"]
        except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError) as error:
            raise ConfigError.at(
                f"checkpoint '{self.checkpoint_path}'",
                "must be whole",
                type(error).__name__,
                "remove it, or start anew with --no-resume",
            ) from error
        spent = f"step {self.step}, {self._earlier_s / 60:.1f} min"
        self._bar.console.print(f"{self.name}: going on from {spent}", highlight=False)
        return state

    def advance(self) -> None:
        """Count a step, and move the bar on a terminal."""
        self.step += 1
        self._bar.start()
        self._bar.update(self._task, completed=self.elapsed_s())

    def close(self) -> None:
        """Take the bar off the terminal; may be called twice."""
        self._bar.stop()

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint; the old one stays until the new one is whole."""
        import torch

        whole = {**state, "step": self.step, "figures": self.figures, "elapsed_s": self.elapsed_s()}
        part = self.checkpoint_path.with_suffix(".part")
        torch.save(whole, part)
        part.replace(self.checkpoint_path)
        self._saved_s = time.monotonic()

    def is_save_due(self, every_s: float = 240) -> bool:
        """Say whether the last checkpoint is older than that."""
        return time.monotonic() - self._saved_s > every_s

    def report(self, figures: dict[str, float]) -> None:
        """Keep the figures for the curve and print them on one line."""
        figures = {name: float(value) for name, value in figures.items()}  # numpy's would not load
        self.figures.append({"step": self.step, "minutes": self.elapsed_s() / 60, **figures})
        text = "  ".join(f"[bold]{key}[/] {value:.4g}" for key, value in figures.items())
        spent = f"{self.elapsed_s() / 60:5.1f}/{self.options.minutes:g} min"
        self._bar.console.print(f"{self.name} {spent}  step {self.step}  {text}", highlight=False)

    def draw_curve(self) -> Path:
        """Draw every figure over time into `<out>/<name>.png`."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        names = sorted({key for row in self.figures for key in row} - {"step", "minutes"})
        figure, axes = pyplot.subplots(
            len(names) or 1, 1, figsize=(7, 1.8 * max(len(names), 1)), squeeze=False
        )
        for axis, name in zip(axes[:, 0], names, strict=False):
            rows = [(row["minutes"], row[name]) for row in self.figures if name in row]
            axis.plot(*zip(*rows, strict=True), marker="." if len(rows) < 40 else None)
            axis.set_ylabel(name)
        axes[-1, 0].set_xlabel("minutes")
        figure.tight_layout()
        path = self.options.out / f"{self.name}.png"
        figure.savefig(path)
        pyplot.close(figure)
        return path

    def metadata(self, **more: str) -> dict[str, str]:
        """Give the header of the exported weights: how and when they were trained."""
        options = self.options
        command = f"magpie train {self.name} --pool POOL --minutes {options.minutes:g}"
        start = f" --start {options.start.name}" if options.start else ""
        trained = {
            "trained_with": f"{command} --seed {options.seed} --threads {options.threads}{start}",
            "steps": str(self.step),
            "batch": str(options.batch),
        }
        created = datetime.now(UTC).isoformat(timespec="seconds")
        return {**trained, "commit": current_commit(), "created": created, **more}


def current_commit() -> str:
    """Give the checkout's short commit hash, or "unknown" outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def made_ahead(make: Callable[[int], Batch], first_step: int) -> Iterator[Batch]:
    """Give make(first_step), make(first_step + 1)…, made ahead by a thread: OpenCV works beside
    torch.

    An error in `make` is raised here; the thread ends when the iterator is closed.
    """
    made: queue.Queue[Batch | BaseException] = queue.Queue(_BATCHES_AHEAD)
    stopped = threading.Event()

    def put(item: Batch | BaseException) -> None:
        while not stopped.is_set():
            try:
                made.put(item, timeout=0.5)
                return
            except queue.Full:
                continue

    def work() -> None:
        step = first_step
        try:
            while not stopped.is_set():
                put(make(step))
                step += 1
        except BaseException as error:  # handed to the training loop, which raises it
            put(error)

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        while True:
            item = made.get(timeout=600)
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join(timeout=60)


def begin_with(network: torch.nn.Module, kind: str, start: Path) -> None:
    """Copy the weights of an earlier training into the network.

    Raises WeightsError when they are of another kind or shape.
    """
    from pipeline.engines.torch_networks import read_weights

    metadata, state = read_weights(start)
    try:
        if metadata["kind"] != kind:
            raise ValueError(f"weights of a {metadata['kind']}")
        network.load_state_dict(state)
    except (RuntimeError, ValueError) as error:
        raise WeightsError.at(
            f"--start '{start}'", f"must fit the {kind}", str(error).splitlines()[0]
        ) from error


def check_options(**given: Any) -> TrainOptions:
    """Give the options, or raise ConfigError that says which is wrong."""
    from pydantic import ValidationError

    try:
        return TrainOptions(**given)
    except ValidationError as error:
        first = error.errors()[0]
        where = "--" + ".".join(str(part) for part in first["loc"])
        raise ConfigError.at(where, first["msg"], str(first["input"])) from error
