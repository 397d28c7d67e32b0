"""What is in a stream: codec, size, rate, key frames, delay, colour tags, one picture."""

from __future__ import annotations  # PyAV's classes are generic for the type checker only

import contextlib
import dataclasses
import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av.container
from av.packet import Packet
from av.video.stream import VideoStream

from pipeline.errors import SourceError
from pipeline.types import ColorMatrix, ColorRange, Frame
from streamer.errors import CodecError, StalledError
from streamer.redaction import redact
from streamer.sources.base import (
    Damaged,
    LeftOut,
    Picture,
    Remark,
    SourceOptions,
    check_source,
    create_source,
)
from streamer.sources.decoding import CameraClock, Moment, read_pictures, video_stream
from streamer.sources.failures import capture_ffmpeg_log, source_name
from streamer.sources.frame_facts import PixelAspect
from streamer.sources.http_camera import DEFAULT_SNAPSHOT_FPS, HttpCamera, http_camera
from streamer.sources.http_client import StoppedError
from streamer.sources.named_secrets import with_secrets
from streamer.sources.network_stream import open_stream
from streamer.sources.rhythm import Rhythm
from streamer.sources.video_file import VideoFileSource, fps_of
from streamer.sources.webcam import open_webcam

_MATRIX_TAGS = {0: "rgb", 1: "bt709", 2: "", 5: "bt601", 6: "bt601", 9: "bt2020", 10: "bt2020"}
_RANGE_TAGS = {0: "", 1: "limited", 2: "full"}
_MOST_PICTURES = 600
_ENOUGH_KEY_FRAMES = 3


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a stream is like; None where it cannot be known.

    fps: as the stream says; measured_fps: by arrival where it is live, else from its timestamps.
    key_frame_interval_s: between key frames, median. delay_ms: from the camera's clock (RTCP) to a
    decoded picture, median; needs clocks that agree. open_ms, first_picture_ms: since the start.
    size_wh: as shown, upright, with square pixels; pixel_aspect: width by height of the stored
    ones. read_s: how long it was read. matrix_tag, range_tag: "" where the stream says nothing and
    matrix, range were chosen by rule. remark: what an operator should know. picture: upright, its
    own memory.
    """

    url: str
    kind: str
    container: str
    codec: str
    size_wh: tuple[int, int]
    pixel_aspect: str
    pixel_format: str
    fps: float | None
    measured_fps: float | None
    key_frame_interval_s: float | None
    duration_s: float | None
    clock: str
    delay_ms: float | None
    open_ms: float
    first_picture_ms: float
    matrix: ColorMatrix
    range: ColorRange
    matrix_tag: str
    range_tag: str
    pictures: int
    damaged: int
    read_s: float
    remark: str | None
    picture: Frame


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a stream says of itself; matrix, range: FFmpeg's numbers."""

    container: str
    codec: str = ""
    pixel_format: str = ""
    fps: float | None = None
    duration_s: float | None = None
    matrix: int = 2
    range: int = 0
    pixel_aspect: str = "1:1"
    remark: str | None = None


class _Seen:
    """What was noted while the stream was read, until the time is over."""

    def __init__(self, options: SourceOptions, seconds: float) -> None:
        self.began_s = time.monotonic()
        self.key_s: list[float] = []
        self.times_s: list[float] = []
        self.delays_ms: list[float] = []
        self.first_ms = 0.0
        self.first: Picture | None = None
        self.broke: str | None = None
        self.n_pictures = self.n_damaged = 0
        self.rhythm, self.clock = Rhythm(options), CameraClock()
        self.is_live = options.is_live
        self._until_s = self.began_s + seconds

    def wait(self, seconds: float) -> bool:
        """Sleep, but not beyond the time; returns whether it is over."""
        time.sleep(max(0.0, min(seconds, self._until_s - time.monotonic())))
        return time.monotonic() >= self._until_s

    def stamp(self, packet: Packet[VideoStream]) -> Moment:
        if packet.pts is not None:
            time_s = float(packet.pts * packet.time_base)
            self.times_s.append(time_s)
            if packet.is_keyframe:
                self.key_s.append(time_s)
        return self.clock.stamp(packet)

    def read(self, pictures: Iterator[Picture | Damaged | LeftOut | Remark]) -> None:
        """Note what comes, for the whole time (a recording: until there is enough).

        A stream that breaks after its first picture is reported with what it has given.
        """
        try:
            for each in pictures:
                self._note(each)
                n_keys = len(self.key_s)
                is_enough = self.n_pictures >= _MOST_PICTURES or n_keys > _ENOUGH_KEY_FRAMES
                if self.wait(0) or (is_enough and not self.is_live):
                    return
        except SourceError as error:
            if self.first is None:
                raise
            self.broke = str(error)

    def _note(self, picture: Picture | Damaged | LeftOut | Remark) -> None:
        if isinstance(picture, Damaged):
            self.n_damaged += 1
        elif isinstance(picture, Picture):
            if self.first is None:
                self.first_ms = (time.monotonic() - self.began_s) * 1e3
                self.first = _copy(picture)
            self.n_pictures += 1
            if picture.clock == "rtcp":
                self.delays_ms.append((time.time_ns() - picture.wall_ns) / 1e6)

    @property
    def measured_fps(self) -> float | None:
        return self.rhythm.measured_fps if self.is_live else _rate(self.times_s)


def probe(source: str | SourceOptions, seconds: float = 5.0) -> ProbeReport:
    """Open a source, read it for some seconds, and report what it is like.

    A recording is read until enough is known. Raises ConfigError for a source that cannot be named
    so, and the SourceErrors of opening and reading.
    """
    options = SourceOptions(url=source) if isinstance(source, str) else source
    options = with_secrets(options)
    check_source(options)
    capture_ffmpeg_log()
    seen = _Seen(options, seconds)
    if options.kind in ("folder", "test"):
        pictures = create_source(options).pictures(seen.wait)
        seen.read(itertools.islice(pictures, 1))  # one says it all
        return _report(options, seen, _Facts(options.kind, fps=options.fps or None), 0.0)
    if options.kind == "http":
        try:
            with http_camera(options, seen.rhythm, seen.wait) as camera:
                if camera is not None:
                    return _probe_camera(options, seen, camera)
        except StoppedError:
            return _report(options, seen, _Facts("http"), 0.0)  # raises: there is no picture
    return _probe_container(options, seen)


def _probe_container(options: SourceOptions, seen: _Seen) -> ProbeReport:
    with _open(options) as container:
        open_ms = (time.monotonic() - seen.began_s) * 1e3
        stream = video_stream(container, options)
        seen.is_live &= not container.duration  # a recording comes as fast as the network is
        reading = read_pictures(container, options, seen.stamp, seen.wait, rhythm=seen.rhythm)
        with contextlib.closing(reading) as pictures:
            seen.read(pictures)
        context, aspect = stream.codec_context, PixelAspect(container, stream).now()
        facts = _Facts(
            container.format.name,
            context.name,
            context.pix_fmt or "",
            fps_of(stream) if stream.average_rate or stream.guessed_rate else None,
            container.duration / 1e6 if container.duration else None,
            context.colorspace,
            context.color_range,
            f"{aspect.numerator}:{aspect.denominator}",
            seen.clock.remark,
        )
        return _report(options, seen, facts, open_ms)


def _probe_camera(options: SourceOptions, seen: _Seen, camera: HttpCamera) -> ProbeReport:
    open_ms = (time.monotonic() - seen.began_s) * 1e3
    seen.read(camera.pictures(seen.wait))
    facts = _Facts("mjpeg", camera.codec, camera.pixel_format)
    if camera.is_snapshot:
        fps = options.fps or DEFAULT_SNAPSHOT_FPS
        remark = f"one picture a request: asked {fps:g} times a second (fps)"
        facts = dataclasses.replace(facts, container="snapshot", remark=remark)
    return _report(options, seen, facts, open_ms)


def describe(report: ProbeReport) -> dict[str, object]:
    """Return the report as plain values (for JSON); without the picture."""
    values = {name: getattr(report, name) for name in report.__slots__ if name != "picture"}
    return {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in values.items()
    }


def report_lines(report: ProbeReport) -> list[str]:
    """Return the report as lines to read."""
    width, height = report.size_wh
    said_matrix = "" if report.matrix_tag else " (not said)"
    said_range = "" if report.range_tag else " (not said)"
    fps = "not said" if report.fps is None else f"{report.fps:g}"
    measured = "" if report.measured_fps is None else f", measured {report.measured_fps:.2f}"
    is_square = report.pixel_aspect == "1:1"
    stored = "" if is_square else f", stored with pixels {report.pixel_aspect}"
    every = report.key_frame_interval_s
    delay = report.delay_ms
    return [
        f"source      {report.url} ({report.kind}, {report.container})",
        f"codec       {report.codec or 'none'} {report.pixel_format}".rstrip(),
        f"size        {width}x{height}{stored}",
        f"fps         {fps}{measured}",
        f"key frames  {'fewer than two seen' if every is None else f'every {every:.2f} s'}",
        f"delay       {'no camera clock' if delay is None else f'{delay:.0f} ms by its clock'}",
        f"opened in   {report.open_ms:.0f} ms, "
        f"first picture after {report.first_picture_ms:.0f} ms",
        f"colour      {report.matrix}{said_matrix}, {report.range} range{said_range}",
        f"read        {report.pictures} pictures in {report.read_s:.1f} s, "
        f"{report.damaged} damaged",
        *([] if report.remark is None else [f"note        {report.remark}"]),
    ]


def save_picture(report: ProbeReport, path: Path) -> None:
    """Write the report's picture as an image file; raises ConfigError when it cannot be."""
    from pipeline.color import frame_bgr
    from pipeline.picture_file import write_picture

    write_picture(path, frame_bgr(report.picture), "--picture")


def _open(options: SourceOptions) -> av.container.InputContainer:
    if options.kind == "webcam":
        return open_webcam(options)
    if options.kind == "file":
        return VideoFileSource(options).open()
    return open_stream(options)


def _report(options: SourceOptions, seen: _Seen, facts: _Facts, open_ms: float) -> ProbeReport:
    read_s = time.monotonic() - seen.began_s
    if seen.first is None and seen.n_damaged:
        raise CodecError.at(source_name(options.url), "expected data that can be decoded", 0)
    if seen.first is None:
        raise StalledError.at(
            source_name(options.url), f"no picture within {read_s:.1f} s",
            remedy="a slow camera? read longer: --seconds 60",
        )  # fmt: skip
    return ProbeReport(
        url=redact(options.url),
        kind=options.kind,
        container=facts.container,
        codec=facts.codec,
        size_wh=seen.first.size_wh,
        pixel_aspect=facts.pixel_aspect,
        pixel_format=facts.pixel_format,
        fps=facts.fps,
        measured_fps=seen.measured_fps,
        key_frame_interval_s=_median_step(seen.key_s),
        duration_s=facts.duration_s,
        clock="rtcp" if seen.delays_ms else "arrival" if options.is_live else "file",
        delay_ms=statistics.median(seen.delays_ms) if seen.delays_ms else None,
        open_ms=open_ms,
        first_picture_ms=seen.first_ms,
        matrix=seen.first.matrix,
        range=seen.first.range,
        matrix_tag=_MATRIX_TAGS.get(facts.matrix, f"other ({facts.matrix})"),
        range_tag=_RANGE_TAGS.get(facts.range, ""),
        pictures=seen.n_pictures,
        damaged=seen.n_damaged,
        read_s=read_s,
        remark=seen.broke or facts.remark,
        picture=_frame(seen.first),
    )


def _copy(picture: Picture) -> Picture:
    return Picture(
        picture.y.copy(), picture.u.copy(), picture.v.copy(), picture.matrix, picture.range,
        picture.captured_ns, picture.wall_ns, picture.clock, picture.media_ns, picture.decode_ms,
    )  # fmt: skip


def _frame(picture: Picture) -> Frame:
    return Frame(
        camera="probe", number=0, captured_ns=picture.captured_ns, wall_ns=picture.wall_ns,
        y=picture.y, u=picture.u, v=picture.v, matrix=picture.matrix, range=picture.range,
        clock=picture.clock, decode_ms=picture.decode_ms, media_ns=picture.media_ns,
    )  # fmt: skip


def _rate(times_s: list[float]) -> float | None:
    """Return pictures a second over all timestamps."""
    span_s = max(times_s) - min(times_s) if times_s else 0.0
    return (len(times_s) - 1) / span_s if span_s > 0 else None


def _median_step(times_s: list[float]) -> float | None:
    steps = [later - earlier for earlier, later in itertools.pairwise(times_s)]
    return statistics.median(steps) if steps else None
