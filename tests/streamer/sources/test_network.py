"""Streams from real servers on the loopback: what arrives, and one typed error a cause."""

import base64
import contextlib
import itertools
import logging
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from urllib.parse import quote

import av
import av.logging
import pytest

from pipeline.errors import SourceError
from streamer.errors import (
    AuthenticationError,
    CodecError,
    EndedError,
    NotFoundError,
    RefusedError,
    StalledError,
    UnreachableError,
    UnsupportedError,
)
from streamer.sources.base import Picture, SourceOptions, create_source
from streamer.sources.failures import capture_ffmpeg_log
from tests.streamer.clips import write_clip
from tests.streamer.mjpeg import QuietHandler, jpeg, serving

FAST = {"open_timeout_s": 3.0, "read_timeout_s": 1.0}


def no_wait(_: float) -> bool:
    return False


def sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def pictures_of(url: str, n: int = 10**9, **options: object) -> list[Picture]:
    source = create_source(SourceOptions(url=url, **FAST | options))  # type: ignore[arg-type]
    with contextlib.closing(source.pictures(sleep)) as stream:  # type: ignore[type-var]
        return [each for each in itertools.islice(stream, n) if isinstance(each, Picture)]


# --- HTTP -------------------------------------------------------------------------------


class Camera(QuietHandler):
    """/mjpeg for ever; /short: five pictures, then the end; /silent: five, then nothing."""

    hold = threading.Event()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path == "/secret":
            return self.send_error(401)
        if path == "/forbidden":
            return self.send_error(403)
        if path not in ("/mjpeg", "/short", "/silent"):
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        numbers = itertools.count() if path == "/mjpeg" else range(30)
        with contextlib.suppress(ConnectionError):
            for number in numbers:
                data = jpeg(number)
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
            if path == "/silent":
                self.hold.wait(30)


@pytest.fixture
def camera() -> Iterator[str]:
    Camera.hold.clear()
    with serving(Camera) as address:
        yield address
        Camera.hold.set()


def test_mjpeg_over_http(camera: str) -> None:
    pictures = pictures_of(f"http://{camera}/mjpeg", 20)
    assert len(pictures) == 20
    assert {picture.size_wh for picture in pictures} == {(320, 240)}
    assert {(picture.clock, picture.range) for picture in pictures} == {("arrival", "full")}


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("secret", AuthenticationError),
        ("forbidden", AuthenticationError),
        ("nothing", NotFoundError),
        ("short", EndedError),
        ("silent", StalledError),
    ],
)
def test_http_errors_have_their_cause(
    camera: str, path: str, error: type[SourceError], caplog: pytest.LogCaptureFixture
) -> None:
    began_s = time.monotonic()
    with pytest.raises(error) as caught:
        pictures_of(f"http://anna:hunter2@{camera}/{path}?token=abc123")
    assert time.monotonic() - began_s < 8
    said = str(caught.value) + caplog.text
    assert f"{camera}/{path}" in said
    for secret in ("anna", "hunter2", "abc123"):
        assert secret not in said


class Locked(Camera):
    """A camera that wants a password."""

    user_info = "an@na:p@s#s/w?o 5%41r:d&="

    def do_GET(self) -> None:
        wanted = f"Basic {base64.b64encode(self.user_info.encode()).decode()}"
        if self.headers.get("Authorization") == wanted:
            return super().do_GET()
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.end_headers()


def test_an_unusual_password_works_percent_encoded_over_http() -> None:
    user, _, password = Locked.user_info.partition(":")
    encoded = f"{quote(user, safe='')}:{quote(password, safe='')}"
    with serving(Locked) as address:
        assert len(pictures_of(f"http://{encoded}@{address}/mjpeg", 3)) == 3
        with pytest.raises(AuthenticationError) as caught:
            pictures_of(f"http://{encoded}x@{address}/mjpeg", 3)
    assert address in str(caught.value) and "p%40s" not in str(caught.value)


def test_a_recording_over_http_ends_by_itself_at_its_pace(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", 20, options={"movflags": "faststart"})
    with serving(partial(_Files, directory=str(tmp_path))) as address:
        began_s = time.monotonic()
        assert len(pictures_of(f"http://{address}/clip.mp4")) == 20
        assert time.monotonic() - began_s > 0.7


@pytest.mark.parametrize("is_live", [False, True])
def test_hls_is_played_at_its_pace(tmp_path: Path, is_live: bool) -> None:
    options = {"g": "10"}
    playlist = write_clip(tmp_path / "list.m3u8", 50, options=options)
    assert list(tmp_path.glob("*.ts"))
    if is_live:  # a list that may grow
        playlist.write_text(playlist.read_text().replace("#EXT-X-ENDLIST\n", ""))
    with serving(partial(_Files, directory=str(tmp_path))) as address:
        began_s = time.monotonic()
        pictures = pictures_of(f"http://{address}/list.m3u8", 40)
        assert len(pictures) == 40
        assert {picture.clock for picture in pictures} == {"arrival" if is_live else "file"}
        assert time.monotonic() - began_s > 1.4
        if not is_live:
            assert len(pictures_of(f"http://{address}/list.m3u8")) == 50


def test_hls_may_be_silent_between_its_segments() -> None:
    hls, mjpeg = SourceOptions(url="http://c/l.m3u8?x=1"), SourceOptions(url="http://c/l.mjpg")
    assert mjpeg.silence_s == mjpeg.read_timeout_s
    assert hls.silence_s > 12 and hls.longest_call_s >= hls.silence_s


class _Files(QuietHandler, SimpleHTTPRequestHandler):
    """A folder."""


@pytest.mark.parametrize(
    ("name", "content", "error", "says"),
    [
        ("page.html", "<html>please log in</html>" * 50, UnsupportedError, "a web page"),
        (
            "page.mjpg",
            "\n<!DOCTYPE HTML>" * 50,
            UnsupportedError,
            "does the camera ask for a login",
        ),
        ("data.bin", "no video here" * 500, CodecError, "cannot be understood as video"),
        ("none.jpg", "", CodecError, "an empty answer"),
        ("bad.jpg", "this is no JPEG" * 50, CodecError, "expected data that can be decoded"),
    ],
)
def test_data_that_is_no_video_over_http(
    tmp_path: Path, name: str, content: str, error: type[SourceError], says: str
) -> None:
    (tmp_path / name).write_text(content)
    with (
        serving(partial(_Files, directory=str(tmp_path))) as address,
        pytest.raises(error, match=says),
    ):
        pictures_of(f"http://{address}/{name}", fps=1000)


# --- sockets that answer badly, or not at all -------------------------------------------


@contextlib.contextmanager
def answering(answer: bytes | None) -> Iterator[str]:
    """A server that gives every request the same answer; None: it never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    clients: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                clients.append(client)
                threading.Thread(target=talk, args=(client,)).start()

    def talk(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while request := client.recv(65536):
                if answer is None:
                    continue
                number = request.split(b"CSeq: ")[-1].split(b"\r")[0]
                client.sendall(answer.replace(b"NUMBER", number))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()
        thread.join()


_REFUSALS = [
    (401, AuthenticationError, "check user and password"),
    (403, AuthenticationError, "refuses access"),
    (404, NotFoundError, "no such stream"),
    (405, UnsupportedError, "does not allow it"),
    (410, NotFoundError, "gone for good"),
    (429, UnreachableError, "asked too often"),
    (453, UnreachableError, "no bandwidth left"),
    (461, UnsupportedError, "does not send this way"),
    (500, UnreachableError, "the server failed"),
    (501, UnsupportedError, "cannot do this at all"),
    (503, UnreachableError, "no room now"),
    (499, UnsupportedError, "does not give the stream, got 'status 4"),
    (599, UnreachableError, "the server failed, got 'status 5"),
]


@pytest.mark.parametrize(("status", "error", "says"), _REFUSALS)
@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_each_status_has_its_words_and_its_remedy(
    scheme: str,
    status: int,
    error: type[SourceError],
    says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    head = f"{scheme.upper()}/1.{int(scheme == 'http')} {status} No\r\nCSeq: NUMBER\r\n"
    with answering(head.encode() + b"Content-Length: 0\r\n\r\n") as address:
        with pytest.raises(error, match=says) as caught:
            pictures_of(f"{scheme}://anna:hunter2@{address}/1", open_timeout_s=0.8)
        said = str(caught.value) + caplog.text
    assert "anna" not in said and "hunter2" not in said
    assert ";" in str(caught.value)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_server_that_never_answers(scheme: str) -> None:
    with (
        answering(None) as address,
        pytest.raises(UnreachableError, match=r"no answer within 0\.8 s"),
    ):
        pictures_of(f"{scheme}://{address}/1", open_timeout_s=0.8)


def test_the_other_transport_is_the_remedy_of_a_refused_one() -> None:
    with answering(b"RTSP/1.0 461 No\r\nCSeq: NUMBER\r\n\r\n") as address:
        for asked, other in (("udp", "tcp"), ("tcp", "udp")):
            with pytest.raises(UnsupportedError, match=f"transport: {other}"):
                pictures_of(f"rtsp://{address}/1", transport=asked, open_timeout_s=0.8)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_port_where_nobody_listens_refuses(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RefusedError, match="nothing listens there"):
        pictures_of(f"{scheme}://me:secret@127.0.0.1:{port}/1")


def test_a_webcam_that_is_not_there() -> None:
    with pytest.raises(NotFoundError, match="no device /dev/video97; devices of this machine"):
        pictures_of("97")


# --- secrets ----------------------------------------------------------------------------


def test_ffmpegs_own_messages_lose_their_secrets(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("libav").handlers.clear()
    capture_ffmpeg_log()
    capture_ffmpeg_log()
    with caplog.at_level(logging.WARNING):
        av.logging.log(av.logging.ERROR, "test", "cannot open rtsp://me:secret@camera/1\n")
        for number in range(50):
            av.logging.log(av.logging.ERROR, "test", f"error {number}\n")
    said = [record.getMessage() for record in caplog.records]
    assert said == ["ffmpeg: cannot open rtsp://***@camera/1"]
