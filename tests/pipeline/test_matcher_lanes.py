"""The matcher's two lanes apart: answers that come late, are passed over, or cost little."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.types import ItemId, Phase
from tests.pipeline.matcher_rig import SEED, build_pack_catalog, draw_frame, make_matcher

KNOWN = [SEED + i for i in range(6)]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pack_catalog(tmp_path_factory.mktemp("shelf"), KNOWN)


def test_an_answer_that_comes_late_is_told_with_its_own_frame(catalog: Path) -> None:
    """The lanes apart: frames go on while a look waits. Result: what appeared is told with the time
    and the place of the frame that was looked at, once, and is then followed on.
    """
    matcher = make_matcher({"door": catalog})
    frames = [draw_frame([(KNOWN[2], (100 + 6 * i, 90))], i) for i in range(12)]
    looks = []
    for frame in frames[:8]:
        sightings, new = matcher.follow([frame])
        assert sightings == []
        looks += new
    assert len(looks) < 6, "a track whose look is not answered is not asked about again"
    told = [s for look in looks for s in matcher.apply(matcher.identify([look]))]
    assert [(s.phase, s.match.item_id) for s in told] == [(Phase.APPEARED, "pack-2")]
    number = told[0].frame_number
    assert number < 8 and told[0].captured_ns == frames[number].captured_ns
    assert abs(told[0].match.box_xyxy[0] - (100 + 6 * number)) < 12
    after = [s for frame in frames[8:] for s in matcher.follow([frame])[0]]
    assert {s.phase for s in after} <= {Phase.UPDATED}
    assert {s.sighting_id for s in after} <= {told[0].sighting_id}


def test_an_answer_about_a_track_that_is_gone_is_told_all_the_same(catalog: Path) -> None:
    matcher = make_matcher({"door": catalog})
    looks = []
    for number in range(60):
        packs = [(KNOWN[2], (100 + 6.0 * number, 90.0))] if number < 5 else []
        looks += matcher.follow([draw_frame(packs, number)])[1]
    told = [s for look in looks for s in matcher.apply(matcher.identify([look]))]
    assert [(s.phase, s.match.item_id) for s in told] == [
        (Phase.APPEARED, "pack-2"),
        (Phase.LEFT, "pack-2"),
    ]
    assert told[0].frame_number < 5 and told[1].reason == "gone"
    assert matcher.tick("door", 10**18) == []


def test_answers_for_a_camera_that_started_anew_are_passed_over(catalog: Path) -> None:
    matcher = make_matcher({"door": catalog})
    looks = []
    for number in range(4):
        looks += matcher.follow([draw_frame([(KNOWN[2], (100, 90))], number)])[1]
    matcher.reset_camera("door")
    assert looks and matcher.apply(matcher.identify(looks)) == []
    matcher.give_up(looks[0])


def test_a_camera_comes_and_goes_while_its_looks_are_identified(catalog: Path) -> None:
    matcher = make_matcher({"hall": catalog})
    looks = []
    for life in range(2):
        matcher.begin_camera("door", matcher.load_catalog(catalog), ())
        for number in range(4):
            looks += matcher.follow([draw_frame([(KNOWN[2], (100, 90))], number)])[1]
        told = matcher.apply(matcher.identify(looks))
        assert [sighting.match.item_id for sighting in told] == ["pack-2"], life
        assert [left.match.item_id for left in matcher.end_camera("door")] == ["pack-2"]
        assert matcher.apply(matcher.identify(looks)) == [] and set(matcher.catalogs) == {"hall"}
        matcher.give_up(looks[0])


def test_a_glance_that_finds_what_is_believed_costs_no_keypoints_and_keeps_the_belief(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    matcher = make_matcher({"door": catalog})
    looks = [
        look
        for number in range(3)
        for look in matcher.follow([draw_frame([(KNOWN[2], (200, 90))], number)])[1]
        if not look.crop.track.is_whole_frame
    ]
    (whole,) = matcher.identify(looks[:1])
    assert [s.phase for s in matcher.apply([whole])] == [Phase.APPEARED]
    believed = whole.judgements[0].proposal
    prepared: list[object] = []
    prepare = matcher.stages.checker.prepare
    monkeypatch.setattr(
        matcher.stages.checker, "prepare", lambda crop: prepared.append(crop) or prepare(crop)
    )
    again = replace(looks[0], believed=believed, is_glance=True)
    (glanced,) = matcher.identify([again])
    assert (glanced.borne_out, glanced.judgements, prepared) == ("pack-2", (), [])
    assert matcher.apply([glanced]) == []
    exchanged = replace(again, believed=replace(believed, item_id=ItemId("pack-0")))
    (looked,) = matcher.identify([exchanged])
    assert looked.borne_out is None and looked.judgements and len(prepared) == 1


def test_a_look_that_is_given_up_may_be_asked_again(catalog: Path) -> None:
    matcher = make_matcher({"door": catalog})
    asked = []
    for number in range(40):
        new = matcher.follow([draw_frame([(KNOWN[2], (100, 90))], number)])[1]
        asked += [look.crop.track.track_id for look in new]
        for look in new:
            matcher.give_up(look)
    assert max(asked.count(track_id) for track_id in set(asked)) > 2


@pytest.mark.parametrize("stage", ["identify", "_look_out"])
def test_a_track_is_looked_at_again_after_frames_whose_work_failed(
    catalog: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    matcher = make_matcher({"door": catalog})
    work = getattr(matcher, stage)

    def fail(*given: object) -> None:
        work(*given)
        raise ValueError("an odd crop")

    monkeypatch.setattr(matcher, stage, fail)
    frames = [draw_frame([(KNOWN[2], (100, 90))], number) for number in range(60)]
    for frame in frames[:10]:
        with contextlib.suppress(ValueError):
            matcher.match([frame])
    monkeypatch.setattr(matcher, stage, work)
    told = [s.match.item_id for frame in frames[10:] for s in matcher.match([frame])]
    assert set(told) == {"pack-2"}
