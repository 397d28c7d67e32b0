"""The photos and distractors that the grocery evaluation makes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.eval_grocery import add_distractors, turn, turn_photos
from benchmarks.eval_setup import find_data, finish, take
from pipeline.errors import ConfigError


def picture(path: Path, value: int, side_px: int = 32) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((side_px, side_px, 3), value, np.uint8))


def test_a_quarter_turn_is_exact_and_clockwise() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    assert np.abs(turn(image, 0).astype(int) - image).max() <= 1
    turned = turn(image, 90).astype(int)
    assert np.abs(turned - cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)).max() <= 2


def test_turned_photos_keep_their_size_have_no_empty_corner_and_follow_the_seed(
    tmp_path: Path,
) -> None:
    picture(tmp_path / "data/queries/a.jpg", 200)
    found = []
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        image = np.random.default_rng(3).integers(100, 255, (30, 50, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "data/queries/b.png"), image)
        turn_photos(tmp_path / "data", ["queries/a.jpg", "queries/b.png"], tmp_path / name, seed)
        found.append(cv2.imread(str(tmp_path / name / "queries/b.png")))
    assert found[0] is not None and found[0].shape == (30, 50, 3)
    assert found[0].min() > 50
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_distractors_come_evenly_from_the_pools_sources_each_once(tmp_path: Path) -> None:
    picture(tmp_path / "catalog/milk.jpg", 10)
    for i in range(6):
        picture(tmp_path / f"pool/many/{i}.png", 20 + i)
    for i in range(2):
        picture(tmp_path / f"pool/few/{i}.png", 100 + i)
    add_distractors(tmp_path / "catalog", tmp_path / "images", tmp_path / "pool", 6)
    values = [int(cv2.imread(str(p)).mean()) for p in sorted((tmp_path / "images").iterdir())]
    assert values[0] == 10 and len(set(values)) == 7  # the catalog first in sorted order
    assert sum(value >= 100 for value in values) == 2
    with pytest.raises(ConfigError, match="must hold 9 different things, got 8"):
        add_distractors(tmp_path / "catalog", tmp_path / "more", tmp_path / "pool", 9)


@pytest.mark.parametrize(
    ("every", "limit", "taken"),
    [
        (1, None, "abcdefgh"),
        (3, None, "adg"),
        (1, 4, "aceg"),
        (2, 3, "ace"),
        (9, 5, "a"),
    ],
)
def test_parts_are_taken_evenly(every: int, limit: int | None, taken: str) -> None:
    assert "".join(take("abcdefgh", every, limit)) == taken


def test_data_is_found_where_the_user_says_or_told_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "eval/shelf").mkdir(parents=True)
    monkeypatch.setenv("MAGPIE_SHARED_DATA", str(tmp_path))
    assert find_data("shelf") == tmp_path / "eval/shelf"
    assert find_data("shelf", tmp_path) == tmp_path
    with pytest.raises(ConfigError, match="data set 'video': no such folder"):
        find_data("video")


def test_a_result_names_no_path_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        str(tmp_path / "benchmarks/eval_x.py"),
        "--data",
        str(tmp_path / "set"),
        "--every",
        "5",
    ]
    monkeypatch.setattr("sys.argv", words)
    document = json.loads(finish(tmp_path, "x", {}, {"n": 1}, [("n", "1", "")]).read_text())
    assert document["command"] == "python -m benchmarks.eval_x --data set --every 5"
    assert str(tmp_path) not in json.dumps(document)
