"""The detector's batches: scenes, real boxes of named classes, pictures of nothing."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog_tools.train.batches_ahead import Clock
from catalog_tools.train.detector_batches import DetectorBatches, real_mosaic, real_scene
from catalog_tools.train.options import DetectorOptions
from catalog_tools.train.pool import LabelledPicture
from catalog_tools.train.user_boxes import read_user_boxes
from pipeline.errors import ConfigError

CLOCK = Clock(0.0, 0.0, 1e12)


def white_card(class_number: int = 0) -> LabelledPicture:
    """A white card on black, and its box."""
    image = np.zeros((100, 200, 3), np.uint8)
    image[20:60, 50:150] = 255
    share = np.array([[0.25, 0.2, 0.75, 0.6]], np.float32)
    encoded = bytes(cv2.imencode(".png", image)[1])
    return LabelledPicture(encoded, share, np.array([class_number]))


@pytest.fixture
def boxes(tmp_path: Path) -> Path:
    """Twelve labelled pictures of two classes."""
    folder = tmp_path / "mine"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    (folder / "names.txt").write_text("mug\nbottle\n")
    for number in range(12):
        (folder / "images" / f"{number:02}.png").write_bytes(white_card().encoded)
        (folder / "labels" / f"{number:02}.txt").write_text(f"{number % 2} 0.5 0.4 0.5 0.4\n")
    return folder


def test_real_scene_moves_boxes_with_the_pixels() -> None:
    for seed in range(12):
        out, rows = real_scene(np.random.default_rng(seed), white_card(3), (160, 96), 0.2)
        assert out.shape == (96, 160, 3)
        for x0, y0, x1, y1, number in rows.round().astype(int):
            assert number == 3
            inside = out[y0 + 3 : y1 - 3, x0 + 3 : x1 - 3]
            assert inside.mean() > 130, seed
            out[y0:y1, x0:x1] = 0
            assert (out > 200).mean() < 0.03, seed


def test_mosaic_holds_four_pictures_and_their_boxes_stay_inside() -> None:
    cards = [white_card(number) for number in range(4)]
    seen: set[int] = set()
    for seed in range(6):
        out, rows = real_mosaic(np.random.default_rng(seed), cards, (224, 192))
        assert out.shape == (192, 224, 3)
        assert (rows[:, :2] >= 0).all() and (rows[:, 2:4] <= (224, 192)).all()
        seen |= set(rows[:, 4].astype(int))
        for x0, y0, x1, y1 in rows[:, :4].astype(int):
            inside = out[y0:y1, x0:x1].astype(float)
            assert inside.mean() > out.mean()
    assert seen == {0, 1, 2, 3}


def test_small_sources_of_real_boxes_are_not_drowned(tmp_path: Path) -> None:
    for kind, text in (("images", None), ("labels", "0 0.5 0.4 0.5 0.4\n")):
        folder = tmp_path / "pool" / "detect" / kind / "train"
        folder.mkdir(parents=True)
        for name in [*(f"card_{number:03}" for number in range(81)), "mug_0"]:
            if text is None:
                (folder / f"{name}.png").write_bytes(white_card().encoded)
            else:
                (folder / f"{name}.txt").write_text(text)
    (tmp_path / "pool" / "places").mkdir()
    (tmp_path / "pool" / "places" / "one.png").write_bytes(white_card().encoded)
    options = DetectorOptions(out=tmp_path, minutes=1, pool=tmp_path / "pool")
    batches = DetectorBatches(options, CLOCK)
    assert batches.odds_of("mug") == pytest.approx(0.1)
    assert batches.odds_of("card") == pytest.approx(0.9)


def test_users_classes_come_with_their_boxes(boxes: Path, tmp_path: Path) -> None:
    users = read_user_boxes(boxes)
    assert users.names == ("mug", "bottle")
    assert (len(users.train), len(users.check)) == (11, 1)
    options = DetectorOptions(out=tmp_path, minutes=1, boxes=boxes, batch=12)
    batches = DetectorBatches(options, CLOCK)
    assert batches.names == ("mug", "bottle")
    images, targets = batches.make(3)
    assert images.shape[:2] == (12, 3) and len(targets) == 12
    rows = np.concatenate(targets)
    assert set(rows[:, 4]) == {0.0, 1.0}
    assert sum(len(t) == 0 for t in targets) >= 1, "some pictures show nothing"
    again = DetectorBatches(options, CLOCK).make(3)
    np.testing.assert_array_equal(images, again[0])


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("labels/03.txt", "7 0.5 0.5 0.1 0.1\n", r"03\.txt.*a class must be 0 to 1.*got 7"),
        ("labels/03.txt", "mug 0.5 0.5\n", r"03\.txt.*each line must be"),
        ("names.txt", "mug\nmug\n", "name each class once"),
        ("names.txt", "", "name each class once"),
    ],
)
def test_mistakes_in_a_users_folder_are_named(
    boxes: Path, file: str, content: str, told: str
) -> None:
    (boxes / file).write_text(content)
    with pytest.raises(ConfigError, match=told):
        read_user_boxes(boxes)


def test_a_catalog_beside_classes_needs_the_class_item(boxes: Path, tmp_path: Path) -> None:
    items = tmp_path / "items"
    items.mkdir()
    (items / "card.png").write_bytes(white_card().encoded)
    options = DetectorOptions(out=tmp_path, minutes=1, boxes=boxes, catalog=items)
    with pytest.raises(ConfigError, match="must have 'item'"):
        DetectorBatches(options, CLOCK)
    (boxes / "names.txt").write_text("mug\nitem\n")
    assert len(DetectorBatches(options, CLOCK).items) == 1


def test_catalog_items_stand_in_the_scenes(tmp_path: Path) -> None:
    items = tmp_path / "items"
    items.mkdir()
    card = np.full((60, 60, 3), (0, 255, 0), np.uint8)  # no pack is all of this green
    cv2.imwrite(str(items / "green.png"), card)
    options = DetectorOptions(out=tmp_path, minutes=1, catalog=items, batch=6)
    images, targets = DetectorBatches(options, CLOCK).make(0)
    assert all((rows[:, 4] == 0).all() for rows in targets)
    red, green, blue = (images[:, channel].astype(int) for channel in range(3))
    assert ((green - red > 90) & (green - blue > 90)).mean() > 0.01


def test_users_pictures_are_those_that_are_some_by_content(boxes: Path) -> None:
    images = boxes / "images"
    (images / "00.png").rename(images / "00.heic")
    (images / "@eaDir").mkdir()
    (images / "@eaDir" / "00.png").write_bytes(white_card().encoded)
    (images / "._01.png").write_bytes(b"resource fork")
    (images / "real.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 60)
    users = read_user_boxes(boxes)
    assert len(users.train) + len(users.check) == 12
