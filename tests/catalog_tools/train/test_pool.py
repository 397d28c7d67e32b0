"""The training pool: tar files and folders, views of one product, real boxes, cut-outs."""

import io
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog_tools.train.pool import cut_out, open_pool
from pipeline.errors import ConfigError


def _png(color: int, size: int = 8) -> bytes:
    return bytes(cv2.imencode(".png", np.full((size, size, 3), color, np.uint8))[1])


@pytest.fixture
def pool_folder(tmp_path: Path) -> Path:
    """A tar of two products (three views), a folder with one picture, labelled scenes."""
    with tarfile.open(tmp_path / "shop.tar", "w") as archive:
        for name in ("00001_a__mug_main.png", "00002_a__mug_back.png", "00003_a__hat_main.png"):
            data = _png(10)
            member = tarfile.TarInfo(f"shop/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    (tmp_path / "places").mkdir()
    (tmp_path / "places" / "beach.png").write_bytes(_png(200))
    for kind in ("images", "labels"):
        (tmp_path / "detect" / kind / "train").mkdir(parents=True)
    (tmp_path / "detect/images/train/one.png").write_bytes(_png(50))
    (tmp_path / "detect/labels/train/one.txt").write_text("0 0.5 0.5 0.5 0.25\n")
    (tmp_path / "detect/images/train/empty.png").write_bytes(_png(60))
    return tmp_path


def test_views_of_one_product_are_one_group(pool_folder: Path) -> None:
    pool = open_pool(pool_folder)
    assert sorted(len(group) for group in pool.groups["shop"]) == [1, 2]
    assert pool.groups["places"] == [["places/beach.png"]]
    assert pool.read("places/beach.png").shape == (8, 8, 3)


def test_sources_are_drawn_evenly_whatever_their_size(pool_folder: Path) -> None:
    pool = open_pool(pool_folder)
    rng = np.random.default_rng(0)
    drawn = [pool.draw_group(rng)[0].split("/")[0] for _ in range(400)]
    assert 150 < drawn.count("places") < 250


def test_real_boxes_are_kept_apart_from_the_pictures(pool_folder: Path) -> None:
    pool = open_pool(pool_folder)
    assert "detect" not in pool.groups
    boxes = sorted((item.xyxy_share for item in pool.labelled["train"]), key=len)
    assert boxes[0].shape == (0, 4)
    assert np.allclose(boxes[1], [[0.25, 0.375, 0.75, 0.625]])


def test_missing_or_empty_pool_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--pool: must be a folder"):
        open_pool(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="--pool: must hold pictures"):
        open_pool(tmp_path)


def test_unreadable_picture_is_named(pool_folder: Path) -> None:
    (pool_folder / "places" / "broken.png").write_bytes(b"no picture")
    pool = open_pool(pool_folder)
    with pytest.raises(ConfigError, match=r"places/broken\.png"):
        pool.read("places/broken.png")


def test_cut_out_frees_a_thing_from_its_board() -> None:
    image = np.full((80, 80, 3), 240, np.uint8)
    cv2.circle(image, (40, 40), 20, (30, 60, 200), -1)
    thing = cut_out(image)
    assert thing is not None and thing.shape[2] == 4
    assert 38 <= thing.shape[0] <= 44 and thing[20, 20, 3] == 255 and thing[0, 0, 3] < 128


@pytest.mark.parametrize("kind", ["plain", "noise"])
def test_no_cut_out_where_there_is_no_thing_on_a_plain_board(kind: str) -> None:
    image = np.full((60, 60, 3), 240, np.uint8)
    if kind == "noise":
        image = np.random.default_rng(0).integers(0, 255, (60, 60, 3)).astype(np.uint8)
    assert cut_out(image) is None


def test_a_pool_is_read_without_what_systems_put_there(pool_folder: Path) -> None:
    for name in ("@eaDir/x.png", "places/@eaDir/x.png", "places/._beach.png"):
        (pool_folder / name).parent.mkdir(exist_ok=True)
        (pool_folder / name).write_bytes(_png(1))
    with tarfile.open(pool_folder / "mac.tar", "w") as archive:
        for name in ("mac/a.png", "mac/._a.png", "__MACOSX/mac/b.png"):
            member = tarfile.TarInfo(name)
            member.size = len(_png(1))
            archive.addfile(member, io.BytesIO(_png(1)))
    before = {"shop", "places", "mac"}
    pool = open_pool(pool_folder)
    assert set(pool.groups) == before
    assert pool.groups["places"] == [["places/beach.png"]] and pool.groups["mac"] == [["mac/a.png"]]


def test_a_pool_is_read_by_content_where_the_name_is_of_another_format(
    pool_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (pool_folder / "places" / "png.heic").write_bytes(_png(3))
    (pool_folder / "places" / "bare").write_bytes(_png(4))
    (pool_folder / "places" / "real.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 60)
    (pool_folder / "places" / "notes").write_text("no picture")
    names = {group[0] for group in open_pool(pool_folder).groups["places"]}
    assert names == {"places/beach.png", "places/png.heic", "places/bare"}
    assert "places/real.heic: left out, is HEIC, which is not read here" in caplog.text
