"""One training's clock, checkpoints, figures and curve. The loop: train_loop.py."""

from __future__ import annotations

import pickle
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from catalog_tools.train.batches_ahead import Clock
from catalog_tools.train.options import TrainOptions, command_of
from catalog_tools.train.packing import join_parts, split_file
from pipeline.errors import ConfigError
from pipeline.picture_file import write_figure
from pipeline.printable import printable
from pipeline.writable import make_ready

REPORT_EVERY_S = 30.0
SAVE_EVERY_S = 240.0
WARM_UP_STEPS, WARM_UP_SHARE = 100, 0.05


class TrainingRun:
    """Files: `<out>/<name>.checkpoint.pt`, `.png`, and the weights."""

    def __init__(self, name: str, options: TrainOptions) -> None:
        self.name, self.options = name, options
        self.step, self.figures = 0, list[dict[str, float]]()
        self.clock = Clock(0.0, time.monotonic(), options.minutes * 60)
        self._saved_s = self._checked_s = self._reported_s = 0.0
        self._reported_step = 0
        self._make_out()
        columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
        self._bar = Progress(*columns, transient=True)
        self._bar.disable = not self._bar.console.is_terminal  # lines alone in a log file
        self._task = self._bar.add_task(name, total=options.minutes * 60)
        self.checkpoint_path = options.out / f"{name}.checkpoint.pt"

    def _make_out(self) -> None:
        make_ready(self.options.out, "--out", "choose another")

    def elapsed_s(self) -> float:
        """Seconds trained, earlier parts included."""
        return self.clock.elapsed_s()

    def progress(self) -> float:
        """Share of the wished time that has passed, 0..1."""
        return self.clock.progress()

    def learning_rate(self, peak: float) -> float:
        """Rise linearly, then fall as a cosine over the wished time, whatever the throughput."""
        cosine = 0.5 * (1 + np.cos(np.pi * self.progress()))
        # A few minutes on a CPU have too few steps to spend a hundred on the rise.
        risen = max((self.step + 1) / WARM_UP_STEPS, self.progress() / WARM_UP_SHARE)
        return float(peak * min(1.0, risen) * max(cosine, 0.01))

    def load(self) -> dict[str, Any] | None:
        """Give the state in the checkpoint and take up its clock; None for a fresh start."""
        import torch

        if not self.options.resume:
            return None
        if not self.checkpoint_path.is_file() and not join_parts(self.checkpoint_path):
            return None
        try:
            state: dict[str, Any] = torch.load(
                self.checkpoint_path, map_location="cpu", weights_only=True
            )
            self.step, self.figures = state["step"], state["figures"]
            earlier_s = float(state["elapsed_s"])
        except (RuntimeError, pickle.UnpicklingError, EOFError, KeyError) as error:
            raise self.bad_checkpoint("must be whole", type(error).__name__) from error
        self.clock = Clock(earlier_s, time.monotonic(), self.clock.whole_s)
        self._saved_s = self._checked_s = self._reported_s = earlier_s
        self._reported_step = self.step
        self.say(f"going on from step {self.step}, {earlier_s / 60:.1f} min")
        return state

    def bad_checkpoint(self, rule: str, got: str) -> Exception:
        """Give the error that says what is wrong with the checkpoint and what to do."""
        where, remedy = f"checkpoint '{self.checkpoint_path}'", "remove it, or start anew: --fresh"
        return ConfigError.at(where, rule, got, remedy)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        told = printable(f"{self.name}: {text}")
        self._bar.console.print(told, highlight=False, markup=False, soft_wrap=True)

    def advance(self, losses: dict[str, float]) -> None:
        """Count a step, and move the bar on a terminal."""
        self.step += 1
        self._bar.start()
        shown = "  ".join(f"{name} {value:.3g}" for name, value in losses.items())
        told = f"{self.name}  step {self.step}  {shown}"
        self._bar.update(self._task, completed=self.elapsed_s(), description=told)

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
        self._saved_s = self.elapsed_s()

    def is_save_due(self) -> bool:
        """Say whether the last checkpoint is old."""
        return self.elapsed_s() - self._saved_s > SAVE_EVERY_S

    def is_check_due(self) -> bool:
        """Say whether it is time to measure: some eight times a training, not more than each
        minute.
        """
        every_s = min(max(self.clock.whole_s / 8, 60), 420)
        return self.elapsed_s() - self._checked_s > every_s

    def is_report_due(self) -> bool:
        """Say whether the last line of losses is old."""
        return self.elapsed_s() - self._reported_s > REPORT_EVERY_S

    def report_losses(self, losses: dict[str, float]) -> None:
        """Report the mean losses since the last time, and the speed."""
        now_s = self.elapsed_s()
        examples = (self.step - self._reported_step) * self.options.batch
        per_s = examples / max(now_s - self._reported_s, 1e-6)
        self.report(losses | {"examples_per_s": per_s})
        self._reported_s, self._reported_step = now_s, self.step

    def report_check(self, figures: dict[str, float]) -> None:
        """Report what was measured; the time that it took counts for no speed."""
        self.report(figures)
        self._checked_s = self._reported_s = self.elapsed_s()
        self._reported_step = self.step

    def report(self, figures: dict[str, float]) -> None:
        """Keep the figures for the curve and print them on one line."""
        figures = {name: float(value) for name, value in figures.items()}  # numpy's would not load
        self.figures.append({"step": self.step, "minutes": self.elapsed_s() / 60, **figures})
        text = "  ".join(f"[bold]{key}[/] {value:.4g}" for key, value in figures.items())
        spent = f"{self.elapsed_s() / 60:5.1f}/{self.options.minutes:g} min"
        self._bar.console.print(
            f"{self.name} {spent}  step {self.step}  {text}", highlight=False, soft_wrap=True
        )

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
        write_figure(path, figure, "--out")
        pyplot.close(figure)
        return path

    def forget(self) -> None:
        """Remove what the training wrote, when its result is not kept."""
        self.checkpoint_path.unlink(missing_ok=True)
        if not any(self.options.out.iterdir()):
            self.options.out.rmdir()

    def split(self, weights: Path) -> None:
        """Cut weights and checkpoint into parts where the options ask for it."""
        for path in (weights, self.checkpoint_path):
            if self.options.split_mb and path.stat().st_size > self.options.split_mb * 1_000_000:
                split_file(path, self.options.split_mb)

    def metadata(self, **more: str) -> dict[str, str]:
        """Give the header of the exported weights: how and when they were trained."""
        trained = {
            "trained_with": command_of(self.name, self.options),
            "steps": str(self.step),
            "batch": str(self.options.batch),
        }
        created = datetime.now(UTC).isoformat(timespec="seconds")
        return {**trained, "commit": current_commit(), "created": created, **more}


def current_commit() -> str:
    """Give the checkout's short commit hash, or "unknown" outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"
