"""A path is a path: no name is read as a URL, a protocol or a pattern; no file reaches the net."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from PIL import Image

from pipeline.errors import ConfigError, SourceError
from streamer.config import parse_source
from streamer.errors import CodecError
from streamer.sources.base import SourceOptions, check_source
from streamer.sources.probe import probe, save_picture
from tests.streamer.clips import write_clip
from tests.streamer.mjpeg import QuietHandler, serving
from tests.streamer.sources.reading import pictures_of

ROOT = Path(__file__).resolve().parents[3]
NAMES = [
    b"10:00:00.mp4",
    b"concat:a|b.mp4",
    b"data:x,y.mp4",
    b"pipe:0",
    b"subfile,,start,0,end,0,,:x.mp4",
    b"file:x.mp4",
    b"%d.mp4",
    b"img%03d.jpg",
    b"a*b?[c]{d,e}.mp4",
    b"-x.mp4",
    b"a b#c?d=1&e.mp4",
    b"two\nlines.mp4",
    "ä€.mp4".encode(),
    b"latin-\xe9.mp4",
]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", 3).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_may_have_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clip: bytes, name: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    text = os.fsdecode(name)
    Path(text).write_bytes(clip)
    for source in (text, f"./{text}", str(tmp_path / text)):
        assert parse_source(source) == (None, source)
        check_source(SourceOptions(url=source))
        assert len(pictures_of(source)) == 3


@pytest.mark.parametrize("name", [b"%d.jpg", b"10:00.jpg", b"a*.jpg", b"latin-\xe9.jpg"])
def test_a_folder_and_its_pictures_may_have_any_name(tmp_path: Path, name: bytes) -> None:
    folder = tmp_path / os.fsdecode(b"concat:%d|\xe9")
    folder.mkdir()
    Image.new("RGB", (64, 48)).save(folder / os.fsdecode(name), "PNG")
    (picture,) = pictures_of(folder)
    assert picture.size_wh == (64, 48)


def test_a_name_in_another_encoding_is_printed_with_escapes(tmp_path: Path, clip: bytes) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.mp4")).write_bytes(clip)
    code = "from streamer.cli import main; main()"
    for option in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-c", code, "probe", b"caf\xe9.mp4", *option],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:strict"},
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert b"caf\\udce9.mp4" in done.stdout


def test_a_probes_picture_may_have_any_name(tmp_path: Path, clip: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(clip)
    report = probe(str(tmp_path / "a.mp4"))
    for name in (b"caf\xe9.png", b"%d:x.jpg"):
        save_picture(report, tmp_path / os.fsdecode(name))
        with Image.open(tmp_path / os.fsdecode(name)) as picture:
            assert picture.size == (320, 240)
    for name in ("a.txt", "none"):
        with pytest.raises(ConfigError, match="--picture: must end in"):
            save_picture(report, tmp_path / name)


def hls(address: str) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://{address}/a.ts\n#EXT-X-ENDLIST\n"


def concat(address: str) -> str:
    return f"ffconcat version 1.0\nfile http://{address}/a.ts\n"


@pytest.mark.parametrize(("name", "text"), [("a.m3u8", hls), ("a.ffconcat", concat)])
def test_a_playlist_on_disk_reaches_no_network(
    tmp_path: Path, name: str, text: Callable[[str], str]
) -> None:
    asked: list[str] = []

    class Server(QuietHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    with serving(Server) as address:
        (tmp_path / name).write_text(text(address))
        with pytest.raises(SourceError):
            pictures_of(tmp_path / name)
    assert not asked


def test_a_session_description_on_disk_reaches_no_network(tmp_path: Path) -> None:
    (tmp_path / "a.sdp").write_text(
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 26\n"
    )
    with pytest.raises(CodecError, match="whitelist"):
        pictures_of(tmp_path / "a.sdp")


def test_a_playlist_on_disk_plays_the_files_beside_it(tmp_path: Path) -> None:
    write_clip(tmp_path / "part.ts", 10)
    (tmp_path / "list.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\npart.ts\n#EXT-X-ENDLIST\n"
    )
    assert len(pictures_of(tmp_path / "list.m3u8")) == 10


def test_tags_in_another_encoding_and_attachments_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w", metadata_encoding="latin-1") as container:
        container.metadata["title"] = "café"
        container.add_attachment("font.ttf", "application/x-truetype-font", b"no font")
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode())
    assert [picture.size_wh for picture in pictures_of(path)] == [(64, 48)]


def test_a_codec_that_nobody_knows_is_one_sentence(tmp_path: Path, clip: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(clip.replace(b"avc1", b"zzz9").replace(b"avcC", b"zzzC"))
    with pytest.raises(CodecError, match="no decoder for its codec"):
        pictures_of(path)
