"""Clips as items: which pictures become views, what they are good for, and what is left out."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog_tools import clips as clips_module
from catalog_tools.build import add_to_catalog, build_catalog
from catalog_tools.check import check_catalog
from catalog_tools.clips import ClipReader
from catalog_tools.images import find_images
from catalog_tools.key_views import MAX_VIEWS, choose_views, leave_blurred_out
from catalog_tools.listing import list_catalog_items
from catalog_tools.synthesize.turning import TurningBox, turning_clip
from pipeline.catalog import Catalog
from pipeline.catalog_format import read_pictures
from pipeline.errors import CatalogError, ConfigError, WeightsError
from pipeline.options import DetectOptions, MatcherOptions
from pipeline.types import Detections, Frame
from streamer.cli.clip_reader import load_clip_reader
from streamer.sources.clip_file import open_clip
from tests.catalog_tools.conftest import Run
from tests.catalog_tools.drawn_pictures import draw
from tests.fake_networks import FakeEmbedder, make_networks
from tests.streamer.clips import write_clip

SIZE_WH = (320, 240)
FPS = 10


def find_nothing(frames: Sequence[Frame]) -> list[Detections]:
    return [Detections.empty() for _ in frames]


def find_the_middle(frames: Sequence[Frame]) -> list[Detections]:
    """A detector that sees a thing of half the picture's sides on the middle, and one beside it."""
    width, height = frames[0].size_wh
    boxes = np.array([[0.25, 0.25, 0.75, 0.75], [0, 0, 0.3, 0.3]], np.float32)
    boxes *= (width, height, width, height)
    found = Detections(boxes, np.array([0.8, 0.9], np.float32), np.zeros(2, np.int32))
    return [found for _ in frames]


WHOLE = ClipReader(open_clip, find_nothing)
CUT = ClipReader(open_clip, find_the_middle, "d1")


@cache
def box_of(seed: int) -> TurningBox:
    """A box whose sides are blocky and all different: drawn sooner than prints."""
    rng = np.random.default_rng(seed)
    sides = {
        name: cv2.resize(blocks, (180, 240), interpolation=cv2.INTER_NEAREST)
        for name in ("front", "right", "back", "left", "top", "bottom")
        for blocks in [rng.integers(0, 255, (12, 9, 3), dtype=np.uint8)]
    }
    return TurningBox(sides, (180, 240, 120))


def film(path: Path, frames_bgr: Iterable[np.ndarray], fps: int = FPS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_clip(path, (frame[..., ::-1] for frame in frames_bgr), fps=fps, size_wh=SIZE_WH)


def turning(seed: int, n_frames: int = 40, turn_deg: float = 360.0) -> Iterable[np.ndarray]:
    box = box_of(seed)
    return turning_clip(box, 7, size_wh=SIZE_WH, n_frames=n_frames, turn_deg=turn_deg, fill=0.8)


def images_of(catalog: Catalog) -> list[str]:
    return [record.image for record in read_pictures(catalog.directory, catalog.generation)]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return film(tmp_path / "images" / "tea.mp4", turning(501))


def test_a_turning_item_is_found_from_an_angle_that_its_first_picture_is_not(
    tmp_path: Path,
) -> None:
    seeds = range(501, 505)
    for seed in seeds:
        frames = list(turning(seed))
        film(tmp_path / "clips" / f"{seed}.mp4", frames)
        (tmp_path / "firsts").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "firsts" / f"{seed}.png"), frames[0])
    build_catalog(tmp_path / "clips", tmp_path / "turned", make_networks(), clips=WHOLE)
    build_catalog(tmp_path / "firsts", tmp_path / "flat", make_networks())
    turned, flat = (Catalog.load(tmp_path / name, None) for name in ("turned", "flat"))
    n_found = {"turned": 0, "flat": 0}
    for number, seed in enumerate(seeds):
        for angle_deg in (95, 175, 265):
            scene = np.full((240, 320, 3), 128, np.uint8)
            box_of(seed).draw(scene, (angle_deg, 8, 0), (160, 120), 190)
            row = FakeEmbedder()([scene])[0]
            for name, catalog in (("turned", turned), ("flat", flat)):
                nearest = int((catalog.embeddings @ row).argmax())
                n_found[name] += int(catalog.view_item[nearest]) == number
    assert n_found["turned"] >= 11 > 6 >= n_found["flat"]


def test_a_clip_becomes_one_item_with_some_views(tmp_path: Path, clip: Path) -> None:
    draw(tmp_path / "images" / "milk.png", 3)
    steps: list[tuple[int, int]] = []
    report = build_catalog(
        tmp_path / "images",
        tmp_path / "shelf",
        make_networks(),
        clips=WHOLE,
        progress=lambda done, total: steps.append((done, total)),
    )
    catalog = Catalog.load(tmp_path / "shelf", None)
    items = {row["item_id"]: row["pictures"] for row in list_catalog_items(tmp_path / "shelf")}
    assert items["milk"] == 1 and 3 <= items["tea"] <= MAX_VIEWS
    assert report.n_pictures == 1 + items["tea"] and not report.left_out
    images = images_of(catalog)[1:]
    times_s = [float(image.removeprefix("tea.mp4#t=").removesuffix("s")) for image in images]
    assert times_s == sorted(times_s) and len(set(times_s)) == len(times_s)
    done = [n for n, _ in steps]
    assert done == sorted(done) and steps[-1][0] == steps[-1][1] and len(set(done)) > 20
    assert not (tmp_path / "shelf" / ".work").exists()
    assert not check_catalog(tmp_path / "shelf", lambda n_done, n_total: None).damaged


def test_a_clip_alone_is_enough(tmp_path: Path, clip: Path) -> None:
    report = build_catalog(clip, tmp_path / "shelf", make_networks(), clips=WHOLE)
    assert [row["item_id"] for row in list_catalog_items(tmp_path / "shelf")] == ["tea"]
    assert report.n_items == 1 < report.n_pictures


def test_a_csv_may_name_clips(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "list.csv").write_text("item_id,label,image\n7,Tea,images/tea.mp4\n")
    build_catalog(tmp_path / "list.csv", tmp_path / "shelf", make_networks(), clips=WHOLE)
    catalog = Catalog.load(tmp_path / "shelf", None)
    assert catalog.items == (("7", "Tea"),)
    assert images_of(catalog)[0].startswith("images/tea.mp4#t=")


def test_a_still_clip_gives_one_view(tmp_path: Path) -> None:
    film(tmp_path / "images" / "tea.mp4", turning(501, 20, turn_deg=0))
    report = build_catalog(tmp_path / "images", tmp_path / "shelf", make_networks(), clips=WHOLE)
    assert report.n_pictures == 1


def test_blurred_pictures_are_not_chosen(tmp_path: Path) -> None:
    frames = list(turning(501, 60))
    for number in range(60):
        if number % 3 or 20 <= number < 30:  # moved too fast, and once for a whole second
            frames[number] = cv2.blur(frames[number], (25, 3))
    film(tmp_path / "images" / "tea.mp4", frames)
    build_catalog(tmp_path / "images", tmp_path / "shelf", make_networks(), clips=WHOLE)
    images = images_of(Catalog.load(tmp_path / "shelf", None))
    numbers = [round(float(i.partition("#t=")[2].removesuffix("s")) * FPS) for i in images]
    assert len(numbers) > 3
    assert all(n % 3 == 0 and not 20 <= n < 30 for n in numbers), numbers


def test_views_are_cut_to_the_thing_on_the_middle(tmp_path: Path, clip: Path) -> None:
    build_catalog(clip, tmp_path / "cut", make_networks(), trim=False, clips=CUT)
    cut, whole = Catalog.load(tmp_path / "cut", None), (SIZE_WH[0] / 2, SIZE_WH[1] / 2)
    sizes = [record.size_wh for record in read_pictures(cut.directory, cut.generation)]
    assert all(np.abs(np.divide(size, whole) - 1.16).max() < 0.04 for size in sizes)


def test_a_thing_that_is_seldom_seen_is_not_cut_to(tmp_path: Path, clip: Path) -> None:
    n_asked = 0

    def find_now_and_then(frames: Sequence[Frame]) -> list[Detections]:
        nonlocal n_asked
        n_asked += 1
        return find_the_middle(frames) if n_asked % 8 == 0 else find_nothing(frames)

    reader = replace(CUT, detect=find_now_and_then)
    build_catalog(clip, tmp_path / "shelf", make_networks(), trim=False, clips=reader)
    records = read_pictures(tmp_path / "shelf", 1)
    assert {record.size_wh for record in records} == {SIZE_WH}


def test_the_same_clip_gives_the_same_views(tmp_path: Path, clip: Path) -> None:
    for name in ("one", "two"):
        build_catalog(clip, tmp_path / name, make_networks(), clips=WHOLE)
    one, two = (Catalog.load(tmp_path / name, None) for name in ("one", "two"))
    assert read_pictures(one.directory, 1) == read_pictures(two.directory, 1)
    assert np.array_equal(one.embeddings, two.embeddings)
    assert np.array_equal(one.view_image_bgr(1), two.view_image_bgr(1))


def test_an_unchanged_clip_is_not_read_again(tmp_path: Path, clip: Path) -> None:
    embed = FakeEmbedder()
    build_catalog(clip, tmp_path / "shelf", make_networks(embed), clips=WHOLE)
    before, n_pictures = read_pictures(tmp_path / "shelf", 1), embed.n_pictures
    unread = replace(WHOLE, open=lambda path: pytest.fail(f"{path} was read"))
    build_catalog(clip, tmp_path / "shelf", make_networks(embed), clips=unread)
    assert read_pictures(tmp_path / "shelf", 2) == before and embed.n_pictures == n_pictures
    with pytest.raises(pytest.fail.Exception):
        changed = replace(unread, detector_sha256="another")
        build_catalog(clip, tmp_path / "shelf", make_networks(embed), clips=changed)


def test_a_killed_build_goes_on_with_the_clips_that_it_had_read(tmp_path: Path, clip: Path) -> None:
    embed = FakeEmbedder()
    with pytest.raises(KeyboardInterrupt):
        networks = make_networks(embed)
        embed.fail_after = 5  # candidates of the clip are described first, then its views
        build_catalog(clip, tmp_path / "shelf", networks, clips=WHOLE)
    embed.fail_after = None
    unread = replace(WHOLE, open=lambda path: pytest.fail(f"{path} was read"))
    report = build_catalog(clip, tmp_path / "shelf", make_networks(embed), clips=unread)
    assert report.n_pictures > 2


def test_clips_are_added_and_known_ones_are_told_once(tmp_path: Path, clip: Path) -> None:
    build_catalog(clip, tmp_path / "shelf", make_networks(), clips=WHOLE)
    film(tmp_path / "more" / "tea" / "back.mp4", turning(502, 30))
    (tmp_path / "more" / "tea" / "again.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "more" / "tea" / "copy.mp4").write_bytes(clip.read_bytes())
    report = add_to_catalog(tmp_path / "shelf", tmp_path / "more", make_networks(), clips=WHOLE)
    assert report.n_items == 1
    told = {Path(left.place).name: left.reason for left in report.left_out}
    assert told == {
        "again.mp4": "is in the catalog already as tea.mp4",
        "copy.mp4": "is the same clip as tea/again.mp4",
    }
    images = images_of(Catalog.load(tmp_path / "shelf", None))
    assert {image.partition("#")[0] for image in images} == {"tea.mp4", "tea/back.mp4"}


def test_clips_that_cannot_be_used_are_left_out_and_the_rest_is_built(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    film(images / "one.mp4", list(turning(502, 1)))
    film(images / "long.webm.mkv", turning(502, 80, turn_deg=0))
    (images / "broken.mov").write_bytes(b"\0\0\0\x18ftypqt  " + bytes(2000))
    (images / "empty.avi").touch()
    monkeypatch.setattr(clips_module, "MAX_LENGTH_S", 7.0)
    report = build_catalog(images, tmp_path / "shelf", make_networks(), clips=WHOLE)
    told = {Path(left.place).name: left.reason for left in report.left_out}
    assert told["one.mp4"] == "has one picture only, a clip must have more; export it as JPEG"
    assert told["long.webm.mkv"] == "lasts 8 s, a clip may last 7 s; cut it to the item"
    assert told["broken.mov"].startswith("the data cannot be understood as video")
    assert told["empty.avi"] == "is empty"
    assert set(report.empty_items) == {"one", "long.webm", "broken", "empty"}
    assert [row["item_id"] for row in list_catalog_items(tmp_path / "shelf")] == ["tea"]


def test_a_clip_that_does_not_say_how_long_it_is_is_left_out_all_the_same(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clips_module, "MAX_LENGTH_S", 3.0)
    silent = replace(WHOLE, open=lambda path: replace(open_clip(path), length_s=0.0))
    with pytest.raises(CatalogError, match=r"tea.mp4 lasts 3 s, a clip may last 3 s; cut it"):
        build_catalog(clip, tmp_path / "shelf", make_networks(), clips=silent)


def test_without_a_reader_clips_are_left_out(tmp_path: Path, clip: Path) -> None:
    draw(tmp_path / "images" / "milk.png", 3)
    report = build_catalog(tmp_path / "images", tmp_path / "shelf", make_networks())
    assert [left.reason for left in report.left_out] == ["is a clip, and clips are not read here"]


def test_the_first_view_is_the_sharpest_near_the_middle() -> None:
    rows = np.eye(9, dtype=np.float32)
    blur = [0.1, 0.3, 0.3, 0.2, 0.3, 0.15, 0.3, 0.3, 0.05]
    assert choose_views(rows, list(range(9)), blur)[0] == 5


def test_views_stop_where_nothing_is_new_and_at_a_number() -> None:
    angles = np.linspace(0, np.pi, 200)
    arc = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    times_s, blur = [0.1 * n for n in range(200)], [0.2] * 200
    chosen = choose_views(arc, times_s, blur)
    assert 3 <= len(chosen) <= 5 and {0, 199} <= set(chosen)
    assert len(choose_views(np.eye(200, dtype=np.float32), times_s, blur)) == MAX_VIEWS
    assert choose_views(np.ones((1, 1), np.float32), [0.0], [0.9]) == [0]


def test_sharpness_is_judged_beside_the_clips_own() -> None:
    assert leave_blurred_out([0.6] * 30) == list(range(30))
    assert leave_blurred_out([0.2, 0.6, 0.25, 0.2, 0.7]) == [0, 2, 3]


def test_build_reads_clips_and_a_wrong_file_is_told(
    run: Run, tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.cli.catalog.load_clip_reader", lambda *_: WHOLE)
    code, said, _ = run("build", clip, "--out", tmp_path / "shelf")
    assert code == 0 and "1 items" in said
    code, said, _ = run("list", tmp_path / "shelf", "--json")
    assert json.loads(said)["pictures"] > 1
    (tmp_path / "a.mp3").write_bytes(b"x")
    code, _, errors = run("build", tmp_path / "a.mp3", "--out", tmp_path / "other")
    assert code == 2 and "must be a folder, a .csv file or a clip (.avi" in errors
    with pytest.raises(ConfigError, match="no such folder, CSV file or clip"):
        build_catalog(tmp_path / "none.mp4", tmp_path / "other", make_networks())


def test_the_detector_is_loaded_only_where_there_are_clips(tmp_path: Path) -> None:
    picture = draw(tmp_path / "images" / "milk.png", 3)
    nowhere = DetectOptions(weights=tmp_path / "missing.safetensors")
    options = MatcherOptions(detect=nowhere)
    assert load_clip_reader(options, find_images(picture.parent).sources) is None
    (picture.parent / "tea.mp4").touch()
    with pytest.raises(WeightsError):
        load_clip_reader(options, find_images(picture.parent).sources)
