"""What all streams that FFmpeg reads have in common: packets in, pictures with their times out."""

from __future__ import annotations  # PyAV's classes are generic for the type checker only

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import av
import av.container
import av.error
import numpy as np
from av.codec.context import CodecContext
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streamer.errors import CodecError, StalledError
from streamer.sources.base import Damaged, LeftOut, Picture, SourceOptions, Wait
from streamer.sources.failures import source_name, typed_errors
from streamer.sources.frame_facts import PixelAspect
from streamer.sources.left_out import LeftOutPictures
from streamer.sources.planes import PlaneMaker
from streamer.sources.rhythm import Rhythm

GIVE_UP_AFTER_DAMAGED = 500  # packets in a row without one picture
_STRICT = {"err_detect": "explode"}  # else FFmpeg fills what a broken JPEG lacks with grey
_SKIP_FRAME: dict[str, Literal["NONREF", "NONKEY"]] = {"nonref": "NONREF", "nonkey": "NONKEY"}
_LARGEST_STEP_S = 60.0
_YEAR_2000_US = 946_684_800_000_000
_LARGEST_CLOCK_ERROR_S = 10.0


class Moment(NamedTuple):
    """When an access unit left the demuxer."""

    captured_ns: int
    wall_ns: int
    clock: str


Stamp: TypeAlias = "Callable[[Packet[VideoStream]], Moment]"


@dataclass(slots=True)
class MediaClock:
    """A file's time from its start, always going on, whatever the timestamps do.

    A step back (also the file's next round), none at all or one above a minute counts as one
    frame's usual time.
    """

    nominal_s: float
    _last_s: float | None = None
    _now_s: float = 0.0

    def at(self, time_s: float | None) -> float:
        """Return the seconds since the first picture for the next one, stamped `time_s`."""
        if self._last_s is None:
            self._last_s = time_s or 0.0
            return self._now_s
        step_s = self.nominal_s if time_s is None else time_s - self._last_s
        self._now_s += step_s if 0 < step_s <= _LARGEST_STEP_S else self.nominal_s
        self._last_s = self._last_s + self.nominal_s if time_s is None else time_s
        return self._now_s


def arrival(_: object) -> Moment:
    """Stamp with the clock of this machine."""
    return Moment(time.monotonic_ns(), time.time_ns(), "arrival")


class CameraClock:
    """Stamps with the camera's clock where RTCP gives it and it can be right, else by arrival.

    A clock that is further from this machine's than a stream can be late is wrong, or has just been
    set: an event's `left` would lie an hour after its `appeared`. remark: what is to be said of it.
    """

    def __init__(self) -> None:
        self.remark: str | None = None

    def stamp(self, packet: Packet[VideoStream]) -> Moment:
        """Return when the packet's picture was captured.

        FFmpeg hangs the sender report's time on each packet as producer reference time: int64 µs
        of Unix time, then flags.
        """
        moment = arrival(packet)
        if not packet.has_sidedata("prft"):
            return moment
        wall_us = int(np.frombuffer(bytes(packet.get_sidedata("prft")), np.int64, 1)[0])
        if wall_us < _YEAR_2000_US:  # the camera does not know what time it is
            return moment
        ahead_s = wall_us / 1e6 - moment.wall_ns / 1e9
        # a machine that starts without a clock of its own believes the camera
        if abs(ahead_s) <= _LARGEST_CLOCK_ERROR_S or moment.wall_ns / 1e3 < _YEAR_2000_US:
            self.remark = None
            return Moment(moment.captured_ns, wall_us * 1000, "rtcp")
        if self.remark is None:
            side = "ahead" if ahead_s > 0 else "behind"
            self.remark = f"its clock is {abs(ahead_s):.0f} s {side}: times of arrival are used"
        return moment


def video_stream(container: av.container.InputContainer, options: SourceOptions) -> VideoStream:
    """Return the container's video, set up: one thread or slices, never frame threads.

    Raises CodecError when there is none or nothing here decodes it.
    """
    where = source_name(options.url)
    # a sound file's cover is no video, nor is a tile of a HEIC
    parts = Disposition.attached_pic | Disposition.dependent
    pictures = [stream for stream in container.streams.video if not stream.disposition & parts]
    if not pictures:
        raise CodecError.at(where, "expected a video stream", "none")
    stream = pictures[0]
    # a stream that no decoder is there for has no codec context, whatever the stubs say
    if getattr(stream, "codec_context", None) is None:
        raise CodecError.at(where, "no decoder for its codec")
    stream.thread_type = "SLICE"
    stream.thread_count = options.decoder_threads
    stream.codec_context.copy_opaque = True
    if options.skip_frame != "none":
        stream.codec_context.skip_frame = _SKIP_FRAME[options.skip_frame]
    if stream.codec_context.name == "mjpeg":
        stream.codec_context.options = _STRICT
    return stream


def jpeg_decoder() -> VideoCodecContext:
    """Return a decoder of single JPEG pictures; one that breaks off raises InvalidDataError."""
    decoder: VideoCodecContext = CodecContext.create("mjpeg", "r")
    decoder.options = _STRICT
    return decoder


def read_pictures(
    container: av.container.InputContainer,
    options: SourceOptions,
    stamp: Stamp,
    wait: Wait,
    media: Callable[[VideoFrame], int] = lambda _: -1,
    rhythm: Rhythm | None = None,
) -> Generator[Picture | Damaged | LeftOut, None, None]:
    """Yield the pictures of a container until it ends, or `wait` says stop in a silence.

    stamp: gives an access unit its moment, and may wait for it. media: gives a frame its time in
    the file, ns. rhythm: what is known of the stream's rate. Raises StalledError, CodecError,
    EndedError and kin.
    """
    stream = video_stream(container, options)
    maker = PlaneMaker(PixelAspect(container, stream).now)
    damaged_in_a_row, n_pictures = 0, 0
    left_out = LeftOutPictures() if options.skip_frame != "none" else None
    packets_of = _video_packets(container, stream, options, rhythm or Rhythm(options), wait)
    with closing(packets_of) as packets:
        for packet in packets:
            packet.opaque = stamp(packet) if packet.size else None
            if left_out is not None and packet.size:
                yield from _told(left_out.sent(packet.opaque, packet.pts))
            began_ns = time.monotonic_ns()
            try:
                frames = packet.decode()
            except av.error.EOFError:
                frames = []
            except av.error.FFmpegError as error:  # each decoder has its own for what it dislikes
                damaged_in_a_row += 1
                if damaged_in_a_row > GIVE_UP_AFTER_DAMAGED:
                    raise _undecodable(options, error) from None
                yield Damaged(error.strerror or "invalid data")
                if left_out is not None:
                    left_out.failed(packet.opaque)
                continue
            for frame in frames:
                if left_out is not None:
                    yield from _told(left_out.came_out(frame.opaque))
                if frame.is_corrupt:
                    yield Damaged("decoded with errors")
                    continue
                damaged_in_a_row, n_pictures = 0, n_pictures + 1
                moment = frame.opaque if isinstance(frame.opaque, Moment) else arrival(frame)
                yield picture_of(frame, maker, began_ns, moment, media(frame))
                began_ns = time.monotonic_ns()
    if left_out is not None:
        yield from _told(left_out.rest())
    if not n_pictures and (damaged_in_a_row or options.kind == "file"):
        raise _undecodable(options, None)


def _told(n_left_out: int) -> Iterator[LeftOut]:
    if n_left_out:
        yield LeftOut(n_left_out)


def _video_packets(
    container: av.container.InputContainer,
    stream: VideoStream,
    options: SourceOptions,
    rhythm: Rhythm,
    wait: Wait,
) -> Generator[Packet[VideoStream], None, None]:
    """Yield the video's packets; sound that goes on does not hide that the picture stalled."""
    demuxed = container.demux()
    asked_s = time.monotonic()  # for a picture; how long the last one took to work on is no silence
    rhythm.begin()
    while True:
        began_s, limit_s, is_silent = time.monotonic(), rhythm.limit_s, False
        packet = None
        try:
            with typed_errors(options.url, "read", options.read_turn_s):
                packet = next(demuxed, None)
        except StalledError:
            if not options.is_read_in_turns:
                raise
            is_silent = True
        now_s = time.monotonic()
        # a read that ran into its deadline may still hand out what was left in the parser
        if options.is_live and now_s - asked_s > limit_s * 0.99:
            raise StalledError.at(source_name(options.url), f"no picture data for {limit_s:g} s")
        if is_silent:
            if wait(0):
                return
            demuxed = container.demux()
        elif packet is None:
            return
        elif packet.stream.index == stream.index:
            rhythm.note(now_s, now_s - began_s)
            yield packet  # type: ignore[misc]
            asked_s = time.monotonic()


def picture_of(
    frame: VideoFrame, maker: PlaneMaker, began_ns: int, moment: Moment, media_ns: int = -1
) -> Picture:
    """Return a decoded frame as a picture; decoding it began at `began_ns` (monotonic)."""
    (y, u, v), matrix, color_range = maker.planes(frame)
    return Picture(
        y, u, v, matrix, color_range,
        captured_ns=moment.captured_ns,
        wall_ns=moment.wall_ns,
        clock=moment.clock,
        media_ns=media_ns,
        decode_ms=(time.monotonic_ns() - began_ns) / 1e6,
    )  # fmt: skip


def _undecodable(options: SourceOptions, error: av.error.FFmpegError | None) -> Exception:
    why = "not one picture" if error is None else error.strerror
    return CodecError.at(source_name(options.url), "expected data that can be decoded", why)
