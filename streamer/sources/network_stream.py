"""RTSP and HTTP(S): cameras, HLS, MJPEG, and recordings behind a URL."""

from collections.abc import Iterator

import av
import av.container

from streamer.errors import EndedError
from streamer.sources.base import Damaged, LeftOut, Picture, Remark, SourceOptions, Wait
from streamer.sources.decoding import CameraClock, MediaClock, read_pictures, video_stream
from streamer.sources.failures import capture_ffmpeg_log, source_name, typed_errors
from streamer.sources.http_camera import http_camera
from streamer.sources.http_client import StoppedError
from streamer.sources.rhythm import Rhythm
from streamer.sources.video_file import Pace, fps_of, paced_pictures

_PROBE_BYTES = 1_000_000
_PROBE_US = 1_000_000
_REORDER_US = 200_000  # how long RTP over udp waits for a packet that comes late


class NetworkStreamSource:
    """Pictures of a stream; the newest is what counts.

    HLS comes in bursts, and a recording as fast as the network is: both are played at their own
    pace. A recording (its length is known) ends by itself; a stream without an end that ends raises
    EndedError. What is learnt of its rate outlives a connection.
    """

    def __init__(self, options: SourceOptions) -> None:
        self.options = options
        self._rhythm = Rhythm(options)
        capture_ffmpeg_log()

    def pictures(self, wait: Wait) -> Iterator[Picture | Damaged | LeftOut | Remark]:
        if self.options.kind != "http":
            yield from self._by_ffmpeg(wait)
            return
        try:
            with http_camera(self.options, self._rhythm, wait) as camera:
                if camera is not None:
                    yield from camera.pictures(wait)
                    return
        except StoppedError:
            return
        yield from self._by_ffmpeg(wait)

    def _by_ffmpeg(self, wait: Wait) -> Iterator[Picture | Damaged | LeftOut | Remark]:
        options = self.options
        with open_stream(options) as container:
            is_recording = options.kind == "http" and bool(container.duration)
            if is_recording or container.format.name.startswith("hls"):
                nominal_s = 1 / fps_of(video_stream(container, options))
                clock, pace = MediaClock(nominal_s), Pace(wait, nominal_s)
                clock_name = "file" if is_recording else "arrival"
                yield from paced_pictures(container, options, wait, clock, pace, clock_name)
                if is_recording or wait(0):
                    return
            else:
                camera, said = CameraClock(), None
                for each in read_pictures(
                    container, options, camera.stamp, wait, rhythm=self._rhythm
                ):
                    if wait(0):
                        return
                    if camera.remark != said:
                        said = camera.remark
                        yield Remark(said)
                    yield each
        if not wait(0):
            raise EndedError.at(source_name(options.url), "the server ended the stream")


def open_stream(options: SourceOptions) -> av.container.InputContainer:
    """Open a stream with deadlines and low-latency options; raises a SourceError."""
    with typed_errors(options.url, "open", options.open_timeout_s, options.transport):
        return av.open(
            options.url,
            "r",
            options=_ffmpeg_options(options),
            timeout=(options.open_timeout_s, options.read_turn_s),
        )


def _ffmpeg_options(options: SourceOptions) -> dict[str, str]:
    """Return FFmpeg's options: little probing, no reordering beyond what udp needs.

    `fflags nobuffer` is left out on purpose: it throws away the packets read while probing, and
    with them the first key frame; kept, they are decoded at once. The deadlines are PyAV's.
    """
    low_latency = {
        "flags": "low_delay",
        "probesize": str(_PROBE_BYTES),
        "analyzeduration": str(_PROBE_US),
    }
    if options.kind == "rtsp":
        return low_latency | {
            "rtsp_transport": options.transport,
            "allowed_media_types": "video",
            "max_delay": str(_REORDER_US),
            "fpsprobesize": "0",  # else a second goes by while it counts frames
        }
    return {}
