"""A video file: every frame by default, or at its own pace (`realtime`), once or in a loop."""

from __future__ import annotations  # PyAV's classes are generic for the type checker only

import gc
import time
from collections.abc import Iterator

import av.container
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamer.sources.base import Damaged, LeftOut, Picture, SourceOptions, Wait
from streamer.sources.decoding import MediaClock, Moment, read_pictures, video_stream
from streamer.sources.failures import capture_ffmpeg_log, typed_errors
from streamer.sources.local_file import open_local_file

_NOMINAL_FPS = 25.0


class VideoFileSource:
    """Pictures of a file, with the clock "file"."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options
        capture_ffmpeg_log()

    def pictures(self, wait: Wait) -> Iterator[Picture | Damaged | LeftOut]:
        pace: Pace | None = None
        clock: MediaClock | None = None
        while True:
            with self.open() as container:
                nominal_s = 1 / fps_of(video_stream(container, self.options))
                clock = clock or MediaClock(nominal_s)
                if self.options.realtime:
                    pace = pace or Pace(wait, nominal_s)
                yield from paced_pictures(container, self.options, wait, clock, pace)
            if not self.options.loop or wait(0):
                return
            gc.collect()  # PyAV's containers are circles; each round would keep its decoder

    def open(self) -> av.container.InputContainer:
        """Open the file; raises a SourceError."""
        with typed_errors(self.options.url, "open", self.options.open_timeout_s):
            return open_local_file(self.options.url, self.options.open_timeout_s)


class Pace:
    """Holds packets back until their time has come, as a camera would send them."""

    def __init__(self, wait: Wait, nominal_s: float) -> None:
        self._wait = wait
        self._start_ns = -1
        self._clock = MediaClock(nominal_s)

    def hold(self, packet: Packet[VideoStream]) -> None:
        """Sleep until the packet is due."""
        stamp = packet.dts if packet.dts is not None else packet.pts
        time_s = None if stamp is None else float(stamp * packet.time_base)
        due_s = self._clock.at(time_s)
        if self._start_ns < 0:
            self._start_ns = time.monotonic_ns()
        self._wait(max(0.0, due_s - (time.monotonic_ns() - self._start_ns) / 1e9))


def paced_pictures(
    container: av.container.InputContainer,
    options: SourceOptions,
    wait: Wait,
    clock: MediaClock,
    pace: Pace | None,
    clock_name: str = "file",
) -> Iterator[Picture | Damaged | LeftOut]:
    """Yield a recording's pictures until it ends or `wait` says stop.

    clock_name: what the pictures' times are ("arrival" for a live stream that comes in bursts).
    """

    def stamp(packet: Packet[VideoStream]) -> Moment:
        if pace is not None:
            pace.hold(packet)
        return Moment(time.monotonic_ns(), time.time_ns(), clock_name)

    def media_ns(frame: VideoFrame) -> int:
        return round(clock.at(frame.time) * 1e9)

    for picture in read_pictures(container, options, stamp, wait, media_ns):
        if wait(0):
            return
        yield picture


def fps_of(stream: VideoStream) -> float:
    """Return the stream's usual frame rate; 25 where it says none."""
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else _NOMINAL_FPS
