"""Which cameras there shall be: checked as a configuration is, kept before they are, never half."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError, MagpieError, WorkerError
from streamer.cameras import Wanted
from streamer.config import AppConfig, CameraOptions
from streamer.state_file import CameraChange, StateFile
from streamer.wanted_cameras import WantedCameras
from tests.fakes import write_scripted_catalog

LIVE = "test:?size=320x240"


@pytest.fixture
def config(tmp_path: Path) -> AppConfig:
    shelf = write_scripted_catalog(tmp_path / "shelf")
    return AppConfig(catalog=shelf, cameras={"door": CameraOptions(url=LIVE)})


def wanted(config: AppConfig, tmp_path: Path) -> WantedCameras:
    return WantedCameras(config, StateFile(tmp_path / "state.json"))


def test_a_camera_that_names_no_catalog_has_the_runs(config: AppConfig, tmp_path: Path) -> None:
    made = wanted(config, tmp_path)
    assert made.cameras["door"] == Wanted(CameraOptions(url=LIVE, catalog=config.catalog))
    assert made.laid["door"].section == {"url": LIVE}
    other = write_scripted_catalog(tmp_path / "other")
    made.reread(config.model_copy(update={"catalog": other}))
    assert made.cameras["door"].options.catalog == other


def test_paths_of_a_request_are_kept_whole(
    config: AppConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mp4").write_bytes(b"film")
    section = wanted(config, tmp_path).read("hall", {"url": "clip.mp4", "catalog": "shelf"})
    assert section == {"url": str(tmp_path / "clip.mp4"), "catalog": str(tmp_path / "shelf")}


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({}, r"cameras\.hall\.url: is required"),
        ({"url": "nothing://x"}, r"cameras\.hall\.url: "),
        ({"url": LIVE, "max_fpz": 5}, r"cameras\.hall\.max_fpz: unknown key; did you mean"),
        ({"url": LIVE, "max_fps": "many"}, r"cameras\.hall\.max_fps: must be a valid number"),
        ({"url": LIVE, "catalog": "/none"}, r"cameras\.hall\.catalog: .* no such directory"),
        ({"url": "/none.mp4"}, r"cameras\.hall\.url: .* no such file"),
        ({"url": "rtsp://me:Geheim7@", "max_fps": []}, r"camera hall: |cameras\.hall"),
    ],
)
def test_what_is_wrong_is_told_as_of_a_configuration(
    config: AppConfig, tmp_path: Path, section: dict[str, object], told: str
) -> None:
    with pytest.raises(MagpieError, match=told) as caught:
        wanted(config, tmp_path).read("hall", section)
    assert "Geheim7" not in str(caught.value)


def test_a_change_that_cannot_be_kept_is_not_done(config: AppConfig, tmp_path: Path) -> None:
    made = wanted(config, tmp_path)
    (tmp_path / "state.json.new").mkdir()
    with pytest.raises(WorkerError):
        made.keep("door", made.change_of("door").model_copy(update={"is_removed": True}))
    assert list(made.cameras) == ["door"] and made.removed == ()


def test_a_changed_camera_with_a_mistake_keeps_no_other_from_starting(
    config: AppConfig, tmp_path: Path
) -> None:
    kept = StateFile(tmp_path / "state.json")
    kept.keep({"hall": CameraChange(options={"url": LIVE, "catalog": str(tmp_path / "gone")})})
    made = wanted(config, tmp_path)
    assert list(made.cameras) == ["door", "hall"]
    assert list(made.at_start().cameras) == ["door"]


def test_what_is_kept_and_is_no_camera_names_the_file(config: AppConfig, tmp_path: Path) -> None:
    StateFile(tmp_path / "state.json").keep(
        {"hall": CameraChange(options={"url": LIVE, "max_fpz": 5})}
    )
    with pytest.raises(ConfigError, match=r"state\.json': .*; mend it, or move it away"):
        wanted(config, tmp_path)


def test_only_a_run_that_could_never_have_a_camera_is_refused(tmp_path: Path) -> None:
    nothing = AppConfig()
    wanted(nothing, tmp_path).check_any(may_be_empty=True)
    with pytest.raises(ConfigError, match="a run needs at least one source"):
        wanted(nothing, tmp_path).check_any(may_be_empty=False)
    StateFile(tmp_path / "state.json").keep({"hall": CameraChange(options={"url": LIVE})})
    wanted(nothing, tmp_path).check_any(may_be_empty=False)
