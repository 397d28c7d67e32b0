"""configs/: the reference holds every key with its default; every example is valid."""

from pathlib import Path

import pytest

from streamer.config import AppConfig, CameraOptions
from streamer.config_reference import EXAMPLE_CAMERA, EXAMPLE_URL, render_reference
from streamer.yaml_file import read_yaml

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def test_reference_equals_what_the_program_writes() -> None:
    text = (CONFIGS / "reference.yaml").read_text()
    assert text == render_reference(), "run: magpie config reference > configs/reference.yaml"


def test_reference_holds_the_defaults() -> None:
    content, _ = read_yaml(CONFIGS / "reference.yaml")
    expected = AppConfig(cameras={EXAMPLE_CAMERA: CameraOptions(url=EXAMPLE_URL)})
    assert AppConfig.model_validate(content) == expected


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_fits_the_schema(path: Path) -> None:
    content, _ = read_yaml(path)
    config = AppConfig.model_validate(content)
    assert config.cameras
    for camera in config.cameras.values():
        assert camera.kind
