"""Building, adding, removing: what gets in, what is told, what is not computed twice."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog_tools import describe
from catalog_tools.build import (
    add_to_catalog,
    build_catalog,
)
from catalog_tools.changes import remove_from_catalog
from pipeline.catalog import Catalog, current_generation
from pipeline.catalog_format import generation_folder
from pipeline.catalog_writing import catalog_lock
from pipeline.errors import CatalogError, ConfigError
from pipeline.keypoints import KeypointExtractor
from pipeline.options import VerifyOptions
from tests.catalog_tools.drawn_pictures import draw
from tests.fake_networks import EMBEDDER_SHA256, FakeEmbedder, make_networks


@pytest.fixture
def embed() -> FakeEmbedder:
    return FakeEmbedder()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a/1", "a/2", "b/1", "ü c/1")):
        draw(tmp_path / "images" / f"{name}.png", seed)
    return tmp_path / "images"


def test_build_stores_every_picture_and_lists_the_unusable(
    tmp_path: Path, images: Path, embed: FakeEmbedder
) -> None:
    (images / "b" / "broken.jpg").write_bytes(b"no picture")
    (images / "ghost").mkdir()
    (images / "ghost" / "empty.png").touch()
    steps: list[tuple[int, int]] = []
    report = build_catalog(
        images,
        tmp_path / "shelf",
        make_networks(embed),
        progress=lambda done, total: steps.append((done, total)),
    )
    catalog = Catalog.load(tmp_path / "shelf", EMBEDDER_SHA256)
    assert [item.item_id for item in catalog.items] == ["a", "b", "ü c"]
    assert catalog.view_item.tolist() == [0, 0, 1, 2]
    assert (report.n_items, report.n_pictures, report.empty_items) == (3, 4, ("ghost",))
    assert {(Path(left.place).name, left.reason) for left in report.left_out} == {
        ("broken.jpg", "is no picture of a known format"),
        ("empty.png", "is empty"),
    }
    assert steps[0] == (0, 6) and steps[-1] == (6, 6)
    assert not (tmp_path / "shelf" / ".work").exists()
    wanted = cv2.imread(str(images / "b" / "1.png"))
    stored = catalog.view_image_bgr(2)
    assert stored.shape == wanted.shape
    assert np.abs(stored.astype(int) - wanted).mean() < 6
    assert np.allclose(catalog.embeddings[2], embed([wanted])[0], atol=1e-6)
    found = catalog.keypoints(2)
    direct = KeypointExtractor(VerifyOptions()).extract(wanted)
    assert len(found) == len(direct) > 20
    assert np.array_equal(found.xy_scale_ori, direct.xy_scale_ori)


def test_view_pixels_are_those_of_the_stored_picture(tmp_path: Path, embed: FakeEmbedder) -> None:
    large = np.random.default_rng(1).integers(0, 255, (30, 50, 3), dtype=np.uint8)
    large = cv2.resize(large, (2000, 1200), interpolation=cv2.INTER_CUBIC)
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.jpg"), large)
    build_catalog(tmp_path / "images", tmp_path / "out", make_networks(embed), trim=False)
    catalog = Catalog.load(tmp_path / "out", None)
    keypoints = catalog.keypoints(0)
    assert catalog.view_image_bgr(0).shape == (192, 320, 3)
    assert keypoints.image_size_wh == (320, 192)
    assert keypoints.xy_scale_ori[:, 0].max() > 250


def test_nothing_usable_is_an_error(tmp_path: Path, embed: FakeEmbedder) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(b"text")
    with pytest.raises(CatalogError, match=r"no picture is usable: .*a.jpg is no picture of"):
        build_catalog(tmp_path / "images", tmp_path / "out", make_networks(embed))


def test_turned_views(tmp_path: Path, images: Path, embed: FakeEmbedder) -> None:
    build_catalog(images, tmp_path / "out", make_networks(embed), turns=True)
    catalog = Catalog.load(tmp_path / "out", None)
    picture = cv2.imread(str(images / "a" / "1.png"))
    turned = cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE)
    assert catalog.view_turn_deg[:4].tolist() == [0, 90, 180, 270]
    assert np.allclose(catalog.embeddings[1], embed([turned])[0], atol=1e-6)


def test_a_killed_build_goes_on(
    tmp_path: Path, images: Path, embed: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describe, "BATCH", 2)
    embed.fail_after = 2
    with pytest.raises(KeyboardInterrupt):
        build_catalog(images, tmp_path / "out", make_networks(embed))
    with pytest.raises(CatalogError, match="must hold a finished catalog"):
        current_generation(tmp_path / "out")
    embed.fail_after = None
    build_catalog(images, tmp_path / "out", make_networks(embed))
    assert embed.n_pictures == 4
    assert len(Catalog.load(tmp_path / "out", None).embeddings) == 4


def build_until_killed(images: Path, out: Path) -> None:
    """Build in a process of its own that is killed after two pictures."""
    describe.BATCH = 2
    embed = FakeEmbedder()

    def embed_two(pictures: Sequence[np.ndarray]) -> np.ndarray:
        if embed.n_pictures >= 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return embed(pictures)

    build_catalog(images, out, replace(make_networks(embed), embed=embed_two))


def test_a_build_goes_on_after_sigkill(tmp_path: Path, images: Path, embed: FakeEmbedder) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=build_until_killed, args=(images, tmp_path / "out")
    )
    process.start()
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    build_catalog(images, tmp_path / "out", make_networks(embed))
    assert embed.n_pictures == 2
    assert len(Catalog.load(tmp_path / "out", None).embeddings) == 4


def test_a_half_written_work_file_is_computed_again(
    tmp_path: Path, images: Path, embed: FakeEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describe, "BATCH", 2)
    embed.fail_after = 2
    with pytest.raises(KeyboardInterrupt):
        build_catalog(images, tmp_path / "out", make_networks(embed))
    for path in (tmp_path / "out" / ".work").rglob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    embed.fail_after = None
    build_catalog(images, tmp_path / "out", make_networks(embed))
    assert embed.n_pictures == 6


def test_rebuilding_takes_unchanged_pictures_over(
    tmp_path: Path, images: Path, embed: FakeEmbedder
) -> None:
    build_catalog(images, tmp_path / "out", make_networks(embed))
    draw(images / "a" / "2.png", 77)
    assert build_catalog(images, tmp_path / "out", make_networks(embed)).generation == 2
    assert embed.n_pictures == 5
    build_catalog(images, tmp_path / "out", make_networks(embed, "cd" * 32))
    assert embed.n_pictures == 9
    assert Catalog.load(tmp_path / "out", "cd" * 32).generation == 3


def test_rebuilding_mends_a_damaged_catalog(
    tmp_path: Path, images: Path, embed: FakeEmbedder
) -> None:
    build_catalog(images, tmp_path / "out", make_networks(embed))
    (tmp_path / "out" / "CURRENT").write_text("garbage")
    assert build_catalog(images, tmp_path / "out", make_networks(embed)).generation == 2


def test_the_same_picture_twice_is_one_view(
    tmp_path: Path, images: Path, embed: FakeEmbedder
) -> None:
    (images / "a" / "copy.png").write_bytes((images / "a" / "1.png").read_bytes())
    (images / "b" / "of_a.png").write_bytes((images / "a" / "1.png").read_bytes())
    report = build_catalog(images, tmp_path / "out", make_networks(embed))
    assert [left.reason for left in report.left_out] == ["is the same picture as a/1.png"]
    assert report.n_pictures == 5


def test_add_and_remove(tmp_path: Path, images: Path, embed: FakeEmbedder) -> None:
    out = tmp_path / "out"
    build_catalog(images, out, make_networks(embed))
    (generation_folder(out, 1) / "calibration.json").write_text("{}")
    more = tmp_path / "more"
    draw(more / "d" / "1.png", 20)
    draw(more / "a" / "3.png", 21)
    draw(more / "a" / "again.png", 0)
    report = add_to_catalog(out, more, make_networks(embed))
    assert (report.generation, report.n_items, report.n_pictures) == (2, 4, 6)
    assert [left.reason for left in report.left_out] == ["is in the catalog already as a/1.png"]
    assert embed.n_pictures == 6
    catalog = Catalog.load(out, None)
    assert catalog.view_item.tolist() == [0, 0, 1, 2, 0, 3]
    assert (catalog.folder / "calibration.json").read_text() == "{}"
    before = {tuple(row): catalog.items[i].item_id for row, i in _rows(catalog)}
    assert remove_from_catalog(out, ["a", "ü c"]) == 3
    catalog = Catalog.load(out, None)
    assert [item.item_id for item in catalog.items] == ["b", "d"]
    assert all(before[tuple(row)] == catalog.items[i].item_id for row, i in _rows(catalog))


def _rows(catalog: Catalog) -> list[tuple[np.ndarray, int]]:
    return list(zip(catalog.embeddings, catalog.view_item, strict=True))


def test_remove_refuses_strangers_and_the_last_item(
    tmp_path: Path, images: Path, embed: FakeEmbedder
) -> None:
    build_catalog(images, tmp_path / "out", make_networks(embed))
    with pytest.raises(CatalogError, match=r"does not hold 'x', 'y'; see the items: magpie"):
        remove_from_catalog(tmp_path / "out", ["a", "y", "x"])
    with pytest.raises(CatalogError, match="must keep at least one item"):
        remove_from_catalog(tmp_path / "out", ["a", "b", "ü c"])
    assert current_generation(tmp_path / "out") == 1


def test_add_refuses_another_embedder_and_other_keypoints(
    tmp_path: Path, images: Path, embed: FakeEmbedder
) -> None:
    networks = make_networks(embed)
    build_catalog(images, tmp_path / "out", networks)
    with pytest.raises(
        CatalogError, match=r"built with embedder ffffffff….*magpie catalog rebuild"
    ):
        add_to_catalog(tmp_path / "out", images, make_networks(embed, "cd" * 32))
    other = replace(
        networks, make_extractor=lambda: KeypointExtractor(VerifyOptions(max_keypoints=64))
    )
    with pytest.raises(CatalogError, match="built with keypoints rootsift-320px-256"):
        add_to_catalog(tmp_path / "out", images, other)
    with pytest.raises(CatalogError, match="no such directory"):
        add_to_catalog(tmp_path / "missing", images, networks)


def test_build_refuses_a_folder_that_holds_something_else(
    tmp_path: Path, images: Path, embed: FakeEmbedder
) -> None:
    with pytest.raises(ConfigError, match=r"must be new, empty or a catalog, got 'a folder with a"):
        build_catalog(images, images, make_networks(embed))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="must be a folder, is a file"):
        build_catalog(images, tmp_path / "file", make_networks(embed))


def test_two_builds_at_once_are_refused(tmp_path: Path, images: Path, embed: FakeEmbedder) -> None:
    with catalog_lock(tmp_path / "out"):
        with pytest.raises(CatalogError, match="another command is writing it"):
            build_catalog(images, tmp_path / "out", make_networks(embed))
