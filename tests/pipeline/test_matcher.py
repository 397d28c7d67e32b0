"""The whole pipeline on fake networks: real tracking, search, SIFT verification and decisions."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from catalog_tools.build import add_to_catalog
from catalog_tools.synthesize.packs import render_pack, render_twin
from pipeline.catalog import Catalog
from pipeline.errors import WeightsError
from pipeline.identify.check import Checker
from pipeline.matcher import Matcher, create_matcher
from pipeline.options import EmbedOptions, MatcherOptions
from pipeline.types import Frame, Phase, Sighting, Tier
from tests.fake_networks import EMBEDDER_SHA256, make_networks
from tests.pipeline.matcher_rig import OPTIONS, SEED, build_pack_catalog, draw_frame, make_matcher

KNOWN = [SEED + i for i in range(6)]
STRANGERS = [SEED + 100 + i for i in range(3)]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pack_catalog(tmp_path_factory.mktemp("shelf"), KNOWN)


def run(matcher: Matcher, frames: list[Frame]) -> list[Sighting]:
    return [sighting for frame in frames for sighting in matcher.match([frame])]


def test_an_item_appears_once_and_leaves_once(catalog: Path) -> None:
    matcher = make_matcher({"door": catalog})
    coming = [draw_frame([(KNOWN[2], (100 + 6 * i, 90))], i) for i in range(30)]
    gone = [draw_frame([], 30 + i) for i in range(40)]

    sightings = run(matcher, coming + gone)

    phases = [s.phase for s in sightings]
    assert phases[0] is Phase.APPEARED and phases[-1] is Phase.LEFT
    assert Counter(phases)[Phase.APPEARED] == Counter(phases)[Phase.LEFT] == 1
    assert len({s.sighting_id for s in sightings}) == 1
    first, last = sightings[0], sightings[-1]
    assert first.match.item_id == "pack-2" and first.match.tier is Tier.EXACT
    assert first.frame_number <= 3, "identified at its first good look"
    assert last.reason == "gone" and 30 < last.frame_number <= 60
    assert first.match.outline is not None
    x = 100 + 6 * first.frame_number
    expected = np.array([[x, 90], [x + 110, 90], [x + 110, 240], [x, 240]])
    assert np.abs(first.match.outline - expected).max() < 4
    assert set(first.stage_ms) >= {"decode", "wait", "detect", "track", "embed", "search", "verify"}


def test_strangers_are_never_told(catalog: Path) -> None:
    matcher = make_matcher({"door": catalog})
    frames = [
        draw_frame([(seed, (30 + 200 * j + i, 100)) for j, seed in enumerate(STRANGERS)], i)
        for i in range(25)
    ]
    assert run(matcher, frames) == []


def test_several_items_at_once_each_get_their_sighting(catalog: Path) -> None:
    matcher = make_matcher({"door": catalog})
    places = [(30, 60), (200, 150), (380, 60), (510, 180)]
    packs = list(zip([KNOWN[0], KNOWN[1], STRANGERS[0], KNOWN[1]], places, strict=True))
    sightings = run(matcher, [draw_frame(packs, i) for i in range(12)])
    appeared = [s.match.item_id for s in sightings if s.phase is Phase.APPEARED]
    assert sorted(appeared) == ["pack-0", "pack-1", "pack-1"]


def test_batch_and_single_give_the_same_verdicts(catalog: Path) -> None:
    frames = {
        camera: [draw_frame([(seed, (60 + 5 * i, 80))], i, camera) for i in range(8)]
        for camera, seed in (("door", KNOWN[3]), ("till", KNOWN[4]), ("yard", STRANGERS[1]))
    }
    together = make_matcher(dict.fromkeys(frames, catalog))
    batched = [s for step in zip(*frames.values(), strict=True) for s in together.match(step)]
    single = []
    for camera, own in frames.items():
        single += run(make_matcher({camera: catalog}), own)

    def verdicts(sightings: list[Sighting]) -> list[tuple[object, ...]]:
        return sorted(
            (
                s.camera,
                s.frame_number,
                s.phase,
                s.match.item_id,
                s.match.tier,
                s.match.inliers,
                round(s.match.probability, 4),
                tuple(np.round(s.match.box_xyxy, 2)),
            )
            for s in sightings
        )

    assert verdicts(batched) == verdicts(single) and len(single) == 2


def test_a_settled_track_costs_only_detection_and_tracking(catalog: Path) -> None:
    matcher = make_matcher({"door": catalog})
    frames = [draw_frame([(KNOWN[2], (200, 90))], i) for i in range(45)]
    run(matcher, frames)
    engine = matcher.stages.embedder._engine  # the fake's own counter
    looks_at_box = sum(engine.batches)  # type: ignore[attr-defined]
    assert looks_at_box <= 14, "one look settles the box; the rest are the empty whole frame's"


def test_whole_frame_is_told_when_an_item_fills_it(catalog: Path) -> None:
    from pipeline.color import frame_from_bgr

    matcher = make_matcher({"photo": catalog})
    picture = render_pack(KNOWN[5], (264, 360))
    sightings = matcher.match([frame_from_bgr(picture)])
    assert [s.match.item_id for s in sightings] == ["pack-5"]


def test_camera_that_starts_anew_closes_its_sightings(catalog: Path) -> None:
    matcher = make_matcher({"door": catalog})
    run(matcher, [draw_frame([(KNOWN[0], (100, 90))], i) for i in range(4)])
    lefts = matcher.reset_camera("door")
    assert [(s.phase, s.reason) for s in lefts] == [(Phase.LEFT, "camera_lost")]
    assert matcher.reset_camera("door") == []


@pytest.mark.parametrize("every_s", [2, 4, 60])
def test_a_slow_camera_tells_an_item_that_stays_once(catalog: Path, every_s: float) -> None:
    """In one of its pictures somebody stands before it."""
    matcher = make_matcher({"door": catalog})
    there = [
        draw_frame(
            [(KNOWN[0], (100 + 3 * i, 90))] if i != 4 else [], i, fps=1 / every_s, clock="arrival"
        )
        for i in range(8)
    ]
    gone = [draw_frame([], 8 + i, fps=1 / every_s, clock="arrival") for i in range(6)]
    told = [(s.phase, s.frame_number) for s in run(matcher, there + gone)]
    phases = [phase for phase, _ in told if phase is not Phase.UPDATED]
    assert phases == [Phase.APPEARED, Phase.LEFT]
    assert told[0][1] <= 1 and 8 <= told[-1][1] <= 11


def test_silent_live_camera_loses_its_sightings_by_time(catalog: Path) -> None:
    matcher = make_matcher({"door": catalog})
    frames = [draw_frame([(KNOWN[0], (100, 90))], i, clock="arrival") for i in range(4)]
    assert len(run(matcher, frames)) == 1
    last_ns = frames[-1].captured_ns
    assert matcher.tick("door", last_ns + 500_000_000) == []
    assert [s.reason for s in matcher.tick("door", last_ns + 1_500_000_000)] == ["gone"]


def test_catalog_switch_closes_and_goes_on_with_the_new_items(
    catalog: Path, tmp_path: Path
) -> None:

    directory = tmp_path / "catalog"
    shutil.copytree(catalog, directory)
    matcher = make_matcher({"door": directory})
    packs = [(KNOWN[0], (100, 90)), (STRANGERS[0], (400, 90))]
    before = run(matcher, [draw_frame(packs, i) for i in range(5)])
    assert [s.match.item_id for s in before] == ["pack-0"]
    (tmp_path / "new").mkdir()
    cv2.imwrite(str(tmp_path / "new" / "stranger.png"), render_pack(STRANGERS[0], (220, 300)))
    add_to_catalog(directory, tmp_path / "new", make_networks())

    lefts = matcher.switch_catalog("door", Catalog.load(directory, EMBEDDER_SHA256))
    assert [s.reason for s in lefts] == ["catalog_changed"]
    after = run(matcher, [draw_frame(packs, i) for i in range(5, 10)])
    assert sorted(s.match.item_id for s in after) == ["pack-0", "stranger"]
    assert {s.catalog_generation for s in after} == {2}


def test_pictures_name_every_instance_and_rank_the_whole(catalog: Path) -> None:
    from pipeline.color import frame_bgr

    matcher = make_matcher({"query": catalog})
    packs = [(KNOWN[0], (60, 90)), (KNOWN[3], (250, 90)), (STRANGERS[0], (450, 90))]
    pictures = [frame_bgr(draw_frame(packs, 0)), frame_bgr(draw_frame([(KNOWN[4], (250, 90))], 0))]
    both, one = matcher.match_pictures(pictures, matcher.catalogs["query"], 3)
    assert sorted(m.item_id for m in both.matches) == ["pack-0", "pack-3"]
    assert [m.item_id for m in one.matches] == ["pack-4"]
    assert len(one.ranked) == 3 and one.ranked[0].item_id == "pack-4"
    assert one.ranked[0].probability > one.ranked[1].probability
    alone = matcher.match_pictures(pictures[1:], matcher.catalogs["query"], 3)[0]
    assert [r.item_id for r in alone.ranked] == [r.item_id for r in one.ranked]


def test_beside_a_proved_item_only_a_listed_near_twin_of_it_is_checked(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same frames, before a catalog without look-alikes and one with a near-twin listed."""
    directory = tmp_path / "catalog"
    shutil.copytree(catalog, directory)
    (tmp_path / "new").mkdir()
    cv2.imwrite(str(tmp_path / "new" / "twin.png"), render_twin(KNOWN[2], 1, (220, 300)))
    add_to_catalog(directory, tmp_path / "new", make_networks())
    first_look = []
    for known in (catalog, directory):
        matcher = make_matcher({"door": known})
        with monkeypatch.context() as patch:
            counts = watch_checks(patch)
            seen = run(matcher, [draw_frame([(KNOWN[2], (250, 90))], i) for i in range(4)])
        told = seen[-1].match
        assert told.item_id == "pack-2" and told.tier.rank >= Tier.VERY_SIMILAR.rank
        assert told.tier is Tier.EXACT or known is directory, "surest where no near-twin competes"
        first_look.append(counts[0])
    assert first_look == [1, 2]


def watch_checks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many checks each look takes, look by look, from now on."""
    counts: list[int] = []
    identify, check = Matcher.identify, Checker.check

    def watched(self: Matcher, looks: Any) -> Any:
        counts.append(0)
        return identify(self, looks)

    def counted(self: Checker, checks: Any) -> Any:
        counts[-1] += len(checks)
        return check(self, checks)

    monkeypatch.setattr(Matcher, "identify", watched)
    monkeypatch.setattr(Checker, "check", counted)
    return counts


def test_missing_weights_are_named_with_what_to_do(tmp_path: Path, catalog: Path) -> None:
    options = MatcherOptions(embed=EmbedOptions(weights=tmp_path / "none.safetensors"))
    with pytest.raises(WeightsError, match=r"weights of the embedder: .*none\.safetensors.*; "):
        create_matcher(options, {"door": catalog})
    assert OPTIONS.verify.method == "rootsift"


def test_what_is_searched_in_a_small_picture_is_identified_in_the_sharper_one(
    catalog: Path,
) -> None:
    """Result: the looks are those of the large picture alone, the places those of the small one."""
    large = [draw_frame([(KNOWN[2], (100 + 6 * i, 90))], i) for i in range(4)]
    both = [replace(shrunk(frame), sharper=frame) for frame in large]
    matcher, other = make_matcher({"door": catalog}), make_matcher({"door": catalog})
    _, of_large = matcher.follow(large[:1])
    _, of_both = other.follow(both[:1])
    assert len(of_both) == len(of_large) == 1
    sides = np.array(of_both[0].crop.image_bgr.shape[:2])
    assert np.abs(sides - of_large[0].crop.image_bgr.shape[:2]).max() <= 8
    assert np.abs(of_both[0].crop.xyxy * (2, 3, 2, 3) - of_large[0].crop.xyxy).max() <= 8
    told = other.apply(other.identify(of_both)) + run(other, both[1:])
    assert told[0].phase is Phase.APPEARED and told[0].match.tier is Tier.EXACT
    assert told[0].match.item_id == "pack-2" and told[0].frame_size_wh == (320, 120)
    assert told[0].match.outline is not None
    expected = np.array([[50, 30], [105, 30], [105, 80], [50, 80]])
    assert np.abs(told[0].match.outline - expected).max() < 2


def shrunk(frame: Frame) -> Frame:
    """The frame at half its width and a third of its height: as streams of other proportions."""
    planes = {}
    for name, plane in (("y", frame.y), ("u", frame.u), ("v", frame.v)):
        size_wh = (plane.shape[1] // 2, plane.shape[0] // 3)
        planes[name] = cv2.resize(plane, size_wh, interpolation=cv2.INTER_AREA)
    return replace(frame, **planes)
