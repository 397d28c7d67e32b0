"""A camera in a thread, and a matcher's reader beside it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.types import Frame
from streamer.camera_process import CameraArgs, run_camera
from streamer.child import ChildContext, WorkerState
from streamer.ring_reader import RingReader
from streamer.sources.base import SourceOptions

DEADLINE_S = 30.0


class Context(ChildContext):
    """A real context without a parent, that keeps what was reported."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__("camera.door", run_dir)
        self.reports: list[tuple[WorkerState, str | None]] = []
        self.beats_s: list[float] = []

    def report(
        self, state: WorkerState, reason: str | None = None, **counters: int | float
    ) -> None:
        self.reports.append((state, reason))

    def beat(self) -> None:
        self.beats_s.append(time.monotonic())

    def state(self) -> WorkerState | None:
        """What was reported last."""
        return self.reports[-1][0] if self.reports else None

    def states(self) -> list[WorkerState]:
        """The states in order, repeats left out."""
        states = [state for state, _ in self.reports]
        return [s for n, s in enumerate(states) if n == 0 or states[n - 1] != s]


class Rig:
    """A camera in a thread and a matcher's reader beside it."""

    def __init__(self, run_dir: Path, **options: object) -> None:
        self.context = Context(run_dir)
        self.run_dir = run_dir
        self.reader = RingReader(run_dir, "door")
        self.error: BaseException | None = None
        source = SourceOptions(**options)  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self._run, args=(CameraArgs("door", source),))
        self._thread.start()

    def _run(self, args: CameraArgs) -> None:
        try:
            run_camera(self.context, args)
        except BaseException as error:
            self.error = error

    def next_frame(self, timeout_s: float = DEADLINE_S) -> Frame:
        """Take, check and give back the next frame; fails when none comes in time."""
        deadline_s = time.monotonic() + timeout_s
        while (frame := self.reader.take()) is None:
            assert time.monotonic() < deadline_s, f"no frame: {self.context.reports[-3:]}"
            assert self.error is None, self.error
            self.context.wait(0.001)
        self.reader.release(frame)
        return frame

    def wait_for(self, condition: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline_s, self.context.reports[-3:]
            self.context.wait(0.005)

    def work_until_end(self) -> list[int]:
        """Take every frame until the camera has ended; returns their numbers."""
        numbers = []
        deadline_s = time.monotonic() + DEADLINE_S
        while self._thread.is_alive():
            assert time.monotonic() < deadline_s
            frame = self.reader.take()
            if frame is None:
                self._thread.join(0.001)
                continue
            numbers.append(frame.number)
            self.reader.release(frame)
        return numbers

    def close(self) -> None:
        self.context.stop()
        self._thread.join(DEADLINE_S)
        self.reader.close()
        assert not self._thread.is_alive()
