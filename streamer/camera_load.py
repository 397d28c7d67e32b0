"""What each camera costs its matcher: the share of the time that both lanes work for it."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

SHORTEST_S = 1.0  # a load over less says more about a start than about a camera


@dataclass(frozen=True, slots=True)
class Load:
    """A camera's work and the time in which it came up; two of one camera add up."""

    busy_s: float
    seconds: float

    @property
    def share(self) -> float:
        """The load: 0.25 is a quarter of one lane's time; both lanes together have 2."""
        return self.busy_s / self.seconds

    def __add__(self, other: "Load") -> "Load":
        return Load(self.busy_s + other.busy_s, self.seconds + other.seconds)


class LoadMeter:
    """Measures the loads of one matcher's cameras; both lanes' threads may call.

    A camera's time counts from its first frame to now, or to the end of its source.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._busy_s: dict[str, float] = {}
        self._first_s: dict[str, float] = {}
        self._ended_s: dict[str, float] = {}

    @contextmanager
    def working_on(self, cameras: Sequence[str]) -> Iterator[None]:
        """Count the time in this context as work for these cameras, in equal parts.

        cameras: one a frame, or a look; one that is named twice has two parts.
        """
        began_s = self._clock()
        try:
            yield
        finally:
            part_s = (self._clock() - began_s) / max(1, len(cameras))
            with self._lock:
                for camera in cameras:
                    self._first_s.setdefault(camera, began_s)
                    self._busy_s[camera] = self._busy_s.get(camera, 0.0) + part_s

    def end(self, camera: str) -> None:
        """A camera's source came to its end: its time stands still."""
        with self._lock:
            self._ended_s.setdefault(camera, self._clock())

    def forget(self, camera: str) -> None:
        """A camera is gone: one that comes under its name is measured anew."""
        with self._lock:
            for known in (self._busy_s, self._first_s, self._ended_s):
                known.pop(camera, None)

    def loads(self) -> dict[str, Load]:
        """Return the loads by camera, without those of less than a second."""
        with self._lock:
            now_s = self._clock()
            found = {
                camera: Load(busy_s, self._ended_s.get(camera, now_s) - self._first_s[camera])
                for camera, busy_s in self._busy_s.items()
            }
        return {camera: load for camera, load in found.items() if load.seconds >= SHORTEST_S}
