"""A source is told by its text, and a wrong one is refused in one sentence."""

import os
import tempfile
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from streamer.sources.base import SourceOptions, check_source


@pytest.mark.parametrize(
    ("url", "kind", "is_live"),
    [
        ("rtsp://camera/1", "rtsp", True),
        ("RTSPS://camera/1", "rtsp", True),
        ("http://camera/mjpeg", "http", True),
        ("https://camera/list.m3u8", "http", True),
        ("0", "webcam", True),
        ("/dev/video3", "webcam", True),
        ("film.mp4", "file", False),
        ("a:b.mp4", "file", False),
        ("./test:x", "file", False),
        ("./0", "file", False),
        ("./rtsp://camera/1", "file", False),
        (".", "folder", False),
        ("test:", "test", True),
        ("test:?frames=3&paced=0", "test", False),
    ],
)
def test_a_source_is_told_by_its_text(url: str, kind: str, is_live: bool) -> None:
    options = SourceOptions(url=url)
    assert (options.kind, options.is_live) == (kind, is_live)
    assert SourceOptions(url=url, realtime=True).is_live or "paced=0" in url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("htp://x", "expected rtsp://, rtsps://, http(s)://, a device number, a file, a folder"),
        ("ftp://me:secret@x/y", "got 'ftp://***@x/y'"),
        ("nothing.mp4", "source 'nothing.mp4': no such file"),
        ("rtsp://", "expected a host"),
        ("rtsp://me:secret@camera:port/1", "expected a URL with host and port"),
        ("rtsp://camera:port/1", "expected a URL with host and port"),
        ("rtsp://me:secret#1@camera/1", "in user and password percent-encoded, e.g. %40 for @"),
        ("rtsp://me:secret/1@camera/1", "write @ # / ? % and blanks in user and password"),
        ("rtsp://m?e:secret@camera/1", "expected user and password percent-encoded; write"),
        ("me:secret@camera/1", "source '***@camera/1': no such file"),
        ("me:secret@camera/1", "is rtsp:// or http:// missing?"),
        ("test:?size=big", "expected size=WIDTHxHEIGHT"),
        ("test:?colour=red", "expected test:?size=WxH"),
        ("test:hello", "expected test:?size=WxH"),
    ],
)
def test_a_wrong_source_is_one_sentence(url: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_source(SourceOptions(url=url))
    assert says in str(caught.value)
    assert "secret" not in str(caught.value) and "\n" not in str(caught.value)


def test_empty_files_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    for path in (tmp_path / "empty.mp4", tmp_path):
        with pytest.raises(ConfigError):
            check_source(SourceOptions(url=str(path)))


def test_a_file_that_is_there_is_a_file_whatever_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine:" / "deep").mkdir(parents=True)
    (tmp_path / "mine:" / "deep" / "a.mp4").write_bytes(b"clip")
    assert SourceOptions(url="mine://deep/a.mp4").kind == "file"
    assert SourceOptions(url="mine://deep").kind == "folder"


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no memory file system")
def test_a_file_under_dev_is_no_webcam() -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm", suffix=".mp4") as file:
        file.write(b"clip")
        file.flush()
        options = SourceOptions(url=file.name)
        assert options.kind == "file" and not options.is_live
        check_source(options)
    assert SourceOptions(url="/dev/shm").kind == "folder"


@pytest.mark.parametrize("url", ["x" * 5000, "a/" * 3000, "nul\0.mp4", "a.mp4/b.mp4"])
def test_a_path_that_cannot_be_is_one_sentence(tmp_path: Path, url: str) -> None:
    (tmp_path / "a.mp4").write_bytes(b"clip")
    for text in (url, str(tmp_path / url)):
        with pytest.raises(ConfigError, match=r"no such file|cannot be read"):
            check_source(SourceOptions(url=text))


def test_a_pipe_is_no_recording(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(ConfigError, match="expected a video file with content"):
        check_source(SourceOptions(url=str(tmp_path / "a.mp4")))
