"""The demo's script, pictures and truth: what the issue asks of them holds, and they agree."""

import csv

import cv2
import numpy as np
import pytest

from catalog_tools.demo.clip import make_demo_clip, render_frames
from catalog_tools.demo.script import (
    CLIP_S,
    FPS,
    FRAME_SIZE_WH,
    list_actors,
    pose_at,
    write_script,
)
from catalog_tools.demo.truth import Shown, TruePack, find_sightings, read_truth
from catalog_tools.demo.video_file import read_clip
from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack


def test_the_script_is_what_the_demo_promises():
    actors, visits = list_actors(), write_script()
    known = [actor for actor in actors if actor.in_catalog]
    unknown = [actor for actor in actors if not actor.in_catalog]
    assert CLIP_S >= 20 and len(known) >= 12 and len(unknown) >= 4
    assert sum(actor.twin_of is not None for actor in unknown) >= 2
    assert all(actor.seed >= DEMO_SEED_START for actor in actors)
    assert {visit.actor.name for visit in visits} == {actor.name for actor in actors}
    at_once = [
        sum(pose_at(visit, t) is not None for visit in visits) for t in np.arange(3, CLIP_S - 3)
    ]
    assert min(at_once) >= 2 and max(at_once) >= 5
    assert any(visit.hand for visit in visits) and any(visit.is_crossing for visit in visits)


def test_some_items_leave_and_come_back_and_never_meet_themselves():
    by_name = {}
    for visit in write_script():
        by_name.setdefault(visit.actor.name, []).append(visit)
    again = [visits for visits in by_name.values() if len(visits) > 1]
    assert len(again) >= 3
    for first, second in again:
        assert second.start_s - first.end_s > 1.0


def test_a_frame_is_the_same_whoever_draws_it_and_when():
    later = render_frames(150, 151, CLIP_S)[0]
    within = render_frames(149, 152, CLIP_S)[1]
    assert np.array_equal(later[0], within[0])
    assert [row.name for row in later[1]] == [row.name for row in within[1]]


def test_the_quad_lies_where_the_print_is():
    image, rows = render_frames(40, 41, CLIP_S)[0]
    row = next(row for row in rows if row.visible_share > 0.98)
    actor = next(actor for actor in list_actors() if actor.name == row.name)
    width, height = actor.size_wh(200)
    corners = np.float32([[0, 0], [width, 0], [width, height], [0, height]]) - 0.5
    to_face = cv2.getPerspectiveTransform(row.quad - np.float32(0.5), corners)
    face = cv2.warpPerspective(image, to_face, (width, height))
    want = render_pack(actor.seed, (width, height))
    seen, expected = (cv2.GaussianBlur(cv2.cvtColor(i, 6), (0, 0), 2) for i in (face, want))
    assert np.corrcoef(seen.ravel(), expected.ravel())[0, 1] > 0.93


def test_shares_fall_when_an_item_is_covered_or_leaves_the_picture():
    visits = write_script()
    crossing = next(visit for visit in visits if visit.is_crossing)
    entering = round((crossing.start_s + 0.75) * FPS)
    rows = {row.name: row for row in render_frames(entering, entering + 1, CLIP_S)[0][1]}
    assert rows[crossing.actor.name].visible_share < 0.7
    middle = round((crossing.start_s + crossing.end_s) / 2 * FPS)
    rows = {row.name: row for row in render_frames(middle, middle + 1, CLIP_S)[0][1]}
    assert rows[crossing.actor.name].visible_share > 0.8


def _row(frame: int, name: str, clear: bool) -> Shown:
    return Shown(frame, name, np.zeros((4, 2), np.float32), 0.05 if clear else 0.01, 0.9)


def test_a_short_gap_joins_and_a_long_one_parts_two_sightings():
    packs = [TruePack("a", "A", "a"), TruePack("b", "B", None)]
    frames = [*range(40), *range(55, 90), *range(200, 240)]
    rows = [_row(frame, "a", clear=frame % 200 >= 5) for frame in frames]
    rows += [_row(frame, "b", clear=frame < 20) for frame in range(60)]  # clear for too short
    found = find_sightings(rows, packs, fps=25)
    assert [(s.first_frame, s.appearance_frame, s.last_frame) for s in found] == [
        (0, 5, 89),
        (200, 205, 239),
    ]


@pytest.mark.slow
def test_pictures_clip_and_truth_are_written_once_and_read_back(tmp_path):
    directory = make_demo_clip(tmp_path, clip_s=2.0)
    written_ns = (directory / "clip.mp4").stat().st_mtime_ns
    assert make_demo_clip(tmp_path, clip_s=2.0) == directory
    assert (directory / "clip.mp4").stat().st_mtime_ns == written_ns
    frames = list(read_clip(directory / "clip.mp4"))
    truth = read_truth(directory)
    assert len(frames) == truth.n_frames == 50
    assert frames[0].shape == (FRAME_SIZE_WH[1], FRAME_SIZE_WH[0], 3)
    drawn, rows = render_frames(30, 31, 2.0)[0]
    soft, soft_drawn = (cv2.GaussianBlur(i, (0, 0), 4).astype(int) for i in (frames[30], drawn))
    assert np.abs(soft - soft_drawn).mean() < 2.5  # colours survive the encoding
    assert [row.name for row in truth.by_frame()[30]] == [row.name for row in rows]
    with (directory / "items.csv").open() as file:
        items = list(csv.DictReader(file))
    assert len(items) == 14 and all((directory / item["image"]).exists() for item in items)
