"""A webcam by number or device path: Video4Linux on Linux, AVFoundation on macOS."""

import sys
from collections.abc import Iterator
from pathlib import Path

import av
import av.container

from streamer.errors import EndedError, NotFoundError
from streamer.sources.base import Damaged, LeftOut, Picture, SourceOptions, Wait
from streamer.sources.decoding import arrival, read_pictures
from streamer.sources.failures import capture_ffmpeg_log, source_name, typed_errors


class WebcamSource:
    """Pictures of a device of this machine."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options
        capture_ffmpeg_log()

    def pictures(self, wait: Wait) -> Iterator[Picture | Damaged | LeftOut]:
        with open_webcam(self.options) as container:
            for picture in read_pictures(container, self.options, arrival, wait):
                if wait(0):
                    return
                yield picture
        raise EndedError.at(source_name(self.options.url), "the device gives no more pictures")


def open_webcam(options: SourceOptions) -> av.container.InputContainer:
    """Open the device with the size and rate asked for; raises a SourceError."""
    device, format_name = _device(options.url)
    asked = {}
    if options.width and options.height:
        asked["video_size"] = f"{options.width}x{options.height}"
    if options.fps:
        asked["framerate"] = f"{options.fps:g}"
    with typed_errors(options.url, "open", options.open_timeout_s):
        return av.open(
            device,
            "r",
            format=format_name,
            options=asked,
            timeout=(options.open_timeout_s, options.read_turn_s),
        )


def _device(url: str) -> tuple[str, str]:
    """Return FFmpeg's name of the device and of the library that reads it."""
    if sys.platform == "darwin":
        return url, "avfoundation"
    device = f"/dev/video{url}" if url.isdecimal() else url
    if not Path(device).exists():
        there = ", ".join(sorted(map(str, Path("/dev").glob("video*")))) or "none"
        raise NotFoundError.at(
            source_name(url), f"no device {device}", remedy=f"devices of this machine: {there}"
        )
    return device, "v4l2"
