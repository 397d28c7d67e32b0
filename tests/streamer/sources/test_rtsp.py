"""RTSP from a real server: pictures, times, credentials, stalls."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from streamer.errors import AuthenticationError, EndedError, NotFoundError, StalledError
from streamer.sources.base import Picture, SourceOptions, create_source
from streamer.sources.probe import probe, report_lines
from tests.streamer.clips import write_clip
from tests.streamer.rtsp import RtspServer, is_rtsp_server_there, rtsp_server


def no_wait(_: float) -> bool:
    return False


def stream(url: str, **options: object) -> Iterator[Picture]:
    source = create_source(SourceOptions(url=url, **options))  # type: ignore[arg-type]
    for each in source.pictures(no_wait):
        if isinstance(each, Picture):
            yield each


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", 50, options={"g": "10"})


@pytest.fixture
def server(clip: Path, need_tool: Callable[[bool, str], None]) -> Iterator[RtspServer]:
    need_tool(is_rtsp_server_there(), "GStreamer's RTSP server")
    with rtsp_server(clip) as running:
        yield running


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_pictures_flow_with_the_cameras_clock(server: RtspServer, transport: str) -> None:
    """The file lasts two seconds: it is served in a loop, and RTCP brings its times."""
    n_pictures = 0
    with contextlib.closing(stream(server.url, transport=transport)) as pictures:  # type: ignore[type-var]
        for picture in pictures:
            n_pictures += 1
            assert picture.size_wh == (320, 240)
            if picture.clock == "rtcp" and n_pictures > 60:
                break
            assert n_pictures < 250
    assert abs(picture.wall_ns - time.time_ns()) < 2e9
    assert picture.media_ns == -1


def test_a_wrong_path_and_wrong_credentials(clip: Path, server: RtspServer) -> None:
    with pytest.raises(NotFoundError):
        next(stream(server.url + "/other"))
    with rtsp_server(clip, user="anna", password="hunter2") as locked:
        with pytest.raises(AuthenticationError) as caught:
            next(stream(locked.url.replace("//", "//anna:wrong@")))
        assert "anna" not in str(caught.value) and "wrong" not in str(caught.value)
        assert next(stream(locked.url.replace("//", "//anna:hunter2@"))).size_wh == (320, 240)


@pytest.mark.parametrize("is_digest", [False, True])
def test_an_unusual_password_works_percent_encoded(
    clip: Path, need_tool: Callable[[bool, str], None], is_digest: bool
) -> None:
    need_tool(is_rtsp_server_there(), "GStreamer's RTSP server")
    password = "p@s#s/w?o 5%41r:d&="
    with rtsp_server(clip, user="an@na", password=password, is_digest=is_digest) as locked:
        user_info = f"an%40na:{quote(password, safe='')}"
        url = locked.url.replace("//", f"//{user_info}@")
        assert next(stream(url)).size_wh == (320, 240)
        with pytest.raises(AuthenticationError) as caught:
            next(stream(locked.url.replace("//", f"//{user_info}x@")))
        assert locked.url.removeprefix("rtsp://") in str(caught.value)
        assert "p@s" not in str(caught.value) and "p%40s" not in str(caught.value)


def test_a_stalled_stream_is_noticed_within_three_seconds(server: RtspServer) -> None:
    with contextlib.closing(stream(server.url)) as pictures:  # type: ignore[type-var]
        for _ in range(30):
            last = next(pictures)
        server.send(signal.SIGSTOP)
        try:
            with pytest.raises(StalledError, match=r"no (picture )?data for 2\.5 s"):
                for picture in pictures:
                    last = picture
            assert (time.monotonic_ns() - last.captured_ns) / 1e9 < 3
        finally:
            server.send(signal.SIGCONT)


def test_a_server_that_goes_away_ends_the_stream(server: RtspServer) -> None:
    with contextlib.closing(stream(server.url)) as pictures:  # type: ignore[type-var]
        next(pictures)
        server.stop()
        with pytest.raises(EndedError, match="the server ended the stream"):
            for _ in pictures:
                pass


def test_probe_says_what_the_stream_is_like(server: RtspServer) -> None:
    report = probe(server.url, seconds=1.5)
    assert (report.codec, report.size_wh, report.kind) == ("h264", (320, 240), "rtsp")
    assert report.fps == pytest.approx(25, abs=0.5)
    assert report.key_frame_interval_s == pytest.approx(0.4, abs=0.05)
    assert report.duration_s is None and report.damaged == 0
    assert report.picture.size_wh == (320, 240) and report.picture.y.std() > 5
    assert report.measured_fps == pytest.approx(25, abs=3) and report.read_s >= 1.5
    assert "key frames  every 0.40 s" in report_lines(report)


def test_a_slow_camera_is_not_stalled_and_its_rate_is_measured(
    tmp_path: Path, need_tool: Callable[[bool, str], None]
) -> None:
    """A picture every 0.9 s, where 0.4 s of silence would be a stall at 25 pictures a second."""
    need_tool(is_rtsp_server_there(), "GStreamer's RTSP server")
    slow = write_clip(
        tmp_path / "slow.mp4", 20, options={"g": "1"}, times_s=[0.9 * n for n in range(20)]
    )
    with rtsp_server(slow) as running:
        options = SourceOptions(url=running.url, read_timeout_s=0.4, open_timeout_s=4)
        report = probe(options, seconds=6)
        with contextlib.closing(stream(running.url, read_timeout_s=0.4)) as pictures:  # type: ignore[type-var]
            assert [next(pictures).size_wh for _ in range(4)] == [(320, 240)] * 4
    # Six pictures are few: on a busy machine two may arrive at once, or one late.
    assert 0.7 < report.measured_fps < 1.8
    # A busy server may send the first picture's headers apart from it: FFmpeg misses a picture.
    assert report.remark is None and report.damaged <= 1


def test_a_scheme_may_be_written_in_capitals(server: RtspServer) -> None:
    assert next(stream(server.url.replace("rtsp://", " RTSP://"))).size_wh == (320, 240)


def test_probe_of_a_file(clip: Path) -> None:
    report = probe(str(clip))
    assert (report.codec, report.kind, report.clock) == ("h264", "file", "file")
    assert report.duration_s == pytest.approx(2, abs=0.1)
    assert (report.matrix, report.matrix_tag) == ("bt601", "")
