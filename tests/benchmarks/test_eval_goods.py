"""Whole frames with one item each: what counts as found, named and told, worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.eval_goods import SEARCHES, ask, look_at, read_frames, still_frames
from benchmarks.eval_setup import CLIP_CAMERA
from benchmarks.goods_scores import (
    Named,
    Seen,
    TrueFrame,
    score_frames,
    score_second,
    score_told,
    table_rows,
)
from benchmarks.splits import Split
from pipeline.color import frame_bgr
from pipeline.errors import ConfigError
from pipeline.types import Tier
from tests.pipeline.matcher_rig import SEED, build_pack_catalog, draw_frame, make_matcher

HERE, BESIDE, FAR = (10, 10, 20, 20), (13, 10, 23, 20), (50, 50, 60, 60)
NO_BOXES = np.zeros((0, 4), np.float32)


def xyxy(*box: float) -> np.ndarray:
    return np.array(box, np.float32)


def named(item_id: str, box: tuple[float, ...], probability: float = 0.9, tier: str = "") -> Named:
    return Named(item_id, xyxy(*box), probability, Tier(tier) if tier else None)


FRAME = TrueFrame("a.jpg", "mug", xyxy(*HERE))


def seen(*considered: Named, likeliest: str | None = None, **more: object) -> Seen:
    given = {"boxes": NO_BOXES, "matches": (), "watched": ()} | more
    return Seen(considered=considered, likeliest=likeliest, **given)


def test_the_likeliest_counts_among_what_lies_at_the_true_box_alone() -> None:
    found = [
        seen(named("mug", BESIDE, 0.4), named("pan", FAR, 0.9), likeliest="pan"),  # IoU 7/13
        seen(named("mug", HERE, 0.4), named("pan", BESIDE, 0.5), likeliest="mug"),
        seen(named("mug", FAR, 0.9), likeliest="mug"),
        seen(),
    ]
    figures = score_frames([FRAME] * 4, found)
    assert figures["top_1_at_box"] == 0.25 and figures["considered_at_box"] == 0.5
    assert figures["top_1_anywhere"] == 0.5
    assert [row["likeliest_at_box"] for row in figures["frames"]] == ["mug", "pan", None, None]


def test_a_box_of_the_detector_counts_where_it_overlaps_by_half() -> None:
    found = [seen(boxes=np.array([FAR, BESIDE], np.float32)), seen(boxes=xyxy(*FAR)[None])]
    figures = score_frames([FRAME] * 2, found)
    assert figures["detector_recall"] == 0.5 and figures["boxes_a_frame"] == 1.5


def test_what_is_told_is_right_by_its_item_and_at_the_box_by_its_place_too() -> None:
    told = [
        (FRAME, [named("mug", HERE, tier="exact"), named("pan", HERE, tier="very_similar")]),
        (FRAME, [named("mug", FAR, tier="very_similar")]),
        (FRAME, [named("pan", FAR, tier="similar")]),
        (FRAME, []),
    ]
    assert score_told(told, Tier.VERY_SIMILAR) == {
        "n_told": 3, "n_wrong": 1, "precision_at_box": 0.3333, "recall_at_box": 0.25,
        "precision_anywhere": 0.6667, "recall_anywhere": 0.5,
    }  # fmt: skip
    assert score_told(told, Tier.EXACT)["precision_at_box"] == 1.0
    assert score_told(told, Tier.SIMILAR)["n_wrong"] == 2
    assert score_told([], Tier.EXACT)["precision_at_box"] is None


def test_in_a_second_an_item_counts_once_by_a_place_at_the_box_if_it_had_one() -> None:
    mug = [named("mug", FAR, tier="similar"), named("mug", HERE, tier="exact")]
    told = [(FRAME, [*mug, named("mug", FAR, tier="exact"), named("pan", FAR, tier="similar")])]
    figures = score_second(told, Tier.SIMILAR)
    assert (figures["n_told"], figures["n_wrong"]) == (2, 1)
    assert figures["precision_at_box"] == 0.5 and figures["recall_at_box"] == 1.0
    assert score_second(told, Tier.EXACT)["n_wrong"] == 0


def test_the_first_search_that_told_the_frames_item_counts() -> None:
    watched = [
        (1, named("pan", FAR, tier="exact")),
        (3, named("mug", HERE, tier="similar")),
        (4, named("mug", HERE, tier="exact")),
    ]
    figures = {"min_score": 0.25, **score_frames([FRAME] * 2, [seen(watched=watched), seen()])}
    assert figures["searches_until_told"] == 3.0
    assert figures["told_in_a_second"]["exact"]["recall_at_box"] == 0.5
    rows = table_rows(figures)
    assert rows[-1][:2] == ("searches until told, mean", "3.0")
    assert all(isinstance(word, str) for row in rows for word in row)


def test_of_no_frame_told_the_table_has_a_dash() -> None:
    figures = {"min_score": 0.25, **score_frames([FRAME], [seen()])}
    assert table_rows(figures)[-1][1] == "-" and figures["detector_recall"] == 0


def test_a_frame_is_a_second_of_the_same_picture() -> None:
    frames = list(still_frames(np.zeros((40, 60, 3), np.uint8)))
    assert [frame.number for frame in frames] == list(range(SEARCHES))
    assert frames[-1].media_ns == 900_000_000 and frames[0].y is frames[-1].y


def test_a_pack_in_a_made_frame_is_considered_and_told_at_its_place(tmp_path: Path) -> None:
    """On fake networks. Result: as `match_pictures` tells it, and as a camera, forgotten after."""
    matcher = make_matcher({CLIP_CAMERA: build_pack_catalog(tmp_path, [SEED, SEED + 1])})
    image_bgr = frame_bgr(draw_frame([(SEED + 1, (250, 90))], 0))
    frame = TrueFrame("a.jpg", "pack-1", xyxy(250, 90, 360, 240))
    found = look_at(matcher, image_bgr, NO_BOXES)
    figures = score_frames([frame], [found])
    assert figures["top_1_at_box"] == figures["top_1_anywhere"] == 1.0
    for name in ("told_of_picture", "told_in_a_second"):
        assert figures[name]["exact"]["recall_at_box"] == 1.0
        assert figures[name]["similar"]["n_wrong"] == 0
    (result,) = matcher.match_pictures([image_bgr], matcher.catalogs[CLIP_CAMERA], 1)
    _, likeliest, matches = ask(matcher, image_bgr)
    assert likeliest == result.ranked[0].item_id
    assert [(one.item_id, one.tier, one.probability) for one in matches] == [
        (match.item_id, match.tier, match.probability) for match in result.matches
    ]
    empty = look_at(matcher, frame_bgr(draw_frame([], 0)), NO_BOXES)
    assert empty.watched == () and not empty.matches


def test_frames_of_the_truth_belong_to_a_split_and_have_boxes(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    head = "image,item_id,x0,y0,x1,y1\n"
    path.write_text(head + "a.jpg,arc17_windex,0,0,9,9\nb.jpg,arc17_epsom_salts,1,2,3,4\n")
    (frame,) = read_frames(path, Split.DEV)
    assert frame.item_id == "arc17_epsom_salts" and frame.xyxy.tolist() == [1, 2, 3, 4]
    for box in ("1,2,x,4", "1,2,1,4", "nan,0,9,9", ",,,"):
        path.write_text(head + f"a.jpg,mug,0,0,9,9\nb.jpg,mug,{box}\n")
        with pytest.raises(ConfigError, match=r"truth.csv:3: a box must be four numbers"):
            read_frames(path, Split.ALL)
    path.write_text(head + "a.jpg,arc17_windex,0,0,9,9\n")
    with pytest.raises(ConfigError, match="must name a frame of --split dev"):
        read_frames(path, Split.DEV)
