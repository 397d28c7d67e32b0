"""What every source is: options in, pictures out, or a typed error.

A source runs or raises; it never retries (camera_process.py does). Light: reading a
configuration imports this and neither av nor numpy's users.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from pipeline.errors import ConfigError
from pipeline.folders import entries_of
from pipeline.options import Options
from pipeline.types import U8, ColorMatrix, ColorRange
from streamer.redaction import redact, remember_secrets
from streamer.secret_places import source_user_info

Wait = Callable[[float], bool]
"""Sleeps so many seconds; returns True at once when asked to stop."""

# what is tried as a picture; which format it has, its content tells
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .ppm .pgm .avif .mpo .heic .heif".split()
)
_HLS_SILENCE_S = 15.0  # two segments and a half of the usual 6 s
_LONGEST_TURN_S = 2.5
_EXPECTED = "rtsp://, rtsps://, http(s)://, a device number, a file, a folder or test:"
_ENCODED = "write @ # / ? % and blanks in user and password percent-encoded, e.g. %40 for @"
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:(?=//)")
_STREAM_SCHEMES = frozenset(("rtsp", "rtsps", "http", "https"))

SourceKind = Literal["rtsp", "http", "webcam", "file", "folder", "test"]


class SourceOptions(Options):
    """One camera's stream."""

    url: str = Field(
        description="rtsp(s):// or http(s):// URL, device number or path, file, folder, test:"
    )
    transport: Literal["tcp", "udp"] = Field("tcp", description="how RTSP carries the pictures")
    realtime: bool = Field(
        False, description="files and folders at their own pace; frames that come late are dropped"
    )
    loop: bool = Field(False, description="files and folders start again at their end")
    max_fps: float = Field(
        0, ge=0, le=1000, description="frames above this rate are skipped; 0: none"
    )
    open_timeout_s: float = Field(4.0, gt=0, le=60)
    read_timeout_s: float = Field(
        2.5,
        gt=0,
        le=600,
        description="least silence that counts as a stalled stream; three pictures' time if longer",
    )
    frozen_after_s: float = Field(
        10.0, ge=0, description="a live picture that stays identical so long is frozen; 0: never"
    )
    width: int = Field(0, ge=0, le=16384, description="asked of a webcam; 0: its default")
    height: int = Field(0, ge=0, le=16384, description="asked of a webcam; 0: its default")
    fps: float = Field(
        0,
        ge=0,
        le=1000,
        description="asked of a webcam; pace of a folder (default 25) and of a URL that gives one "
        "picture a request (default 1); what a slow stream gives (default: measured)",
    )
    decoder_threads: int = Field(1, ge=1, le=64, description="threads that share one picture")

    skip_frame: Literal["none", "nonref", "nonkey"] = Field(
        "none",
        description="what the decoder leaves out: nothing, pictures that no other one needs, all "
        "but key frames",
    )

    @field_validator("url")
    @classmethod
    def _with_plain_scheme(cls, url: str) -> str:
        return with_plain_scheme(url)

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
        remember_secrets(self.url)  # a worker's options are unpickled, not validated

    @property
    def kind(self) -> SourceKind:
        """What the url names; raises ConfigError when it names nothing."""
        return source_kind(self.url)

    @property
    def is_live(self) -> bool:
        """Whether the newest picture wins (else every picture is delivered)."""
        if self.kind == "test":
            return "paced=0" not in self.url
        return self.kind in ("rtsp", "http", "webcam") or self.realtime

    @property
    def silence_s(self) -> float:
        """Least silence after which the stream counts as stalled (rhythm.py says when it is more).

        HLS is silent between two segments by its nature, and gets more.
        """
        is_hls = self.kind == "http" and urlsplit(self.url).path.endswith(".m3u8")
        return max(_HLS_SILENCE_S, self.read_timeout_s) if is_hls else self.read_timeout_s

    @property
    def told_gap_s(self) -> float:
        """How far apart a live stream's pictures come, as `fps` says; 0: not said."""
        return 1 / self.fps if self.fps and self.is_live else 0.0

    @property
    def is_read_in_turns(self) -> bool:
        """Whether reading can go on after a time-out; what FFmpeg reads over HTTP cannot."""
        return self.kind in ("rtsp", "webcam")

    @property
    def read_turn_s(self) -> float:
        """The longest that one read by FFmpeg may block."""
        if self.is_read_in_turns:
            return min(_LONGEST_TURN_S, self.read_timeout_s)
        return self.silence_s

    @property
    def longest_call_s(self) -> float:
        """The longest time that one call into the stream may block (opening has two)."""
        return max(2 * self.open_timeout_s, self.read_turn_s)


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded picture: 8-bit 4:2:0 planes, upright, valid until the next one is asked for.

    y: (H, W) uint8. u, v: ((H+1)//2, (W+1)//2) uint8. Times as in pipeline.types.Frame.
    """

    y: U8
    u: U8
    v: U8
    matrix: ColorMatrix
    range: ColorRange
    captured_ns: int
    wall_ns: int
    clock: str = "arrival"
    media_ns: int = -1
    decode_ms: float = 0.0

    @property
    def size_wh(self) -> tuple[int, int]:
        return int(self.y.shape[1]), int(self.y.shape[0])


@dataclass(frozen=True, slots=True)
class Damaged:
    """Something in the stream that should have been a picture and could not be decoded."""

    reason: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Pictures that the decoder left out, as `skip_frame` has it. n: how many."""

    n: int


@dataclass(frozen=True, slots=True)
class Remark:
    """What an operator should know of a stream that runs; None: nothing any more."""

    text: str | None


class Source(Protocol):
    """A stream of pictures."""

    options: SourceOptions

    def pictures(self, wait: Wait) -> Iterator[Picture | Damaged | LeftOut | Remark]:
        """Yield pictures until the recording ends or `wait` says stop.

        Raises a SourceError of streamer/errors.py. Closing the iterator closes the stream.
        """
        ...


def with_plain_scheme(url: str) -> str:
    """Return a source's text as FFmpeg reads it, its secrets remembered: RTSP:// is rtsp://."""
    remember_secrets(url)
    scheme = _SCHEME.match(url.lstrip())
    if scheme is None:
        return url
    return scheme[0].lower() + url.strip()[scheme.end() :]


def source_kind(url: str) -> SourceKind:
    """Return what a source's text names; `./` before it makes it a path whatever it looks like.

    Raises ConfigError when it is no known scheme; whether a file exists is check_source's.
    """
    if url.startswith("test:"):
        return "test"
    if url.isdecimal() or (url.startswith("/dev/") and not _is_file_or_folder(url)):
        return "webcam"
    scheme = _SCHEME.match(url)
    name = scheme[0][:-1].lower() if scheme is not None else ""
    if name in _STREAM_SCHEMES:
        return "rtsp" if name.startswith("rtsp") else "http"
    if name and not _is_file_or_folder(url):
        raise ConfigError.at(f"source {redact(url)!r}", f"expected {_EXPECTED}", redact(url))
    return "folder" if os.path.isdir(url) else "file"


def _is_file_or_folder(path: str) -> bool:
    return os.path.isfile(path) or os.path.isdir(path)


def check_source(options: SourceOptions) -> None:
    """Raise ConfigError for what a user should mend before anything starts.

    A wrong scheme or URL, a file or folder that is not there or is empty. Streams and devices are
    not opened: one that does not answer now may do so later.
    """
    kind, url = options.kind, options.url
    where = f"source {redact(url)!r}"
    if kind in ("rtsp", "http"):
        _check_url(where, url)
    elif kind == "file":
        _check_file(where, url)
    elif kind == "folder":
        try:
            is_empty = not any(_images_of(Path(url)))
        except OSError as error:
            raise ConfigError.at(where, "the folder cannot be read", error.strerror) from None
        if is_empty:
            raise ConfigError.at(
                where, f"expected a folder of images ({', '.join(sorted(IMAGE_SUFFIXES))})", "none"
            )
    elif kind == "test":
        from streamer.sources.test_pattern import parse_pattern

        parse_pattern(url)


def _check_file(where: str, path: str) -> None:
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        remedy = "is rtsp:// or http:// missing?" if source_user_info(path) else "check the path"
        raise ConfigError.at(where, f"no such file; expected {_EXPECTED}", remedy=remedy) from None
    except OSError as error:
        raise ConfigError.at(where, "the file cannot be read", error.strerror) from None
    if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
        raise ConfigError.at(where, "expected a video file with content", "an empty file")


def _check_url(where: str, url: str) -> None:
    """Raise ConfigError for a URL that FFmpeg would read otherwise than it is meant.

    Python's own errors are not shown: they quote what it takes for host or port.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        rule, remedy = "expected a URL with host and port", _ENCODED if "@" in url else ""
        raise ConfigError.at(where, rule, remedy=remedy) from None
    if "@" in parts.fragment or (not parts.path and "@" in parts.query):
        raise ConfigError.at(where, "expected user and password percent-encoded", remedy=_ENCODED)
    if not host:
        raise ConfigError.at(where, "expected a host in the URL", redact(url))


def _images_of(folder: Path) -> Iterator[Path]:
    return (path for path in entries_of(folder) if path.suffix.lower() in IMAGE_SUFFIXES)


def image_files(folder: Path) -> list[Path]:
    """Return the folder's images in the order of their names."""
    return list(_images_of(folder))


def create_source(options: SourceOptions) -> Source:
    """Return the source that the options name, not yet opened."""
    kind = options.kind
    if kind == "test":
        from streamer.sources.test_pattern import PatternSource

        return PatternSource(options)
    if kind == "folder":
        from streamer.sources.image_folder import ImageFolderSource

        return ImageFolderSource(options)
    if kind == "file":
        from streamer.sources.video_file import VideoFileSource

        return VideoFileSource(options)
    if kind == "webcam":
        from streamer.sources.webcam import WebcamSource

        return WebcamSource(options)
    from streamer.sources.network_stream import NetworkStreamSource

    return NetworkStreamSource(options)
