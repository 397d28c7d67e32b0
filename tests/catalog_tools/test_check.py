"""Looking a catalog over: damage, poor pictures, twins; lists and switching back."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog_tools.build import build_catalog
from catalog_tools.check import check_catalog
from catalog_tools.listing import list_catalog_generations, list_catalog_items, roll_back
from catalog_tools.reference_quality import (
    MAX_BLUR,
    MIN_HAND,
    ReferenceQuality,
    count_beside,
    measure_blur,
    measure_hand,
)
from catalog_tools.synthesize.packs import render_pack
from pipeline.catalog import current_generation
from pipeline.catalog_format import generation_folder
from pipeline.errors import CatalogError
from pipeline.types import Detections
from tests.catalog_tools.drawn_pictures import draw
from tests.fake_networks import FakeEmbedder, make_networks


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    first = draw(images / "a" / "1.png", 1)
    draw(images / "b" / "1.png", 2)
    draw(images / "a" / "2.png", 3)
    picture = cv2.imread(str(first))
    (images / "c").mkdir()
    cv2.imwrite(str(images / "c" / "nearly_a.png"), cv2.add(picture, 3))
    (images / "copy").mkdir()
    (images / "copy" / "of_b.png").write_bytes((images / "b" / "1.png").read_bytes())
    for name in ("blurred", "plain", "small"):
        (images / name).mkdir()
    noise = cv2.imread(str(draw(tmp_path / "other.png", 9)))
    cv2.imwrite(str(images / "blurred" / "1.png"), cv2.GaussianBlur(noise, None, 8))
    plain = np.full((200, 200, 3), 90, np.uint8)
    cv2.rectangle(plain, (50, 50), (150, 150), (0, 0, 255), -1)
    cv2.imwrite(str(images / "plain" / "1.png"), plain)
    cv2.imwrite(str(images / "small" / "1.png"), cv2.resize(noise[:, ::-1], (60, 80)))
    out = tmp_path / "shelf"
    build_catalog(images, out, make_networks(FakeEmbedder()), trim=False)
    return out


def test_poor_pictures_and_twins_are_found(shelf: Path) -> None:
    steps: list[tuple[int, int]] = []
    report = check_catalog(shelf, lambda done, total: steps.append((done, total)))
    assert report.damaged == () and steps[-1] == (8, 8)
    found = {(finding.kind, finding.item_id) for finding in report.findings}
    assert {
        ("small", "small"),
        ("blurred", "blurred"),
        ("plain", "plain"),
        ("same_picture", "a"),
        ("same_picture", "b"),
    } <= found
    assert not {("small", "a"), ("blurred", "a"), ("plain", "a"), ("near_twin", "b")} & found
    same = next(f for f in report.findings if (f.kind, f.item_id) == ("same_picture", "a"))
    assert same.image == "a/1.png" and "c/nearly_a.png of 'c'" in same.text


def test_every_reference_has_a_score_and_the_poorest_come_first(shelf: Path) -> None:
    report = check_catalog(shelf, lambda done, total: None)
    scores = [quality.score for quality in report.qualities]
    assert len(scores) == 8 and scores == sorted(scores) and 0 <= scores[0] < scores[-1] <= 1
    of_item = {quality.item_id: quality.score for quality in report.qualities}
    assert max(of_item[name] for name in ("small", "plain")) < 0.4
    assert of_item["copy"] < 0.05, "the same picture serves two items"


def test_things_beside_the_main_one_are_clutter(shelf: Path) -> None:
    boxes = np.array([[10, 10, 100, 190], [30, 30, 60, 60], [110, 40, 170, 180]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8, 0.6], np.float32), np.zeros(3, np.int32))
    assert count_beside(found, (180, 240)) == 1, "what lies on the main thing is part of it"
    report = check_catalog(shelf, lambda done, total: None, detect=lambda picture: found)
    assert {f.kind for f in report.findings} >= {"clutter"}
    assert max(quality.score for quality in report.qualities) <= 0.5


def test_skin_from_a_border_is_told_and_a_flat_print_of_its_colour_is_not() -> None:
    picture = np.full((240, 200, 3), (200, 120, 40), np.uint8)
    skin = np.array([120, 150, 205], np.float32)
    printed = picture.copy()
    printed[:100, :90] = skin
    shade = np.linspace(0.75, 1.15, 90, dtype=np.float32)[None, :, None]
    held = picture.copy()
    held[:140, :90] = np.clip(skin * shade, 0, 255).repeat(140, 0).astype(np.uint8)
    assert measure_hand(held) > MIN_HAND > measure_hand(printed) == 0


def test_a_score_is_the_worst_respect() -> None:
    good = ReferenceQuality("a", "a.jpg", (600, 800), 0.2, 300, 0.0, 0, 0.5)
    assert good.score == 1.0
    assert replace(good, n_keypoints=15).score == pytest.approx(0.1)
    assert replace(good, nearest_similarity=0.99, n_keypoints=15).score == pytest.approx(0.05)


def test_damage_is_found_by_content(shelf: Path) -> None:
    path = generation_folder(shelf, 1) / "descriptors.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    (generation_folder(shelf, 1) / "views.npy").unlink()
    report = check_catalog(shelf, lambda done, total: None)
    assert set(report.damaged) == {
        "descriptors.npy: its content has changed",
        "views.npy: No such file or directory",
    }
    assert report.findings == ()


def test_blur_grows_with_blur() -> None:
    picture = render_pack(3, (240, 320))
    blurs = [measure_blur(picture)]
    blurs += [measure_blur(cv2.GaussianBlur(picture, None, sigma)) for sigma in (1, 2, 4)]
    assert blurs == sorted(blurs) and 0 <= blurs[0] < 0.35 < MAX_BLUR < blurs[-1] <= 1
    assert measure_blur(np.zeros((20, 20, 3), np.uint8)) == 1.0


def test_lists(shelf: Path) -> None:
    records = {record["item_id"]: record for record in list_catalog_items(shelf)}
    assert len(records) == 7
    assert records["a"] == {"item_id": "a", "label": "a", "pictures": 2}
    (generation,) = list_catalog_generations(shelf)
    assert generation["in_use"] and generation["pictures"] == 8


def test_rolling_back_and_forth(shelf: Path, tmp_path: Path) -> None:
    build_catalog(tmp_path / "images", shelf, make_networks(FakeEmbedder(), "cd" * 32))
    assert roll_back(shelf, None) == 1 == current_generation(shelf)
    with pytest.raises(CatalogError, match="generation 1 is the oldest on disk"):
        roll_back(shelf, None)
    assert roll_back(shelf, 2) == 2 == current_generation(shelf)
    with pytest.raises(CatalogError, match="generation must be one of 1, 2, got 7"):
        roll_back(shelf, 7)
    (shelf / "CURRENT").write_text("garbage")
    assert roll_back(shelf, None) == 2 == current_generation(shelf)


def test_rolling_back_to_a_damaged_generation_is_refused(shelf: Path, tmp_path: Path) -> None:
    build_catalog(tmp_path / "images", shelf, make_networks(FakeEmbedder(), "cd" * 32))
    (generation_folder(shelf, 1) / "items.json").unlink()
    with pytest.raises(CatalogError, match=r"items.json is missing"):
        roll_back(shelf, 1)
    assert current_generation(shelf) == 2
