"""Evaluating a catalog on labelled photos, with the real matcher on fake networks."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import pipeline.matcher
from catalog_tools.evaluation.evaluate import (
    Evaluation,
    check_labels,
    evaluate_catalog,
    hide_items,
    read_truth,
    split_items,
)
from catalog_tools.evaluation.report import table_rows, write_report
from catalog_tools.synthesize.packs import render_pack
from catalog_tools.synthesize.scenes import make_background, paste_pack
from pipeline.catalog import Catalog
from pipeline.errors import ConfigError
from streamer.cli import main
from tests.fake_networks import EMBEDDER_SHA256
from tests.pipeline.matcher_rig import SEED, build_pack_catalog, make_matcher

ITEMS = ("pack-0", "pack-1", "pack-2", "pack-3")


def draw_photo(path: Path, seed: int) -> None:
    """A pack in the middle of a dark ground."""
    image = (make_background(np.random.default_rng(seed), (320, 320)) * 0.12).astype(np.uint8)
    quad = np.array([[105, 85], [220, 90], [216, 240], [102, 236]], np.float32)
    paste_pack(image, render_pack(seed, (220, 300)), quad)
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), image)


def files_of(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*")}


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pack_catalog(tmp_path_factory.mktemp("evaluate"), [SEED + i for i in range(4)])


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of three items, one of a stranger, one that can't be read."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(3):
        draw_photo(folder / f"shelf/{i}.png", SEED + i)
    draw_photo(folder / "shelf/stranger.png", SEED + 77)
    (folder / "broken.jpg").write_bytes(b"no picture")
    lines = [f"shelf/{i}.png,pack-{i}" for i in range(3)]
    lines += ["shelf/stranger.png,none", "broken.jpg,pack-3"]
    (folder / "truth.csv").write_text("image,item_id\n" + "\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def evaluation(catalog: Path, photos: Path) -> Evaluation:
    labels = read_truth(photos / "truth.csv")
    before, seen = files_of(catalog), []
    found = evaluate_catalog(
        catalog, photos, labels, make_matcher({}),
        k=2, progress=lambda done, of: seen.append((done, of)),
    )  # fmt: skip
    assert files_of(catalog) == before, "the user's catalog was written"
    assert seen == [(i, 13) for i in range(1, 14)]  # 5 photos, 4 with an item searched and hidden
    return found


def test_items_are_found_unless_the_photo_is_broken(evaluation: Evaluation) -> None:
    figures = evaluation.figures
    assert figures["n_items"] == 4 and figures["n_unreadable"] == 1
    assert figures["top_1"] == 0.75  # three of four
    assert figures["search"]["shortlist_recall_k"] == 0.75
    assert figures["without_item"]["exact"] == 0


def test_a_photo_is_asked_of_a_catalog_without_its_item(evaluation: Evaluation) -> None:
    assert len(evaluation.left_out) == 4
    for photo in evaluation.left_out:
        half = next(h for h in split_items(ITEMS) if photo.label.item_id in h)
        assert not half & set(photo.ranked), "a hidden item was named"
    assert evaluation.figures["leave_out"]["n_photos"] == 4
    assert evaluation.figures["leave_out"]["false_exact"] == 0


def test_hidden_items_are_gone_and_the_rest_is_the_same(catalog: Path) -> None:
    whole = Catalog.load(catalog, EMBEDDER_SHA256)
    with hide_items(catalog, whole.generation, ["pack-0", "pack-2"]) as rest:
        left = Catalog.load(rest, EMBEDDER_SHA256)
        assert [item.item_id for item in left.items] == ["pack-1", "pack-3"]
        assert np.array_equal(left.embeddings, whole.embeddings[[1, 3]])
    assert not rest.exists()


def test_halves_are_the_even_and_odd_places_of_the_sorted_ids() -> None:
    assert split_items(["c", "a", "d", "b", "e"]) == ({"a", "c", "e"}, {"b", "d"})


def test_the_report_holds_figures_answers_and_pictures(
    evaluation: Evaluation, tmp_path: Path
) -> None:
    written = {path.name for path in write_report(evaluation, make_matcher({}), tmp_path)}
    assert {"evaluation.json", "photos.jsonl", "left_out.jsonl", "curves.png"} <= written
    assert json.loads((tmp_path / "evaluation.json").read_text())["top_1"] == 0.75
    lines = [json.loads(line) for line in (tmp_path / "photos.jsonl").read_text().splitlines()]
    assert [line["truth"] for line in lines] == ["pack-0", "pack-1", "pack-2", "none", "pack-3"]
    assert lines[0]["image"] == "shelf/0.png" and "error" in lines[4]
    assert cv2.imread(str(tmp_path / "reliability.png")) is not None
    rows = {what: figure for what, figure, _ in table_rows(evaluation.figures)}
    assert rows["top-1"] == "75.0 %" and rows["unreadable"] == "1"


def test_wrong_answers_are_drawn_with_their_reason(
    catalog: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "truth.csv").write_text("image,item_id\nshelf/0.png,pack-1\n")  # a false label
    labels = read_truth(tmp_path / "truth.csv")
    matcher = make_matcher({})
    found = evaluate_catalog(catalog, photos, labels, matcher, leave_out=False)
    assert found.figures["top_1"] == 0 and "leave_out" not in found.figures
    write_report(found, matcher, tmp_path / "out")
    sheet = cv2.imread(str(tmp_path / "out" / "confusion.png"))
    assert sheet is not None and sheet.shape[0] > 260 and sheet.max() > 200


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("photo,item\na.jpg,b\n", "must have the columns image,item_id, got 'photo,item'"),
        ("image,item_id\n", "must name at least one photo"),
        ("image,item_id\na.jpg,\n", "truth.csv:2: needs an image and an item_id"),
        ("image,item_id\na.jpg,b\na.jpg,c\n", "truth.csv:3: a photo may be named once"),
    ],
)
def test_a_mistake_in_the_truth_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "truth.csv").write_text(text)
    with pytest.raises(ConfigError, match=r"truth .*truth\.csv") as error:
        read_truth(tmp_path / "truth.csv")
    assert told in str(error.value)


def test_a_truth_that_is_not_there_and_items_that_are_not_in_the_catalog(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file.*--truth FILE"):
        read_truth(tmp_path / "truth.csv")
    (tmp_path / "truth.csv").write_text("image,item_id\na.jpg,pack-1\nb.jpg,pakc-2\nc.jpg,none\n")
    labels = read_truth(tmp_path / "truth.csv")
    assert [label.item_id for label in labels] == ["pack-1", "pakc-2", None]
    with pytest.raises(ConfigError, match="must be in the catalog or `none`, got 'pakc-2'"):
        check_labels(labels, ITEMS, "truth")


def test_the_command_prints_the_table_or_json_and_tells_mistakes(
    catalog: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline.matcher, "create_matcher", lambda *_: make_matcher({}))

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["magpie", "catalog", "evaluate", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    code, said, _ = run(catalog, photos, "--out", tmp_path / "out", "--no-leave-out")
    assert code == 0 and "top-1" in said and f"{tmp_path}/out/curves.png" in said
    code, said, _ = run(catalog, photos, "--json", "-k", "3", "--no-leave-out")
    assert code == 0 and json.loads(said)["k"] == 3
    (tmp_path / "wrong.csv").write_text("image,item_id\nshelf/0.png,pakc-0\n")
    code, _, errors = run(catalog, photos, "--truth", tmp_path / "wrong.csv")
    assert code == 2 and "got 'pakc-0'" in errors and len(errors.splitlines()) == 1
    assert run(catalog, tmp_path)[0] == 2
    assert "no such directory" in run(tmp_path / "nowhere", photos)[2]
