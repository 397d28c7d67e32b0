"""Boxes against the shelf's truth: matches and detections, worked out by hand."""

from pathlib import Path

import numpy as np

from benchmarks.eval_detector import boxes_at_centre, pair_boxes
from benchmarks.eval_detector import score_scenes as score_boxes
from benchmarks.eval_shelf import match_boxes, read_same, read_scenes, score_scenes
from pipeline.types import Tier

TRUTH = """image,item_id,x0,y0,x1,y1,exhaustive
q/b.jpg,milk,0,0,10,10,1
q/b.jpg,milk,10,0,20,10,1
q/b.jpg,soup,20,0,30,10,1
q/a.jpg,soup,0,0,10,10,0
q/a.jpg,rice,50,50,60,60,0
"""


def match(item_id: str, probability: float, *box: float, tier: str = "exact") -> dict[str, object]:
    return {"item_id": item_id, "probability": probability, "tier": tier, "box_xyxy": list(box)}


def test_each_pack_is_found_once_by_a_match_of_its_item_that_overlaps(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text(TRUTH)
    other, scene = read_scenes(tmp_path / "truth.csv")
    assert scene.item_ids == ("milk", "milk", "soup") and scene.is_exhaustive
    assert not other.is_exhaustive
    found = [
        match("milk", 0.9, 0, 0, 10, 10),
        match("milk", 0.8, 1, 0, 11, 10),  # that pack is taken; of the second it holds too little
        match("milk", 0.7, 11, 0, 21, 10, tier="similar"),
        match("tea", 0.95, 20, 0, 30, 10),
    ]
    guesses = match_boxes(scene, found, {})
    assert [(p, right) for _, (p, right) in guesses] == [
        (0.95, False), (0.9, True), (0.8, False), (0.7, True),
    ]  # fmt: skip
    assert guesses[3][0] is Tier.SIMILAR
    renamed = match_boxes(scene, found, read_same(["soup=tea"]))
    assert renamed[0][1] == (0.95, True)
    figures = score_scenes([other, scene], [[match("soup", 0.9, 0, 0, 10, 10)], found], {})
    assert figures["n_packs_exhaustive"] == 3 and figures["recall_others"] == 0.5
    assert figures["tiers"]["exact"] == {"precision": 0.3333, "recall": 0.3333, "n_wrong": 2}
    assert figures["tiers"]["similar"]["recall"] == 0.6667
    assert figures["recall_at_precision"] == {"0.95": 0.0, "0.98": 0.0}


def test_a_box_counts_for_one_pack_and_strays_where_all_are_labelled(tmp_path: Path) -> None:
    (tmp_path / "truth.csv").write_text(TRUTH)
    scenes = read_scenes(tmp_path / "truth.csv")
    one_for_two = np.array([[0, 0, 20, 10]], np.float32)
    assert pair_boxes(one_for_two, scenes[1].xyxy) == 1  # half of each: IoU 0.5, once
    assert pair_boxes(np.zeros((0, 4), np.float32), scenes[1].xyxy) == 0
    found = np.array([[0, 0, 10, 10], [10, 0, 20, 9], [40, 40, 50, 50]], np.float32)
    figures = score_boxes(scenes, [np.zeros((0, 4), np.float32), found])
    assert figures["recall"] == 0.4 and figures["stray_boxes_an_exhaustive_scene"] == 1
    assert figures["by_scene"] == {"q/a.jpg": "0/2", "q/b.jpg": "2/3"}


def test_the_middle_needs_a_box_that_is_neither_a_detail_nor_the_photo() -> None:
    def boxes(*xyxy: tuple[float, ...]) -> tuple[bool, bool]:
        return boxes_at_centre(np.array(xyxy, np.float32).reshape(-1, 4), (100, 100))

    assert boxes() == (False, False)
    assert boxes((20, 20, 80, 80)) == (True, True)
    assert boxes((0, 0, 99, 99)) == (True, False)
    assert boxes((48, 48, 52, 52), (60, 0, 90, 90)) == (True, False)
