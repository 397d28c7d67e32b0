"""Photos of any set: which are read, and what counts as named, told and wrong."""

from pathlib import Path

import cv2
import pytest

from benchmarks.eval_photos import (
    Photo,
    ask_photos,
    catalog_of,
    find_set,
    main,
    read_photos,
    score_photos,
    split_key,
    table_rows,
)
from benchmarks.eval_setup import CLIP_CAMERA, Built
from benchmarks.splits import Split
from catalog_tools.query import Answer
from pipeline.color import frame_bgr
from pipeline.errors import ConfigError
from tests.pipeline.matcher_rig import SEED, build_pack_catalog, draw_frame, make_matcher

HEAD = "image,item_id,x0,y0,x1,y1,kind,visibility,exhaustive,note\n"


def answer(first: str | None, *told: tuple[str, str], error: str | None = None) -> Answer:
    matches = tuple({"item_id": item_id, "tier": tier} for item_id, tier in told)
    ranked = ({"item_id": first, "probability": 0.5},) if first else ()
    return Answer("a.jpg", matches, ranked, error, (10, 10))


def truth(folder: Path, text: str) -> Path:
    for name in "abc":
        (folder / f"{name}.jpg").touch()
    path = folder / "truth.csv"
    path.write_text(text)
    return path


def test_several_rows_stand_for_one_photo_with_several_items(tmp_path: Path) -> None:
    rows = ["b.jpg,tea,1,2,3,4,several,full,1,", "b.jpg,milk,,,,,several,full,0,x"]
    rows += ["a.jpg,none,,,,,none,,1,", "b.jpg,tea,5,6,7,8,several,full,1,"]
    path = truth(tmp_path, HEAD + "\n".join(rows) + "\n")
    assert read_photos(path) == [
        Photo("b.jpg", ("tea", "milk"), False),
        Photo("a.jpg", (), True),
    ]


def test_photos_without_a_word_on_it_name_all_that_they_show(tmp_path: Path) -> None:
    path = truth(tmp_path, "image,item_id\na.jpg,tea\nb.jpg,none\n")
    assert read_photos(path) == [Photo("a.jpg", ("tea",), True), Photo("b.jpg", (), True)]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("a.jpg,\n", r"truth.csv:2: needs an image and an item_id"),
        ("a.jpg,tea\nz.jpg,tea\n", r"truth.csv:3: no such photo, got 'z.jpg'"),
        ("a.jpg,tea\na.jpg,none\n", r"truth.csv:3: a photo has items or `none`, not both"),
    ],
)
def test_a_wrong_line_of_the_truth_is_told(tmp_path: Path, rows: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_photos(truth(tmp_path, "image,item_id\n" + rows))
    with pytest.raises(ConfigError, match=r"truth.csv:2: exhaustive must be 0 or 1, got 'yes'"):
        read_photos(truth(tmp_path, "image,item_id,exhaustive\na.jpg,tea,yes\n"))


def test_an_item_counts_once_a_photo_and_what_is_not_in_it_is_wrong() -> None:
    photos = [Photo("a.jpg", ("tea", "milk"), True), Photo("b.jpg", ("tea",), True)]
    answers = [
        answer("milk", ("tea", "similar"), ("tea", "exact"), ("tea", "exact")),
        answer("milk", ("milk", "exact"), ("tea", "very_similar"), ("rice", "similar")),
    ]
    figures = score_photos(photos, answers)
    assert figures["top_1"] == 0.5 and figures["not_first"] == {"b.jpg": "milk"}
    exact, very_similar = figures["tiers"]["exact"], figures["tiers"]["very_similar"]
    assert (exact["n_right"], exact["n_wrong"], exact["n_true"]) == (1, 1, 3)
    assert (exact["precision"], exact["recall"]) == (0.5, 0.3333)
    assert (very_similar["precision"], very_similar["recall"]) == (0.6667, 0.6667)
    assert figures["tiers"]["similar"]["n_wrong"] == 2
    assert figures["wrong"] == {"b.jpg": {"milk": "exact", "rice": "similar"}}


def test_where_not_all_is_named_only_recall_counts() -> None:
    photos = [Photo("a.jpg", ("tea",), False), Photo("b.jpg", ("tea",), True)]
    figures = score_photos(photos, [answer("tea", ("tea", "exact"), ("milk", "exact"))] * 2)
    assert figures["tiers"]["exact"]["precision"] == 0.5
    assert figures["tiers"]["exact"]["recall"] == 1.0
    assert figures["n_exhaustive"] == 1 and list(figures["wrong"]) == ["b.jpg"]


def test_photos_of_none_count_what_is_told_of_them() -> None:
    none, unlabelled = Photo("a.jpg", (), True), Photo("b.jpg", (), False)
    told = [answer("tea", ("tea", "exact"), ("milk", "exact")), answer("tea", ("tea", "similar"))]
    figures = score_photos([none, none, none, unlabelled], [*told, answer("tea"), told[0]])
    assert figures["without_item"] == {
        "n_photos": 3, "exact": 1, "very_similar": 1, "published": 2,
    }  # fmt: skip
    assert figures["tiers"]["exact"]["n_wrong"] == 2 and figures["top_1"] == 0
    rows = table_rows({"n_items": 2, **figures})
    assert ("photos of none told exact · anything", "1 · 2", "3 photos") in rows


def test_a_photo_that_cannot_be_read_is_not_found() -> None:
    figures = score_photos([Photo("a.jpg", ("tea",), True)], [answer(None, error="is cut off")])
    assert figures["top_1"] == 0 and figures["n_unreadable"] == 1
    assert figures["tiers"]["exact"]["precision"] is None
    assert table_rows({"n_items": 1, **figures})[-1][0] == "photos that cannot be read"


def test_a_set_is_named_or_is_a_folder_of_ones_own(tmp_path: Path) -> None:
    folder = tmp_path / "my shop"
    folder.mkdir()
    assert find_set(None, folder) == ("my shop", folder)
    assert find_set("shop", folder) == ("shop", folder)
    for name, data in ((None, None), ("../goods", None), ("", folder)):
        with pytest.raises(ConfigError, match="SET"):
            find_set(name, data)


def test_the_catalog_is_a_list_of_pictures_or_else_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must hold catalog.csv or a folder catalog"):
        catalog_of(tmp_path)
    (tmp_path / "catalog").mkdir()
    assert catalog_of(tmp_path).name == "catalog"
    (tmp_path / "catalog.csv").touch()
    assert catalog_of(tmp_path).name == "catalog.csv"


def test_a_set_is_split_by_item_and_a_shelf_by_photo() -> None:
    photo = Photo("queries/e2.jpg", ("tea", "milk"), True)
    assert split_key("goods", photo) == "tea" and split_key("shelf", photo) == "queries/e2.jpg"
    assert split_key("grocery", Photo("a.jpg", (), True)) == ""


def test_what_is_kept_back_or_empty_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    truth(tmp_path, "image,item_id\na.jpg,tea\n")
    with pytest.raises(ConfigError, match="kept for an issue's end"):
        main("beverages", tmp_path)
    with pytest.raises(ConfigError, match="--split: must leave a photo of banknotes, got 'check'"):
        main("banknotes", tmp_path, split=Split.CHECK)


def test_made_photos_are_asked_about_and_unknown_items_refused(tmp_path: Path) -> None:
    """On fake networks: one photo of two packs, one of a stranger."""
    directory = build_pack_catalog(tmp_path, [SEED, SEED + 1])
    built = Built(directory, make_matcher({CLIP_CAMERA: directory}), 2, 0.0)
    scenes = {"a": [(SEED, (60, 90)), (SEED + 1, (250, 90))], "b": [(SEED + 9, (250, 90))]}
    for name, packs in scenes.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), frame_bgr(draw_frame(packs, 0)))
    photos = [Photo("a.png", ("pack-0", "pack-1"), True), Photo("b.png", (), True)]
    figures = score_photos(photos, ask_photos(tmp_path, photos, built))
    assert figures["top_1"] == 1.0 and figures["tiers"]["exact"]["recall"] == 1.0
    assert figures["without_item"]["published"] == 0 and figures["wrong"] == {}
    with pytest.raises(ConfigError, match="each item_id must be in the catalog or `none`"):
        ask_photos(tmp_path, [Photo("a.png", ("tea",), True)], built)
