"""How the command line of `magpie run` becomes a configuration."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from streamer.cli.daemon import add_catalogs, add_sources
from streamer.config import AppConfig, default_name, parse_source
from streamer.config_file import KeyPath, load_config
from tests.fakes import write_scripted_catalog


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two catalogs, a file that passes for a clip, and a configuration with one camera."""
    for name in ("shelf", "wall"):
        write_scripted_catalog(tmp_path / name)
    (tmp_path / "front.mp4").write_bytes(b"clip")
    (tmp_path / "my.yaml").write_text("catalog: wall\ncameras: {door: {url: 'test:'}}\n")
    return tmp_path


def configured(
    folder: Path,
    *sources: str,
    catalogs: tuple[str, ...] = (),
    realtime: bool = False,
    config: Path | None = None,
) -> AppConfig:
    overrides: dict[KeyPath, tuple[object, str]] = {}
    add_sources(overrides, list(sources), realtime, False, config)
    add_catalogs(overrides, [text.replace("@", str(folder)) for text in catalogs])
    return load_config(config, overrides)


def test_sources_get_names_and_one_catalog_or_their_own(folder: Path) -> None:
    config = configured(
        folder, str(folder / "front.mp4"), "hall=rtsp://h/1", "rtsp://h/2",
        catalogs=("@/shelf", "hall=@/wall"), realtime=True,
    )  # fmt: skip
    assert list(config.cameras) == ["front", "hall", "cam0"]
    assert config.catalog_of("front") == config.catalog_of("cam0") == folder / "shelf"
    assert config.catalog_of("hall") == folder / "wall"
    assert all(camera.realtime for camera in config.cameras.values())


def test_sources_join_those_of_the_file_and_replace_one_of_the_same_name(folder: Path) -> None:
    file = folder / "my.yaml"
    joined = configured(folder, "hall=test:?fps=5", config=file)
    assert set(joined.cameras) == {"door", "hall"}
    assert joined.catalog_of("hall") == folder / "wall"
    replaced = configured(folder, "door=test:?fps=5", config=file)
    assert {name: camera.url for name, camera in replaced.cameras.items()} == {
        "door": "test:?fps=5"
    }


def test_a_source_takes_the_place_of_both_streams_of_the_file(folder: Path) -> None:
    file = folder / "two.yaml"
    streams = "{url: 'rtsp://a/1', detect_url: 'rtsp://a/2'}"
    file.write_text(f"catalog: shelf\ncameras: {{door: {streams}}}\n")
    assert configured(folder, config=file).cameras["door"].detect_url == "rtsp://a/2"
    replaced = configured(folder, "door=test:?fps=5", config=file).cameras["door"]
    assert (replaced.url, replaced.detect_url) == ("test:?fps=5", None)


def test_flags_for_files_reach_the_cameras_of_the_file_when_none_is_named(folder: Path) -> None:
    assert configured(folder, realtime=True, config=folder / "my.yaml").cameras["door"].realtime


def test_catalog_for_a_camera_that_is_not_there_is_told(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"cameras\.hall\.url \(--catalog\): is required"):
        configured(folder, "door=test:", catalogs=("@/shelf", "hall=@/wall"))


def test_a_name_of_a_source_is_told_from_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.mp4").write_bytes(b"clip")
    long = "rtsp://h/" + "x" * 5000
    assert parse_source("a=b.mp4") == (None, "a=b.mp4")
    assert parse_source("a=c.mp4") == ("a", "c.mp4")
    assert parse_source("./a=c.mp4") == (None, "./a=c.mp4")
    assert parse_source(f"door={long}") == ("door", long)
    assert default_name(long, set()) == "cam0"
    assert default_name("nul\0", {"cam0"}) == "cam1"


def test_a_files_paths_may_begin_with_a_tilde(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    file = folder / "my.yaml"
    file.write_text("catalog: ~/wall\ncameras: {door: {url: ~/front.mp4}}\n")
    config = load_config(file)
    assert config.cameras["door"].url == str(folder / "front.mp4")
    file.write_text("catalog: ~nobody-here/wall\ncameras: {door: {url: 'test:'}}\n")
    with pytest.raises(ConfigError, match="catalog: the user whose home folder it names has none"):
        load_config(file)
