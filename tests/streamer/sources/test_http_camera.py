"""Cameras over HTTP as they are: odd streams, one picture a request, logins, slow ones."""

import base64
import contextlib
import hashlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from streamer.errors import (
    AuthenticationError,
    StalledError,
    UnreachableError,
    UnsupportedError,
)
from streamer.sources.base import Damaged, Picture, SourceOptions, create_source
from streamer.sources.probe import probe, report_lines
from tests.streamer.mjpeg import QuietHandler, jpeg, serving

JPEGS = [jpeg(number) for number in range(10)]


class Firmware(QuietHandler):
    """/mjpeg: a stream, odd in the ways that the query asks for; /snap: one picture a request."""

    protocol_version = "HTTP/1.1"
    over = threading.Event()
    seen: ClassVar[list[tuple[str, int]]] = []  # path and client port of each request

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: value[-1] for key, value in parse_qs(url.query).items()}
        self.seen.append((url.path, self.client_address[1]))
        with contextlib.suppress(ConnectionError):
            getattr(self, "do" + url.path.replace("/", "_"))()

    def do_mjpeg(self) -> None:
        dashes = self.query.get("dashes", "")
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={dashes}frame")
        self.end_headers()
        self.close_connection = True
        for number in itertools.count():
            data = JPEGS[number % len(JPEGS)]
            if "cut" in self.query and number % 3 == 2:
                data = data[: len(data) // 2]
            head = b"Content-Type: image/jpeg\r\n"
            if "length" in self.query:
                head += b"Content-Length: %d\r\n" % len(data)
            if "first" in self.query:  # the boundary comes before the picture, as it should
                self.wfile.write(b"--frame\r\n" + head + b"\r\n" + data + b"\r\n")
            else:
                self.wfile.write(head + b"\r\n" + data + b"\r\n--frame\r\n")
            if self.over.wait(float(self.query.get("every", 0.02))):
                return

    def do_snap(self) -> None:
        data = JPEGS[len(self.seen) % len(JPEGS)]
        if "cut" in self.query and len(self.seen) % 2:
            data = data[: len(data) // 2]
        self.answer(200, data, "image/jpeg")

    def do_silent(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(JPEGS[0][:100])
        self.over.wait(30)

    def do_basic(self) -> None:
        wanted = "Basic " + base64.b64encode("anna:p@ss/w ö#?%".encode()).decode()
        if self.headers.get("Authorization") == wanted:
            return self.do_mjpeg()
        self.answer(401, b"no", challenge='Basic realm="camera"')

    def do_digest(self) -> None:
        said = self.headers.get("Authorization", "")
        fields = dict(part.strip().split("=", 1) for part in said.partition(" ")[2].split(", "))\
            if said.startswith("Digest ") else {}  # fmt: skip
        get = {key: value.strip('"') for key, value in fields.items()}
        secret = _md5("anna:camera:p@ss")
        asked = _md5(f"GET:{self.path}")
        middle = f"n1:{get.get('nc')}:{get.get('cnonce')}:auth"
        if get.get("response") == _md5(f"{secret}:{middle}:{asked}"):
            return self.do_snap()
        self.answer(401, b"no", challenge='Digest realm="camera", nonce="n1", qop="auth"')

    def do_closes(self) -> None:
        self.close_connection = True

    def do_round(self) -> None:
        self.query["to"] = "/round"
        self.do_moved()

    def do_moved(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.query["to"])
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, status: int, data: bytes, kind: str = "", challenge: str = "") -> None:
        self.send_response(status)
        if kind:
            self.send_header("Content-Type", kind)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@pytest.fixture
def camera() -> Iterator[str]:
    Firmware.over.clear()
    Firmware.seen.clear()
    with serving(Firmware) as address:
        yield address
        Firmware.over.set()


def read(url: str, n: int, **options: object) -> list[object]:
    made = SourceOptions(url=url, **options)  # type: ignore[arg-type]
    with contextlib.closing(create_source(made).pictures(sleep)) as stream:  # type: ignore[type-var]
        return list(itertools.islice(stream, n))


def sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


@pytest.mark.parametrize(
    "query",
    ["first&length", "first", "first&dashes=--", "", "length", "dashes=--", "dashes=%22"],
)
def test_a_stream_is_read_whatever_its_boundaries_are(camera: str, query: str) -> None:
    flags = "&".join(part if "=" in part else f"{part}=1" for part in query.split("&") if part)
    pictures = read(f"http://{camera}/mjpeg?{flags}", 12)
    assert [type(each) for each in pictures] == [Picture] * 12
    assert {each.size_wh for each in pictures} == {(320, 240)}  # type: ignore[attr-defined]


def test_a_picture_that_breaks_off_is_corrupt_and_the_stream_goes_on(camera: str) -> None:
    found = [type(each) for each in read(f"http://{camera}/mjpeg?cut=1&first=1&length=1", 12)]
    assert found == [Picture, Picture, Damaged] * 4


def test_a_snapshot_is_asked_for_again_and_again_on_one_connection(camera: str) -> None:
    began_s = time.monotonic()
    pictures = read(f"http://{camera}/snap", 4, fps=10)
    assert [type(each) for each in pictures] == [Picture] * 4
    assert 0.3 <= time.monotonic() - began_s < 1.5
    assert len({port for _, port in Firmware.seen}) == 1


def test_a_snapshot_that_breaks_off_now_and_then_is_corrupt(camera: str) -> None:
    found = [type(each) for each in read(f"http://{camera}/snap?cut=1", 6, fps=100)]
    assert sorted(map(str, found)) == sorted(map(str, [Picture, Damaged] * 3))


def test_a_picture_that_stops_in_the_middle_is_a_stall(camera: str) -> None:
    with pytest.raises(StalledError, match="no data for"):
        read(f"http://{camera}/silent", 1, read_timeout_s=0.2, fps=10)


def test_a_slow_stream_is_no_stalled_one(camera: str) -> None:
    """A picture every 0.8 s, where 0.2 s of silence are a stall of a fast one."""
    url = f"http://{camera}/mjpeg?every=0.8"
    assert [type(each) for each in read(url, 4, read_timeout_s=0.2)] == [Picture] * 4


@pytest.mark.parametrize("path", ["basic", "digest"])
def test_both_logins_work_and_odd_passwords_do(camera: str, path: str) -> None:
    password = "p%40ss%2Fw%20%C3%B6%23%3F%25" if path == "basic" else "p%40ss"
    pictures = read(f"http://anna:{password}@{camera}/{path}", 3, fps=20)
    assert [type(each) for each in pictures] == [Picture] * 3
    with pytest.raises(AuthenticationError, match="check user and password"):
        read(f"http://anna:wrong@{camera}/{path}", 1)
    with pytest.raises(AuthenticationError):
        read(f"http://{camera}/{path}", 1)


def test_redirects_are_followed_but_no_password_goes_to_another_host(camera: str) -> None:
    with serving(Firmware) as other:
        assert read(f"http://anna:p%40ss@{camera}/moved?to=/digest", 1)
        with pytest.raises(AuthenticationError):
            read(f"http://anna:p%40ss@{camera}/moved?to=http://{other}/digest", 1)
    with pytest.raises(UnsupportedError, match="at most 5 redirects"):
        read(f"http://{camera}/round", 1)
    with pytest.raises(UnsupportedError, match="must lead to http"):
        read(f"http://{camera}/moved?to=file:///etc/passwd", 1)


def test_a_server_that_speaks_no_http_or_no_tls(camera: str) -> None:
    with pytest.raises(UnsupportedError, match="does not speak TLS"):
        read(f"https://{camera}/mjpeg", 1)


def test_asked_to_stop_it_stops_in_the_middle_of_a_silence(camera: str) -> None:
    source = create_source(SourceOptions(url=f"http://{camera}/mjpeg?every=25"))
    until_s = time.monotonic() + 1
    began_s = time.monotonic()
    n_pictures = sum(1 for _ in source.pictures(lambda _: time.monotonic() > until_s))
    assert n_pictures == 1 and time.monotonic() - began_s < 3


def test_probe_measures_by_arrival_and_says_what_it_is(camera: str) -> None:
    slow = probe(f"http://{camera}/mjpeg?every=0.5", seconds=2.2)
    assert slow.measured_fps == pytest.approx(2, rel=0.15)
    assert (slow.container, slow.codec) == ("mjpeg", "mjpeg") and 5 <= slow.pictures <= 6
    assert slow.read_s == pytest.approx(2.2, abs=0.6)
    still = probe(SourceOptions(url=f"http://{camera}/snap", fps=5), seconds=1)
    assert still.container == "snapshot" and 4 <= still.pictures <= 6
    assert "note        one picture a request: asked 5 times a second (fps)" in report_lines(still)


def test_probe_without_a_picture_says_so(camera: str) -> None:
    with pytest.raises(StalledError, match="a slow camera"):
        probe(f"http://{camera}/silent", seconds=0.6)


def test_a_server_that_closes_without_an_answer(camera: str) -> None:
    with pytest.raises(UnreachableError, match="closes without an answer"):
        read(f"http://{camera}/closes", 1)
