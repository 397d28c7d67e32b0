"""The catalog on disk: what is written comes back; damage, strangers and races are told."""

import errno
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.catalog import (
    Catalog,
    Item,
    Recipe,
    StoredPicture,
    current_generation,
    list_generations,
    write_generation,
)
from pipeline.catalog_format import Manifest, PictureRecord, generation_folder, read_pictures
from pipeline.catalog_writing import ArrayFile, catalog_lock, require_room, switch_generation
from pipeline.errors import CatalogError
from pipeline.types import ItemId, Keypoints

EMBEDDER = "3fa2" * 16
RECIPE = Recipe(embedder_sha256=EMBEDDER, embedder="test", extractor="rootsift-320px-256")


def unit_rows(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    rows = rng.normal(size=(n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def make_picture(item_id: str, seed: int, n_keypoints: int = 5, n_turns: int = 1) -> StoredPicture:
    rng = np.random.default_rng(seed)
    size_wh = (60 + seed, 40)
    pixels = np.full((size_wh[1], size_wh[0], 3), (20 * seed % 255, 90, 200), np.uint8)
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    descriptors = np.abs(unit_rows(rng, n_keypoints, 128))
    keypoints = Keypoints(
        rng.uniform(0, 40, (n_keypoints, 4)).astype(np.float32), descriptors, size_wh
    )
    record = PictureRecord(image=f"{item_id}/{seed}.png", sha256=f"{seed:064d}", size_wh=(640, 480))
    return StoredPicture(
        ItemId(item_id), record, unit_rows(rng, n_turns, 16), lambda: (keypoints, jpeg)
    )


def write(directory: Path, *item_ids: str, recipe: Recipe = RECIPE) -> int:
    names = list(dict.fromkeys(item_ids))
    return write_generation(
        directory,
        recipe,
        [Item(ItemId(i), f"label of {i}") for i in names],
        [
            make_picture(i, seed, n_turns=len(recipe.turns_deg))
            for seed, i in enumerate(item_ids, 1)
        ],
        sources=["packs"],
    )


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    assert write(tmp_path / "shelf", "a", "ö 文 %", "a") == 1
    catalog = Catalog.load(tmp_path / "shelf", EMBEDDER)
    assert (catalog.name, catalog.generation) == ("shelf", 1)
    assert catalog.items == (("a", "label of a"), ("ö 文 %", "label of ö 文 %"))
    assert catalog.view_item.tolist() == [0, 1, 0]
    for view in range(3):
        wanted = make_picture(("a", "ö 文 %", "a")[view], view + 1)
        keypoints, _ = wanted.load()
        found = catalog.keypoints(view)
        assert np.array_equal(catalog.embeddings[view], wanted.embeddings[0])
        assert np.array_equal(found.xy_scale_ori, keypoints.xy_scale_ori)
        assert np.abs(found.descriptors - keypoints.descriptors).max() < 1e-3
        assert np.allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)
        assert found.image_size_wh == (61 + view, 40)
        assert catalog.view_image_bgr(view).shape == (40, 61 + view, 3)
    assert [p.image for p in read_pictures(tmp_path / "shelf", 1)][1] == "ö 文 %/2.png"


def test_turned_views_share_their_picture(tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"turns_deg": (0, 90, 180, 270)})
    write(tmp_path, "a", "b", recipe=recipe)
    catalog = Catalog.load(tmp_path, None)
    assert catalog.embeddings.shape == (8, 16)
    assert catalog.view_item.tolist() == [0] * 4 + [1] * 4
    assert catalog.view_turn_deg.tolist() == [0, 90, 180, 270] * 2
    assert np.array_equal(catalog.keypoints(4).xy_scale_ori, catalog.keypoints(7).xy_scale_ori)


def test_pictures_copied_to_the_next_generation_are_bit_equal(tmp_path: Path) -> None:
    write(tmp_path, "a", "b")
    before = Catalog.load(tmp_path, None)
    write_generation(tmp_path, RECIPE, before.items, before.stored_pictures())
    for name in ("descriptors.npy", "keypoints.npy", "embeddings.npy", "pictures.bin"):
        first, second = (generation_folder(tmp_path, n) / name for n in (1, 2))
        assert first.read_bytes() == second.read_bytes(), name


def test_a_picture_without_keypoints(tmp_path: Path) -> None:
    write_generation(
        tmp_path, RECIPE, [Item(ItemId("a"), "a")], [make_picture("a", 1, n_keypoints=0)]
    )
    assert len(Catalog.load(tmp_path, None).keypoints(0)) == 0


def test_a_catalog_of_an_older_format_is_refused_with_the_command_that_rebuilds_it(
    tmp_path: Path,
) -> None:
    write(tmp_path / "shelf", "a")
    path = generation_folder(tmp_path / "shelf", 1) / "manifest.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 1'))
    command = r"rebuild it: magpie catalog build packs --out .*shelf"
    with pytest.raises(CatalogError, match=rf"must have format 2, got 1; {command}"):
        Catalog.load(tmp_path / "shelf", None)


def test_keeps_three_old_generations_and_switches_back(tmp_path: Path) -> None:
    for _ in range(6):
        write(tmp_path, "a")
    assert list_generations(tmp_path) == [3, 4, 5, 6]
    switch_generation(tmp_path, 4)
    assert current_generation(tmp_path) == 4
    assert write(tmp_path, "a") == 7
    with pytest.raises(CatalogError, match=r"generation must be one of 4, 5, 6, 7, got 1"):
        switch_generation(tmp_path, 1)


def test_a_failed_writer_leaves_the_old_generation_in_use(tmp_path: Path) -> None:
    write(tmp_path, "a")

    def fail(folder: Path, manifest: Manifest) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_generation(
            tmp_path,
            RECIPE,
            [Item(ItemId("b"), "b")],
            [make_picture("b", 1)],
            add_files=fail,
        )
    assert Catalog.load(tmp_path, None).items[0].item_id == "a"
    assert [p.name for p in (tmp_path / "generations").iterdir()] == ["000001"]


def test_a_killed_writers_rest_is_removed(tmp_path: Path) -> None:
    (tmp_path / "generations" / ".new-999999").mkdir(parents=True)
    write(tmp_path, "a")
    assert [p.name for p in (tmp_path / "generations").iterdir()] == ["000001"]


def test_an_item_without_a_picture_is_refused(tmp_path: Path) -> None:
    items = [Item(ItemId("a"), "a"), Item(ItemId("b"), "b")]
    with pytest.raises(ValueError, match="each item needs"):
        write_generation(tmp_path, RECIPE, items, [make_picture("a", 1)])


def test_missing_and_empty_catalogs(tmp_path: Path) -> None:
    missing = tmp_path / "shelf"
    with pytest.raises(CatalogError, match=r"no such directory; build it: magpie catalog build"):
        Catalog.load(missing, None)
    missing.mkdir()
    with pytest.raises(CatalogError, match=r"must hold a finished catalog, has no file CURRENT"):
        Catalog.load(missing, None)
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(CatalogError, match=r"must be a catalog directory, is a file"):
        Catalog.load(file, None)


def test_foreign_weights_name_the_command(tmp_path: Path) -> None:
    write(tmp_path, "a")
    with pytest.raises(CatalogError) as caught:
        Catalog.load(tmp_path, "91bc" * 16)
    text = str(caught.value)
    assert "built with embedder 3fa23fa2…, the config loads 91bc91bc…" in text
    assert f"magpie catalog rebuild {tmp_path}" in text


def test_other_keypoints_name_the_command(tmp_path: Path) -> None:
    write(tmp_path / "shelf", "a")
    fewer = Catalog.load(tmp_path / "shelf", EMBEDDER, extractor="rootsift-320px-128")
    assert fewer.generation == 1, "the same method: they compare"
    told = r"built with keypoints rootsift, the config asks for xfeat-1a2b; rebuild it: magpie"
    with pytest.raises(CatalogError, match=told):
        Catalog.load(tmp_path / "shelf", EMBEDDER, extractor="xfeat-1a2b-320px-256")


def test_descriptors_of_another_length_come_back(tmp_path: Path) -> None:
    known = make_picture("a", 1)
    keypoints, jpeg = known.load()
    short = Keypoints(keypoints.xy_scale_ori, unit_rows(np.random.default_rng(0), 5, 64), (61, 40))
    picture = replace(known, load=lambda: (short, jpeg))
    write_generation(tmp_path / "shelf", RECIPE, [Item(ItemId("a"), "A")], [picture])
    found = Catalog.load(tmp_path / "shelf", EMBEDDER).keypoints(0)
    np.testing.assert_allclose(found.descriptors, short.descriptors, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("embeddings.npy", b"short", "embeddings.npy has 5 bytes"),
        ("descriptors.npy", None, "descriptors.npy is missing"),
        ("items.json", b"", "items.json has 0 bytes"),
        ("manifest.json", b"{", "manifest.json of generation 1 cannot be read"),
        ("manifest.json", b"[]", "must have format 2"),
        ("manifest.json", b'{"format": 2}', "manifest.json: generation is missing or wrong"),
        ("manifest.json", b'{"format": 99}', "must have format 2, got 99"),
    ],
)
def test_damage_is_told(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    write(tmp_path, "a")
    path = generation_folder(tmp_path, 1) / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(CatalogError, match=said):
        Catalog.load(tmp_path, None)


def test_damage_that_keeps_the_size_is_told(tmp_path: Path) -> None:
    write(tmp_path, "a")
    folder = generation_folder(tmp_path, 1)
    path = folder / "items.json"
    path.write_bytes(path.read_bytes().replace(b"item_id", b"item-id"))
    with pytest.raises(CatalogError, match=r"items.json lacks item_id or label"):
        Catalog.load(tmp_path, None)


@pytest.mark.parametrize("content", ["", "three", "-1", "\xff"])
def test_a_damaged_current_file(tmp_path: Path, content: str) -> None:
    write(tmp_path, "a")
    (tmp_path / "CURRENT").write_text(content, "latin-1")
    with pytest.raises(CatalogError, match=r"damaged: CURRENT must hold a number"):
        current_generation(tmp_path)


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    with catalog_lock(tmp_path), pytest.raises(CatalogError, match="another command is writing"):
        with catalog_lock(tmp_path):
            pass
    with catalog_lock(tmp_path):
        pass


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CatalogError, match="cannot be written: Not a directory"):
        with catalog_lock(tmp_path / "file" / "shelf"):
            pass
    with pytest.raises(CatalogError, match="cannot be written: No space left"):
        with catalog_lock(tmp_path / "shelf"):
            raise OSError(errno.ENOSPC, "No space left on device")


def test_readers_always_find_a_whole_catalog(tmp_path: Path) -> None:
    write(tmp_path, "a", "b")
    stop = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        while not stop.is_set():
            try:
                catalog = Catalog.load(tmp_path, EMBEDDER)
                assert len(catalog.items) == len(catalog.embeddings) == 2
            except BaseException as error:
                failures.append(error)
                return

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(10):
        write(tmp_path, "a", "b")
    stop.set()
    for reader in readers:
        reader.join(timeout=10)
    assert not failures


def test_too_little_disk_is_told(tmp_path: Path) -> None:
    require_room(tmp_path, 1)
    with pytest.raises(CatalogError, match=r"needs 1000000000000 MB of free disk"):
        require_room(tmp_path, 10**18)


def test_array_file_equals_numpys(tmp_path: Path) -> None:
    rows = np.arange(123 * 7, dtype=np.float32).reshape(123, 7)
    with ArrayFile(tmp_path / "grown.npy", np.float32, (7,)) as file:
        for start in range(0, 123, 10):
            file.append(rows[start : start + 10])
    assert np.array_equal(np.load(tmp_path / "grown.npy"), rows)


def test_manifest_counts_and_hashes(tmp_path: Path) -> None:
    write(tmp_path, "a", "b", "a")
    manifest = json.loads((generation_folder(tmp_path, 1) / "manifest.json").read_text())
    assert [manifest[f"n_{n}"] for n in ("items", "pictures", "views", "keypoints")] == [
        2,
        3,
        3,
        15,
    ]
    assert all(len(record["sha256"]) == 64 for record in manifest["files"].values())


def test_a_catalog_that_is_copied_over_in_place_is_told_and_kills_nothing(tmp_path: Path) -> None:
    """As `cp -r` does it: each file is cut to nothing, then filled again."""
    write(tmp_path / "shelf", "tea", "milk")
    catalog = Catalog.load(tmp_path / "shelf", EMBEDDER)
    before = catalog.keypoints(1)
    files = [p for p in catalog.folder.iterdir() if p.suffix in (".npy", ".bin")]
    contents = {path: path.read_bytes() for path in files}
    for path in files:
        os.truncate(path, 0)
    with pytest.raises(CatalogError, match="changed while in use"):
        catalog.keypoints(1)
    with pytest.raises(CatalogError, match="changed while in use"):
        catalog.view_image_bgr(1)
    with pytest.raises(CatalogError, match="damaged"):
        Catalog.load(tmp_path / "shelf", EMBEDDER)
    for path, content in contents.items():
        path.write_bytes(content)
    assert np.array_equal(catalog.keypoints(1).descriptors, before.descriptors)


def test_identity_is_the_content_and_not_the_number(tmp_path: Path) -> None:
    for name, item in (("one", "tea"), ("other", "milk")):
        write(tmp_path / name, item)
    one, other = (Catalog.load(tmp_path / name, EMBEDDER) for name in ("one", "other"))
    assert one.generation == other.generation and one.identity != other.identity
    assert Catalog.load(tmp_path / "one", EMBEDDER).identity == one.identity


def test_a_file_of_the_right_size_that_is_another_is_found_when_asked(tmp_path: Path) -> None:
    write(tmp_path / "shelf", "tea", "milk")
    path = Catalog.load(tmp_path / "shelf", EMBEDDER).folder / "pictures.bin"
    path.write_bytes(bytes(path.stat().st_size))
    Catalog.load(tmp_path / "shelf", EMBEDDER)
    with pytest.raises(CatalogError, match=r"pictures\.bin is not what the manifest says"):
        Catalog.load(tmp_path / "shelf", EMBEDDER, verify=True)
