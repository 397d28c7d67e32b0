"""What is in a stream: codec, size, rate, key frames, delay, colour tags, one picture."""

from __future__ import annotations  # PyAV's classes are generic for the type checker only

import contextlib
import itertools
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import av.container
from av.packet import Packet
from av.video.stream import VideoStream

from pipeline.errors import ConfigError
from pipeline.types import ColorMatrix, ColorRange, Frame
from streamer.errors import CodecError, redact
from streamer.sources.base import Damaged, Picture, SourceOptions, check_source, create_source
from streamer.sources.decoding import Moment, read_pictures, rtcp_or_arrival, video_stream
from streamer.sources.failures import capture_ffmpeg_log, source_name
from streamer.sources.network_stream import open_stream
from streamer.sources.video_file import VideoFileSource, fps_of
from streamer.sources.webcam import open_webcam

_MATRIX_TAGS = {0: "rgb", 1: "bt709", 2: "", 5: "bt601", 6: "bt601", 9: "bt2020", 10: "bt2020"}
_RANGE_TAGS = {0: "", 1: "limited", 2: "full"}
_MOST_PICTURES = 600
_ENOUGH_KEY_FRAMES = 3


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a stream is like; None where it cannot be known.

    fps: as the stream says; measured_fps: from its timestamps. key_frame_interval_s: between key
    frames, median. delay_ms: from the camera's clock (RTCP) to a decoded picture, median; needs
    clocks that agree. open_ms, first_picture_ms: since the start. matrix_tag, range_tag: "" where
    the stream says nothing and matrix, range were chosen by rule. picture: upright, its own memory.
    """

    url: str
    kind: str
    container: str
    codec: str
    size_wh: tuple[int, int]
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
    picture: Frame


@dataclass(slots=True)
class _Seen:
    """What was noted while the stream was read."""

    key_s: list[float] = field(default_factory=list)
    times_s: list[float] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)
    first_ms: float = 0.0
    first: Picture | None = None
    n_pictures: int = 0
    n_damaged: int = 0

    def packet(self, packet: Packet[VideoStream]) -> Moment:
        if packet.pts is not None:
            time_s = float(packet.pts * packet.time_base)
            self.times_s.append(time_s)
            if packet.is_keyframe:
                self.key_s.append(time_s)
        return rtcp_or_arrival(packet)

    def picture(self, picture: Picture | Damaged, began_s: float) -> None:
        if isinstance(picture, Damaged):
            self.n_damaged += 1
            return
        if self.first is None:
            self.first_ms = (time.monotonic() - began_s) * 1e3
            self.first = _copy(picture)
        self.n_pictures += 1
        if picture.clock == "rtcp":
            self.delays_ms.append((time.time_ns() - picture.wall_ns) / 1e6)

    def is_enough(self) -> bool:
        return self.n_pictures >= _MOST_PICTURES or len(self.key_s) > _ENOUGH_KEY_FRAMES


def probe(source: str | SourceOptions, seconds: float = 5.0) -> ProbeReport:
    """Open a source, read it for some seconds at most, and report what it is like.

    Raises ConfigError for a source that cannot be named so, and the SourceErrors of opening and
    reading.
    """
    options = SourceOptions(url=source) if isinstance(source, str) else source
    check_source(options)
    capture_ffmpeg_log()
    if options.kind in ("folder", "test"):
        return _probe_pictures(options)
    began_s, seen = time.monotonic(), _Seen()
    with _open(options) as container:
        open_ms = (time.monotonic() - began_s) * 1e3
        stream = video_stream(container, options)
        with contextlib.closing(read_pictures(container, options, seen.packet)) as pictures:
            for picture in pictures:
                seen.picture(picture, began_s)
                if seen.is_enough() or time.monotonic() - began_s > seconds:
                    break
        return _report(options, container, stream, seen, open_ms)


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
    every = report.key_frame_interval_s
    delay = report.delay_ms
    return [
        f"source      {report.url} ({report.kind}, {report.container})",
        f"codec       {report.codec or 'none'} {report.pixel_format}".rstrip(),
        f"size        {width}x{height}",
        f"fps         {fps}{measured}",
        f"key frames  {'fewer than two seen' if every is None else f'every {every:.2f} s'}",
        f"delay       {'no camera clock' if delay is None else f'{delay:.0f} ms by its clock'}",
        f"opened in   {report.open_ms:.0f} ms, "
        f"first picture after {report.first_picture_ms:.0f} ms",
        f"colour      {report.matrix}{said_matrix}, {report.range} range{said_range}",
        f"read        {report.pictures} pictures, {report.damaged} damaged",
    ]


def save_picture(report: ProbeReport, path: Path) -> None:
    """Write the report's picture as an image file; raises ConfigError when it cannot be."""
    import cv2

    from pipeline.color import frame_bgr

    try:
        is_written = cv2.imwrite(str(path), frame_bgr(report.picture))
    except cv2.error:
        is_written = False
    if not is_written:
        raise ConfigError.at(
            "--picture", "expected a file that can be written, .png or .jpg", str(path)
        )


def _open(options: SourceOptions) -> av.container.InputContainer:
    if options.kind == "webcam":
        return open_webcam(options)
    if options.kind == "file":
        return VideoFileSource(options).open()
    return open_stream(options)


def _report(
    options: SourceOptions,
    container: av.container.InputContainer,
    stream: VideoStream,
    seen: _Seen,
    open_ms: float,
) -> ProbeReport:
    if seen.first is None:
        raise CodecError.at(source_name(options.url), "expected data that can be decoded", 0)
    context = stream.codec_context
    return ProbeReport(
        url=redact(options.url),
        kind=options.kind,
        container=container.format.name,
        codec=context.name,
        size_wh=seen.first.size_wh,
        pixel_format=context.pix_fmt or "",
        fps=fps_of(stream) if stream.average_rate or stream.guessed_rate else None,
        measured_fps=_rate(seen.times_s),
        key_frame_interval_s=_median_step(seen.key_s),
        duration_s=container.duration / 1e6 if container.duration else None,
        clock="rtcp" if seen.delays_ms else "file" if options.kind == "file" else "arrival",
        delay_ms=statistics.median(seen.delays_ms) if seen.delays_ms else None,
        open_ms=open_ms,
        first_picture_ms=seen.first_ms,
        matrix=seen.first.matrix,
        range=seen.first.range,
        matrix_tag=_MATRIX_TAGS.get(context.colorspace, f"other ({context.colorspace})"),
        range_tag=_RANGE_TAGS.get(context.color_range, ""),
        pictures=seen.n_pictures,
        damaged=seen.n_damaged,
        picture=_frame(seen.first),
    )


def _probe_pictures(options: SourceOptions) -> ProbeReport:
    """Report on a source without a container: one picture says it all."""
    began_s, seen = time.monotonic(), _Seen()
    for picture in _until_stopped(options):
        seen.picture(picture, began_s)
        if seen.first is not None:
            break
    if seen.first is None:
        raise CodecError.at(source_name(options.url), "expected data that can be decoded", 0)
    return ProbeReport(
        url=redact(options.url), kind=options.kind, container=options.kind, codec="",
        size_wh=seen.first.size_wh, pixel_format="", fps=options.fps or None, measured_fps=None,
        key_frame_interval_s=None, duration_s=None, clock=seen.first.clock, delay_ms=None,
        open_ms=0.0, first_picture_ms=seen.first_ms, matrix=seen.first.matrix,
        range=seen.first.range, matrix_tag="", range_tag="", pictures=seen.n_pictures,
        damaged=seen.n_damaged, picture=_frame(seen.first),
    )  # fmt: skip


def _until_stopped(options: SourceOptions) -> Iterator[Picture | Damaged]:
    return create_source(options).pictures(lambda _: False)


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
