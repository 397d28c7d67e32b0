"""Results on disk: whole or not at all, told by us alone when the disk is full."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.picture_file import write_figure, write_picture, write_whole

NOISE = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """A disk that takes no longer files; root is refused as well."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def test_a_picture_is_written_with_its_folder(tmp_path: Path) -> None:
    write_picture(tmp_path / "new" / "a.png", NOISE)
    assert np.array_equal(cv2.imread(str(tmp_path / "new" / "a.png")), NOISE)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(b"the old one")
    with files_of_at_most(10_000), pytest.raises(ConfigError, match=r"--plot: .*\(File too large"):
        write_picture(tmp_path / "a.png", NOISE, "--plot")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"the old one"
    assert capfd.readouterr() == ("", "")


def test_a_device_is_written_to_and_not_replaced(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_whole(Path("/dev/full"), b"x" * 100_000)
    assert Path("/dev/full").is_char_device()
    assert capfd.readouterr() == ("", "")


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["a", "a.txt", "a.xyz"])
def test_a_format_that_is_none_is_told(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=r"--picture: must end in .png or .jpg, got '.*a"):
        write_picture(tmp_path / name, NOISE, "--picture")
    assert capfd.readouterr() == ("", "")


def test_a_figure_is_written_by_its_suffix(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    write_figure(tmp_path / "a.svg", Figure(figsize=(1, 1)))
    write_figure(tmp_path / "plain", Figure(figsize=(1, 1)))
    assert b"<svg" in (tmp_path / "a.svg").read_bytes()
    assert (tmp_path / "plain").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match=r"--plot: must end in .png, .svg or .pdf"):
        write_figure(tmp_path / "a.xyz", Figure(figsize=(1, 1)), "--plot")
