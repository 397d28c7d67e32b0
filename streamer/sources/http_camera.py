"""Cameras that give JPEG pictures over HTTP: one stream of them (MJPEG), or one a request.

Who gives neither (HLS, a recording, MPEG-TS) is FFmpeg's: network_stream.py.
"""

import contextlib
import io
import re
import time
from collections.abc import Iterator

import av
import av.error
from av.packet import Packet
from av.video.frame import VideoFrame

from streamer.errors import CodecError, EndedError, StalledError, UnsupportedError
from streamer.sources.base import Damaged, Picture, SourceOptions, Wait
from streamer.sources.decoding import (
    GIVE_UP_AFTER_DAMAGED,
    arrival,
    jpeg_decoder,
    picture_of,
)
from streamer.sources.failures import source_name, typed_errors
from streamer.sources.http_client import CameraClient, StoppedError
from streamer.sources.jpeg_stream import MOST_BYTES, JpegStream
from streamer.sources.planes import PlaneMaker
from streamer.sources.rhythm import Rhythm

DEFAULT_SNAPSHOT_FPS = 1.0
_STREAM_TYPES = ("multipart/", "video/x-motion-jpeg", "video/x-mjpeg", "video/mjpeg")
_SNAPSHOTS_IN_VAIN = 5
_JPEG = b"\xff\xd8\xff"
_PAGE = re.compile(rb"\s*<(!doctype html|html|head|body)", re.IGNORECASE)


class HttpCamera:
    """The pictures behind one URL. codec, pixel_format, is_snapshot: known from the first on."""

    def __init__(self, options: SourceOptions, rhythm: Rhythm, client: CameraClient) -> None:
        """Ask for the first answer; raises the SourceError of what the server says."""
        self._options, self._rhythm, self._client = options, rhythm, client
        self._where = source_name(options.url)
        self._maker, self._decoder = PlaneMaker(), jpeg_decoder()
        self._n_damaged = 0  # in a row
        self.codec = self.pixel_format = ""
        self._ask(options.open_timeout_s)
        is_image = self._content_type.startswith("image/")
        self.is_page = "html" in self._content_type or bool(_PAGE.match(self._head))
        self.is_pictures = not self.is_snapshot or is_image or self._head.startswith(_JPEG)
        if self.is_snapshot:
            rhythm.tell(self._period_s)

    @property
    def _period_s(self) -> float:
        return 1 / (self._options.fps or DEFAULT_SNAPSHOT_FPS)

    def pictures(self, wait: Wait) -> Iterator[Picture | Damaged]:
        """Yield pictures until `wait` says stop; raises a SourceError when the stream ends."""
        with contextlib.suppress(StoppedError):
            yield from self._pictures(wait)

    def _pictures(self, wait: Wait) -> Iterator[Picture | Damaged]:
        while True:
            asked_s, n_pictures = time.monotonic(), 0
            for picture in self._pictures_of_answer():
                n_pictures += 1
                self.is_snapshot &= n_pictures == 1
                yield picture
                if wait(0):
                    return
            if not self.is_snapshot:
                raise EndedError.at(self._where, "the server ended the stream")
            if not n_pictures:
                raise CodecError.at(self._where, "expected a picture", "an empty answer")
            if wait(max(0.0, asked_s + self._period_s - time.monotonic())):
                return
            self._ask(max(self._options.open_timeout_s, self._rhythm.limit_s))

    def _ask(self, within_s: float) -> None:
        """Ask for the next answer, and read its beginning where that says what it is."""
        self._chunks = self._client.get(within_s)
        self._client.on_silence = self._check_silence
        self._content_type = self._chunks.content_type
        self.is_snapshot = not self._content_type.startswith(_STREAM_TYPES)
        self._head = self._chunks.next() if self.is_snapshot else b""

    def _check_silence(self) -> None:
        if time.monotonic() - self._chunks.last_s > self._rhythm.limit_s:
            raise StalledError.at(self._where, f"no data for {self._rhythm.limit_s:g} s")

    def _pictures_of_answer(self) -> Iterator[Picture | Damaged]:
        if self._head and not self._head.startswith(_JPEG):
            yield self._decoded(self._whole_answer(), is_jpeg=False)
            return
        stream, data, self._head = JpegStream(), self._head or self._chunks.next(), b""
        while data:
            for jpeg in stream.feed(data):
                yield self._decoded(jpeg)
            if stream.n_foreign_bytes > MOST_BYTES:
                raise CodecError.at(self._where, "expected JPEG pictures", "other data")
            data = self._chunks.next()
        if (rest := stream.rest()) is not None:
            yield self._decoded(rest)

    def _whole_answer(self) -> bytes:
        """Read the one picture of an answer that is no JPEG."""
        data = bytearray(self._head)
        while more := self._chunks.next():
            data += more
            if len(data) > MOST_BYTES:
                raise CodecError.at(self._where, f"a picture has at most {MOST_BYTES} bytes")
        return bytes(data)

    def _decoded(self, data: bytes, is_jpeg: bool = True) -> Picture | Damaged:
        began_ns, moment = time.monotonic_ns(), arrival(None)
        self._rhythm.note(time.monotonic(), self._chunks.waited_s)
        try:
            frame = self._frame_of_jpeg(data) if is_jpeg else self._frame_of_file(data)
            picture = picture_of(frame, self._maker, began_ns, moment)
        except (av.error.FFmpegError, CodecError, StopIteration, IndexError) as error:
            return self._damaged(getattr(error, "strerror", None) or str(error))
        self._n_damaged, self.pixel_format = 0, frame.format.name
        return picture

    def _frame_of_jpeg(self, data: bytes) -> VideoFrame:
        self.codec = "mjpeg"
        return self._decoder.decode(Packet(data))[0]

    def _frame_of_file(self, data: bytes) -> VideoFrame:
        """Decode a PNG, WebP or BMP; their answers come once a second, not 25 times."""
        with (
            typed_errors(self._options.url, "open", self._options.open_timeout_s),
            av.open(io.BytesIO(data), "r") as container,
        ):
            self.codec = container.streams.video[0].codec_context.name
            return next(container.decode(video=0))

    def _damaged(self, why: str) -> Damaged:
        self._n_damaged += 1
        limit = _SNAPSHOTS_IN_VAIN if self.is_snapshot else GIVE_UP_AFTER_DAMAGED
        if self._n_damaged >= limit:
            raise CodecError.at(self._where, "expected data that can be decoded", why)
        return Damaged(why)


@contextlib.contextmanager
def http_camera(options: SourceOptions, rhythm: Rhythm, wait: Wait) -> Iterator[HttpCamera | None]:
    """Ask an http(s):// URL; gives its pictures' reader, or None where FFmpeg should read it.

    Raises the SourceError of what the server answers, and StoppedError.
    """
    client = CameraClient(options, wait)
    rhythm.begin()
    try:
        camera = HttpCamera(options, rhythm, client)
        if camera.is_page:
            raise UnsupportedError.at(
                source_name(options.url),
                "expected a stream or a picture",
                "a web page",
                "give the address of the stream itself; does the camera ask for a login?",
            )
        yield camera if camera.is_pictures else None
    finally:
        client.close()
