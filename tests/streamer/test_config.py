"""Configuration: every mistake at once, each with its key, its line and a way out."""

from pathlib import Path

import pytest

from pipeline.errors import CatalogError, ConfigError
from streamer.config import AppConfig, default_name, parse_source
from streamer.config_file import load_config
from streamer.yaml_file import read_yaml


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A directory that names a generation: enough for what the parent checks."""
    folder = tmp_path / "shelf"
    (folder / "generations" / "000001").mkdir(parents=True)
    (folder / "CURRENT").write_text("1\n")
    return folder


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def mistake(path: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(path)
    return str(raised.value)


def test_file_gives_cameras_with_their_catalogs(tmp_path: Path, catalog: Path) -> None:
    path = write(
        tmp_path,
        "catalog: shelf\ncameras:\n  door: {url: 'rtsp://a/1', max_fps: 5}\n"
        "  2: {url: 0, catalog: shelf}\npublish: {endpoint: 'tcp://127.0.0.1:7000'}\n",
    )
    config = load_config(path)
    assert list(config.cameras) == ["door", "2"]
    assert config.catalog_of("door") == config.catalog_of("2") == catalog
    assert config.cameras["2"].kind == "webcam"
    assert config.publish.endpoint == "tcp://127.0.0.1:7000"


@pytest.mark.parametrize(
    "name", ["no", "on", "y", "1", "0x10", "1e3", "2024-01-01", "null", "true", "007"]
)
def test_a_camera_is_called_as_it_is_written(tmp_path: Path, catalog: Path, name: str) -> None:
    config = load_config(write(tmp_path, f"catalog: shelf\ncameras:\n  {name}: {{url: 'test:'}}\n"))
    assert list(config.cameras) == [name]


@pytest.mark.parametrize("name", ["2024", "no", "12:30", "1.0", "2024-01-01", "1_000"])
def test_a_folder_is_called_as_it_is_written(tmp_path: Path, catalog: Path, name: str) -> None:
    catalog.rename(tmp_path / name)
    path = write(tmp_path, f"catalog: {name}\ncameras: {{door: {{url: 0}}}}\nevidence: {name}\n")
    config = load_config(path)
    assert config.catalog_of("door") == tmp_path / name == config.evidence
    assert config.cameras["door"].kind == "webcam"


def test_numbers_booleans_and_nothing_are_still_what_they_are(
    tmp_path: Path, catalog: Path
) -> None:
    config = load_config(
        write(
            tmp_path,
            "catalog: shelf\nduration_s: 1.5\nmatchers: 2\nevidence:\nsummary_json: ~\n"
            "matcher: {decide: {exact: null}, search: {k: 7}}\n"
            "cameras:\n  door:\n    {url: 'test:', realtime: yes, loop: False, "
            "regions: [[0, 0, .5, 1]]}\n",
        )
    )
    door = config.cameras["door"]
    assert (config.duration_s, config.matchers, config.evidence) == (1.5, 2, None)
    assert (door.realtime, door.loop, door.regions) == (True, False, ((0, 0, 0.5, 1),))
    assert config.summary_json is None and config.matcher.decide.exact is None
    assert config.matcher.search.k == 7


def test_keys_may_be_merged_from_elsewhere_in_the_file(tmp_path: Path, catalog: Path) -> None:
    text = (
        "catalog: shelf\ncameras:\n  door: &usual {url: 'test:', max_fps: 5}\n"
        "  till: {<<: *usual, max_fps: 7}\n"
    )
    cameras = load_config(write(tmp_path, "\ufeff" + text.replace("\n", "\r\n"))).cameras
    assert (cameras["till"].url, cameras["till"].max_fps) == ("test:", 7)


def test_a_small_file_that_unfolds_to_a_large_one_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "at most 20000 values" in mistake(write(tmp_path, "\n".join(lines)))


def test_command_line_wins_over_the_file(tmp_path: Path, catalog: Path) -> None:
    path = write(tmp_path, "catalog: elsewhere\ncameras: {door: {url: 'test:'}}\n")
    config = load_config(
        path, {("catalog",): (str(catalog), "--catalog"), ("duration_s",): (3.0, "--duration")}
    )
    assert config.catalog_of("door") == catalog
    assert config.duration_s == 3.0


def test_every_mistake_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    text = mistake(
        write(
            tmp_path,
            "catlog: shelf\ncameras:\n  door:\n    url: rtsp://a/1\n    transprt: udp\n"
            "    max_fps: -1\n  a b: {url: 'test:'}\nmatcher:\n  verify: {method: magic}\n",
        )
    )
    assert "5 mistakes" in text
    assert "catlog (line 1): unknown key; did you mean 'catalog'?" in text
    assert "cameras.door.transprt (line 5): unknown key; did you mean 'transport'?" in text
    assert "cameras.door.max_fps (line 6): must be greater than or equal to 0, got -1" in text
    assert "cameras.a b (line 7): a name is 1 to 64 letters" in text
    assert "matcher.verify.method (line 9): must be 'rootsift+lightglue', 'rootsift'," in text
    assert "'orb_ssim', got 'magic'" in text


def test_keys_that_were_replaced_are_told_with_what_to_write(tmp_path: Path) -> None:
    text = mistake(write(tmp_path, "matcher: {verify: {verifier: sift}}\n"))
    assert "matcher.verify.verifier (line 1): method names the whole way of matching now" in text
    assert "write `method: rootsift` in its place" in text
    text = mistake(write(tmp_path, "matcher: {verify: {keypoints: xfeat}}\n"))
    assert "write `method: xfeat+lighterglue` in its place" in text


def test_unknown_key_without_a_near_miss_names_the_known_ones(tmp_path: Path) -> None:
    text = mistake(write(tmp_path, "matcher: {search: {zzz: 1}}\n"))
    assert "matcher.search.zzz (line 1): unknown key; known here: k, exact_up_to_views" in text


def test_missing_files_and_catalogs_are_told_together(tmp_path: Path) -> None:
    text = mistake(
        write(tmp_path, "cameras:\n  a: {url: gone.mp4}\n  b: {url: 'htp://x/1', catalog: nope}\n")
    )
    assert "cameras.a.url (line 2)" in text and "gone.mp4" in text
    assert "cameras.a.catalog (line 2): cameras.a.catalog: a camera needs a catalog" in text
    assert "cameras.b.url (line 3)" in text and "expected rtsp://" in text
    assert "cameras.b.catalog (line 3)" in text


def test_a_cameras_small_stream_is_read_as_its_url_is(tmp_path: Path, catalog: Path) -> None:
    (tmp_path / "large.mp4").write_bytes(b"x")
    (tmp_path / "small.mp4").write_bytes(b"x")
    text = (
        "catalog: shelf\ncameras:\n"
        "  door: {url: 'RTSP://a/1', detect_url: 'RTSPS://a/2', skip_frame: nonref, max_fps: 5}\n"
        "  film: {url: large.mp4, detect_url: small.mp4}\n  hall: {url: 'rtsp://b/1'}\n"
    )
    cameras = load_config(write(tmp_path, text)).cameras
    main, searched = cameras["door"].main, cameras["door"].searched
    assert main is not None
    assert (main.url, main.skip_frame, main.max_fps) == ("rtsp://a/1", "nonref", 0)
    assert (searched.url, searched.skip_frame, searched.max_fps) == ("rtsps://a/2", "none", 5)
    assert cameras["film"].detect_url == str(tmp_path / "small.mp4")
    assert cameras["hall"].main is None and cameras["hall"].searched.url == "rtsp://b/1"


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        ("url: 'rtsp://a/1', detect_url: 'htp://u:hunter2@a/2'", "expected rtsp://"),
        ("url: 'rtsp://a/1', detect_url: gone.mp4", "no such file"),
        ("url: 'rtsp://a/1', detect_url: 'rtsp://u:hun/ter2@a#2'", "percent-encoded"),
        ("url: 'rtsp://a/1', detect_url: 'test:?paced=0'", "both streams live, or both recordings"),
        ("url: 'test:?paced=0', detect_url: 'rtsp://u:hunter2@a/2'", "both streams live, or both"),
    ],
)
def test_a_mistake_in_a_cameras_small_stream_is_told_with_its_line(
    tmp_path: Path, catalog: Path, streams: str, expected: str
) -> None:
    told = mistake(write(tmp_path, f"catalog: shelf\ncameras:\n  door: {{{streams}}}\n"))
    assert "cameras.door.detect_url (line 3): source" in told and expected in told
    assert "hunter2" not in told and "hun/ter2" not in told


def test_password_never_shows_in_a_mistake(tmp_path: Path) -> None:
    text = mistake(
        write(
            tmp_path,
            "cameras: {door: {url: 'htp://root:hunter2@cam/1', fsp: 'rtsp://u:hunter2@c'}}",
        )
    )
    assert "hunter2" not in text and "fsp" in text
    text = mistake(write(tmp_path, "cameras: {door: {url: 'htp://root:hunter2@cam/1'}}\n"))
    assert "hunter2" not in text and "htp://***@cam/1" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cameras: [\n", "(line 2): not YAML"),
        ("a: 1\na: 2\n", "a (line 2): given before (line 1)"),
        ("- a\n- b\n", "expected keys and values, got 'a list'"),
        ("a:\n\t- b\n", "(line 2): not YAML"),
        ("? [a, b]\n: c\n", "(line 1): a key must be a plain value"),
        ("cameras: {<<: 3}\n", "(line 1): << takes keys and values"),
        ("just words\n", "expected keys and values, got 'a single value'"),
        ("publish: {endpoint: 'tcp://0.0.0.0:5555'}\n", "without keys it must be a loopback"),
        ("publish: {endpoint: 'ftp://x'}\n", "expected tcp://HOST:PORT"),
        ("duration_s: long\n", "duration_s (line 1): must be a valid number"),
        ("{}\n", "a run needs at least one source"),
    ],
)
def test_bad_files_are_told_in_one_sentence(tmp_path: Path, text: str, expected: str) -> None:
    told = mistake(write(tmp_path, text))
    assert expected in told
    assert "\n" not in told


def test_single_missing_catalog_keeps_its_own_kind_of_error(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="nowhere"):
        load_config(
            None,
            {
                ("cameras", "door", "url"): ("test:", "SOURCE"),
                ("catalog",): (str(tmp_path / "nowhere"), "--catalog"),
            },
        )


def test_missing_config_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("door=rtsp://h/1?a=b", ("door", "rtsp://h/1?a=b")),
        ("rtsp://h/1?a=b", (None, "rtsp://h/1?a=b")),
        ("0", (None, "0")),
        ("a b=clip.mp4", (None, "a b=clip.mp4")),
        ("clip=clip.mp4", ("clip", "clip.mp4")),
    ],
)
def test_source_may_carry_a_name(text: str, expected: tuple[str | None, str]) -> None:
    assert parse_source(text) == expected


def test_file_that_is_called_like_a_named_source_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a=b.mp4").touch()
    assert parse_source("a=b.mp4") == (None, "a=b.mp4")


def test_names_come_from_the_file_or_count_up(tmp_path: Path) -> None:
    clip = tmp_path / "front door.mp4"
    clip.touch()
    assert default_name(str(clip), set()) == "front-door"
    assert default_name(str(clip), {"front-door"}) == "front-door-2"
    assert default_name("rtsp://h/1", set()) == "cam0"
    assert default_name("rtsp://h/2", {"cam0"}) == "cam1"


def test_options_are_frozen_and_the_default_run_has_no_camera() -> None:
    with pytest.raises(ValueError, match="frozen"):
        AppConfig().matchers = 2  # type: ignore[misc]
    assert AppConfig().cameras == {}


def test_regions_of_a_camera_are_shares_of_its_frame(tmp_path: Path) -> None:
    text = mistake(
        write(tmp_path, "cameras:\n  a:\n    url: 'test:'\n    regions: [[0.5, 0, 0.2, 1]]\n")
    )
    assert "cameras.a.regions (line 4): expected x0 < x1 and y0 < y1" in text


def test_paths_count_from_the_file_and_names_of_weights_stay_names(
    tmp_path: Path, catalog: Path
) -> None:
    (tmp_path / "mine.safetensors").touch()
    text = (
        "catalog: shelf\ncameras: {door: {url: 'rtsp://a/1'}}\n"
        "matcher:\n  detect: {weights: yolo26n}\n  embed: {weights: mine.safetensors}\n"
        "  verify: {weights: nets/lg.safetensors, keypoint_weights: aliked-n16rot}\n"
    )
    matcher = load_config(write(tmp_path, text)).matcher
    assert matcher.detect.weights == Path("yolo26n")
    assert matcher.embed.weights == tmp_path / "mine.safetensors"
    assert matcher.verify.weights == tmp_path / "nets" / "lg.safetensors"
    assert matcher.verify.keypoint_weights == Path("aliked-n16rot")
