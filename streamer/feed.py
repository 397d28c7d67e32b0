"""A camera as its matcher sees it: where its frames come from, and how they come."""

import time
import zlib
from collections import deque
from dataclasses import replace
from pathlib import Path
from statistics import median

from pipeline.types import Frame
from streamer.answers_in_order import AnswersInOrder
from streamer.frame_counters import Skip
from streamer.main_stream import MainStream
from streamer.matcher_args import CameraFeed, ended_mark
from streamer.pacer import Pacer
from streamer.ring_reader import RingReader

GAPS_KEPT, LEAST_GAPS = 8, 3  # between a camera's frames; the first ones may come in one go
SLOWEST_GAP_NS = 65e9 / 3


class FrameGaps:
    """How far apart a camera's frames come, and when it has been silent for too long."""

    def __init__(self, now_ns: int) -> None:
        self._last_ns = now_ns
        self._gaps_ns: deque[int] | None = None  # none before the first frame

    def note(self, now_ns: int) -> None:
        """A frame was taken."""
        if self._gaps_ns is None:
            self._gaps_ns = deque(maxlen=GAPS_KEPT)
        else:
            self._gaps_ns.append(now_ns - self._last_ns)
        self._last_ns = now_ns

    def is_silent(self, now_ns: int, allowed_ns: float) -> bool:
        """Whether no frame came for `allowed_ns`, or for three times the usual gap if longer.

        A slow camera, or a slow matcher, is not a lost camera; nor is one of a picture a minute
        whose gap is not known yet.
        """
        gaps_ns = self._gaps_ns or ()
        usual_ns = median(gaps_ns) if len(gaps_ns) >= LEAST_GAPS else SLOWEST_GAP_NS
        return now_ns - self._last_ns >= max(allowed_ns, 3 * usual_ns)


def _own_share(camera: str) -> float:
    """0.7..1, its own of each camera: those that begin together are not searched together again."""
    return 1.0 - 0.3 * (zlib.crc32(camera.encode()) % 101) / 100


class Feed:
    """One camera's frames.

    pacer: says which are searched. look_again_s: the longest without a search where nothing moves;
    0: all that are due are searched. incarnation: of the camera process that gave the last one.
    is_held_back: they wait for answers that are due, or a recording's main stream is not as far.
    is_drained: the last one is done. in_order: the answers about a recording.
    """

    def __init__(self, run_dir: Path, feed: CameraFeed) -> None:
        self.name = feed.name
        self.life = feed.life
        self.reader = RingReader(run_dir, feed.name)
        self.pacer = Pacer(feed.detect_fps)
        self.look_again_s = feed.look_again_s * _own_share(feed.name) if feed.motion_gate else 0.0
        self.ended_mark = ended_mark(run_dir, feed.name)
        self.incarnation: int | None = None
        self.is_drained = False
        self.is_held_back = False
        self.gaps = FrameGaps(time.monotonic_ns())
        self.in_order = AnswersInOrder()
        self._main = MainStream(run_dir, feed.name) if feed.has_main else None
        self._waiting: Frame | None = None  # for its picture of the main stream

    def take(self) -> Frame | None:
        """Return the next frame, or None when there is none or it is held back."""
        frame = self.reader.take() if self._waiting is None else self._waiting
        self._waiting = None
        if frame is None or self._main is None:
            return frame
        is_as_far = self._main.follow(frame)
        if is_as_far or not self.reader.is_lossless:
            return frame
        self._waiting, self.is_held_back = frame, True
        return None

    def with_sharper(self, frame: Frame) -> Frame:
        """Return a frame that may be searched, with its picture of the main stream if any."""
        return frame if self._main is None else replace(frame, sharper=self._main.picture_of(frame))

    def release(self, frame: Frame, failed: bool, still: bool) -> None:
        """Give a frame back, and count it. still: nothing moved in it, and it was not searched."""
        if self._main is not None and frame.sharper is not None:
            self._main.note_use(frame.sharper)
        self.reader.release(frame, failed, Skip.STILL if still else None)

    def end(self) -> None:
        """The last frame is done."""
        self.is_drained = True
        if self._main is not None:
            self._main.close()

    def close(self) -> None:
        """Let go of the rings. Twice is fine."""
        if self._main is not None:
            self._main.close()
        self.reader.close()
