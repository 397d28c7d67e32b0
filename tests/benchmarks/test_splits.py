"""Dev and check share nothing and leave nothing out."""

from pathlib import Path

import pytest

from benchmarks.eval_detector import read_photos
from benchmarks.eval_grocery import read_labels
from benchmarks.eval_shelf import read_scenes
from benchmarks.splits import Split, choose_split, is_kept_back, of_split
from pipeline.errors import ConfigError

ITEMS = ["Alpro-Milk", "Arla-Milk", "Oatly-Oat-Milk", "Yoggi-Vanilla"]


def test_dev_and_check_share_nothing_and_leave_nothing_out() -> None:
    dev = of_split("grocery", ITEMS, Split.DEV, str)
    check = of_split("grocery", ITEMS, Split.CHECK, str)
    assert dev == ["Arla-Milk", "Yoggi-Vanilla"] and check == ["Alpro-Milk", "Oatly-Oat-Milk"]
    assert of_split("grocery", ITEMS, Split.ALL, str) == ITEMS


def test_a_set_may_be_all_check_or_all_dev() -> None:
    assert of_split("medicine", ITEMS, Split.DEV, str) == []
    assert of_split("banknotes", ITEMS, Split.DEV, str) == ITEMS


def test_a_set_without_a_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="--split"):
        of_split("my shop", ITEMS, Split.DEV, str)


def test_grocery_goes_by_brand_and_photos_of_other_things_are_dev(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("image,item_id\na.jpg,Alpro-Milk\nb.jpg,Arla-Milk\nc.jpg,none\n")
    asked = {split: [label.image for label in read_labels(path, split)] for split in Split}
    assert asked == {
        "dev": ["b.jpg", "c.jpg"],
        "check": ["a.jpg"],
        "all": ["a.jpg", "b.jpg", "c.jpg"],
    }
    assert read_photos(path, Split.DEV) == ["b.jpg"]


def test_shelves_go_by_scene(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    rows = [f"queries/e{n}.jpg,milk,0,0,9,9,1" for n in (1, 2, 3)]
    path.write_text("\n".join(["image,item_id,x0,y0,x1,y1,exhaustive", *rows]) + "\n")
    for split, images in ((Split.DEV, ["e1", "e3"]), (Split.CHECK, ["e2"])):
        assert [Path(scene.image).stem for scene in read_scenes(path, split)] == images
    assert len(read_scenes(path)) == 3


def test_a_set_that_is_all_check_is_not_looked_at_by_accident() -> None:
    for asked in (None, Split.DEV):
        with pytest.raises(ConfigError, match="'medicine': is kept for an issue's end"):
            choose_split("medicine", asked)
    assert choose_split("medicine", Split.CHECK) is Split.CHECK
    assert is_kept_back("beverages") and not is_kept_back("goods") and not is_kept_back("my shop")


def test_dev_is_looked_at_unless_asked_and_all_of_a_set_without_a_split() -> None:
    assert choose_split("goods", None) is choose_split("banknotes", None) is Split.DEV
    assert choose_split("goods", Split.ALL) is Split.ALL
    assert choose_split("my shop", None) is Split.ALL
