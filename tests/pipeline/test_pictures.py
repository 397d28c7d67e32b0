"""What is told about a single picture, from the judgements of its regions."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.identify.calibration import Calibration
from pipeline.identify.propose import merge_shortlists
from pipeline.identify.tuning import Region
from pipeline.identify.types import Judgement
from pipeline.options import DecideOptions
from pipeline.pictures import picture_regions, picture_result
from pipeline.types import Crop, Detections, ItemId, Proposal, Tier, Verification

SIZE_WH = (400, 300)
NO_BOXES = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))
WHOLE, MIDDLE, _ = (track for _, track in picture_regions(NO_BOXES, SIZE_WH))
LABELS = {ItemId("tea"): "Tea", ItemId("milk"): "Milk"}


def found(item: str, log_odds: float, x: float, whole: bool = True) -> Judgement:
    """An item found in a region, 100 px wide, from x on."""
    track = WHOLE if whole else MIDDLE
    width, height = track.xyxy[2:] - track.xyxy[:2]
    crop = Crop(track, track.xyxy, np.zeros((int(height), int(width), 3), np.uint8))
    left = x - track.xyxy[0]
    outline = np.array([[left, 50], [left + 100, 50], [left + 100, 200], [left, 200]], np.float32)
    verification = Verification(40, 50, np.eye(3), outline, 0.0, 0.7, 1.0)
    proposal = Proposal(ItemId(item), 0, 0.6)
    return Judgement(proposal, 0.0, verification, log_odds, 1.0, log_odds, crop)


def result(*regions: list[Judgement]):  # type: ignore[no-untyped-def]
    judged = list(zip((Region.WHOLE, Region.MIDDLE), regions, strict=True))
    return picture_result(judged, WHOLE.xyxy, LABELS, DecideOptions(), Calibration(), 5)


def test_regions_are_the_whole_and_its_middle_and_the_boxes() -> None:
    boxes = Detections(
        np.array([[10, 10, 60, 90], [1, 1, 399, 299]], np.float32),
        np.array([0.9, 0.8], np.float32),
        np.zeros(2, np.int32),
    )
    regions = picture_regions(boxes, SIZE_WH)
    names = [region for region, _ in regions]
    assert names == [Region.WHOLE, Region.MIDDLE, Region.INNER, Region.ASIDE]
    tracks = [track for _, track in regions]
    assert [track.track_id for track in tracks] == [0, 1, 2, 3]
    assert tracks[1].xyxy.tolist() == [50, 37.5, 350, 262.5]
    assert tracks[2].xyxy.tolist() == pytest.approx([90, 67.5, 310, 232.5])
    assert all(track.xyxy.dtype == np.float32 for track in tracks)


def test_a_shortlist_is_led_by_what_the_middle_resembles_in_the_mean() -> None:
    def nearest(**similarity: float) -> list[Proposal]:
        ordered = sorted(similarity.items(), key=lambda pair: -pair[1])
        return [Proposal(ItemId(name), 0, value) for name, value in ordered]

    middle = [nearest(tea=0.5, milk=0.3, rice=0.1), nearest(milk=0.9, tea=0.8), nearest(tea=0.6)]
    middle[2].append(Proposal(ItemId("salt"), 0, 0.2))
    box = nearest(soap=0.95, salt=0.4)
    merged = merge_shortlists(middle, [box], 4)
    assert [(c.item_id, c.similarity) for c in merged] == [
        ("tea", 0.8), ("milk", 0.9), ("soap", 0.95), ("salt", 0.4),
    ]  # fmt: skip
    assert merge_shortlists([[], [], []], [], 4) == []


def test_an_item_in_the_middle_ranks_before_a_neighbour_that_is_a_little_surer() -> None:
    told = result([found("milk", 3.5, x=290), found("tea", 3.0, x=150)], [])
    assert [item.item_id for item in told.ranked] == ["tea", "milk"]
    surer = result([found("milk", 7.0, x=290), found("tea", 3.0, x=150)], [])
    assert surer.ranked[0].item_id == "milk"


def test_an_object_found_in_the_whole_and_in_its_middle_is_told_once() -> None:
    told = result([found("tea", 4.0, x=150)], [found("tea", 5.0, x=152, whole=False)])
    (match,) = told.matches
    assert match.item_id == "tea" and match.tier is Tier.EXACT
    assert abs(match.box_xyxy[0] - 152) < 1


def test_two_objects_apart_are_both_told() -> None:
    told = result([found("tea", 4.0, x=20), found("milk", 4.0, x=250)], [])
    assert {match.item_id for match in told.matches} == {"tea", "milk"}


def settled(epsilon: float, *regions: list[Judgement]) -> tuple[list[str], list[str]]:
    judged = list(zip((Region.WHOLE, Region.MIDDLE), regions, strict=True))
    told = picture_result(
        judged, WHOLE.xyxy, LABELS, DecideOptions(), Calibration(), 5, tie_epsilon=epsilon
    )
    return [m.item_id for m in told.matches], [one.item_id for one in told.ranked]


def test_of_a_tie_the_whole_picture_goes_before_a_region() -> None:
    regions = [found("tea", 4.0, x=150)], [found("milk", 4.2, x=152, whole=False)]
    assert settled(0.0, *regions) == (["milk"], ["milk", "tea"])
    assert settled(0.02, *regions) == (["tea"], ["tea", "milk"])
    surer = [found("tea", 2.0, x=150)], [found("milk", 4.2, x=152, whole=False)]
    assert settled(0.02, *surer) == (["milk"], ["milk", "tea"])


def test_then_the_item_with_more_inliers() -> None:
    tea, milk = found("tea", 4.2, x=150), found("milk", 4.0, x=152)
    assert milk.verification is not None
    milk = replace(milk, verification=replace(milk.verification, inliers=90))
    assert settled(0.0, [tea, milk], []) == (["tea"], ["tea", "milk"])
    assert settled(0.02, [tea, milk], []) == (["milk"], ["milk", "tea"])
