"""Changing a catalog that is there: drafts, pictures that are sent, labels, merging, ETags."""

import io
import multiprocessing
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from catalog_tools.changes import (
    NewPicture,
    add_pictures,
    delete_catalog,
    label_item,
    merge_items,
    remove_from_catalog,
    remove_pictures,
)
from catalog_tools.draft import create_draft, read_draft
from catalog_tools.etag import catalog_etag
from catalog_tools.listing import (
    list_catalog_items,
    list_item_pictures,
    read_stored_picture,
    roll_back,
)
from catalog_tools.originals import SIDE_PX, Originals
from pipeline.catalog import Catalog, current_generation, list_generations
from pipeline.catalog_writing import catalog_lock
from pipeline.errors import (
    CatalogChangedError,
    CatalogError,
    CatalogExistsError,
    CatalogLockedError,
    ConfigError,
    NotInCatalogError,
)
from pipeline.types import ItemId
from tests.catalog_tools.drawn_pictures import draw
from tests.fake_networks import EMBEDDER_SHA256, FakeEmbedder, make_networks


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    create_draft(tmp_path / "shelf")
    return tmp_path / "shelf"


def sent(tmp_path: Path, item_id: str, seed: int, label: str = "") -> NewPicture:
    data = draw(tmp_path / "sent" / f"{seed}.png", seed).read_bytes()
    return NewPicture(ItemId(item_id), f"{seed}.png", lambda: data, label)


def as_sent(data: bytes, name: str = "odd.jpg") -> NewPicture:
    return NewPicture(ItemId("odd"), name, lambda: data)


def add(directory: Path, *pictures: NewPicture, **more: object) -> object:
    return add_pictures(directory, pictures, make_networks(), **more)  # type: ignore[arg-type]


def test_a_draft_becomes_a_catalog_with_its_first_pictures(tmp_path: Path, shelf: Path) -> None:
    with pytest.raises(CatalogError, match="must hold a finished catalog"):
        current_generation(shelf)
    etag = catalog_etag(shelf)
    report = add(shelf, sent(tmp_path, "tea", 1, "Green tea"), sent(tmp_path, "milk", 2))
    assert (report.generation, report.n_items, report.left_out) == (1, 2, ())
    assert read_draft(shelf) is None and catalog_etag(shelf) != etag
    assert list_catalog_items(shelf) == [
        {"item_id": "tea", "label": "Green tea", "pictures": 1},
        {"item_id": "milk", "label": "milk", "pictures": 1},
    ]
    (picture,) = list_item_pictures(shelf, "tea")
    assert (picture["image"], picture["size_wh"], picture["has_original"]) == (
        "1.png",
        (180, 240),
        True,
    )
    assert read_stored_picture(shelf, picture["sha256"])[:3] == b"\xff\xd8\xff"


def test_a_drafts_choices_hold_for_its_first_generation(tmp_path: Path) -> None:
    create_draft(tmp_path / "turned", turns=True, trim=False)
    add(tmp_path / "turned", sent(tmp_path, "tea", 1))
    recipe = Catalog.load(tmp_path / "turned", EMBEDDER_SHA256).manifest.recipe
    assert (recipe.turns_deg, recipe.trim) == ((0, 90, 180, 270), False)


def test_a_draft_takes_no_name_that_is_taken(tmp_path: Path, shelf: Path) -> None:
    with pytest.raises(CatalogExistsError, match="exists already; choose another name"):
        create_draft(shelf)
    assert not list(tmp_path.glob(".*"))


def test_more_pictures_keep_an_items_label_or_give_it_another(tmp_path: Path, shelf: Path) -> None:
    add(shelf, sent(tmp_path, "tea", 1, "Green tea"))
    add(shelf, sent(tmp_path, "tea", 2))
    assert list_catalog_items(shelf)[0] == {"item_id": "tea", "label": "Green tea", "pictures": 2}
    add(shelf, sent(tmp_path, "tea", 3, "Black tea"))
    assert list_catalog_items(shelf)[0]["label"] == "Black tea"
    report = add(shelf, sent(tmp_path, "tea", 3), sent(tmp_path, "tea", 4))
    assert [left.reason for left in report.left_out] == ["is in the catalog already as 3.png"]


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that is as large as it says."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        head = struct.pack(">I", len(data)) + kind + data
        return head + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_each_bad_picture_is_told_and_the_good_ones_go_in(tmp_path: Path, shelf: Path) -> None:
    good = sent(tmp_path, "tea", 1)
    jpeg = io.BytesIO()
    Image.effect_noise((400, 300), 90).save(jpeg, "JPEG")
    report = add(
        shelf,
        as_sent(b"", "empty"),
        as_sent(b"%PDF-1.4 ...", "paper.jpg"),
        as_sent(b"text", "text.jpg"),
        as_sent(jpeg.getvalue()[:2000], "half.jpg"),
        as_sent(bomb(8000, 8000), "bomb.png"),
        as_sent(bomb(60000, 60000), "huge.png"),
        as_sent(bytes(50_000_001), "heavy"),
        good,
    )
    reasons = {left.place: left.reason for left in report.left_out}
    assert reasons["empty"] == "is empty"
    assert reasons["paper.jpg"] == "is PDF, which is not read here; export it as JPEG"
    assert reasons["text.jpg"] == "is no picture of a known format"
    assert reasons["half.jpg"].startswith("is damaged: ")
    assert reasons["bomb.png"].startswith("has more than 50 megapixels; make it smaller")
    assert reasons["huge.png"] == "has more than 200 megapixels"
    assert reasons["heavy"] == "has more than 50 MB"
    assert report.empty_items == ("odd",) and report.n_items == 1


def test_where_none_is_usable_nothing_changes(tmp_path: Path, shelf: Path) -> None:
    with pytest.raises(CatalogError, match=r"pictures: no picture is usable: a.jpg is no picture"):
        add(shelf, as_sent(b"text", "a.jpg"))
    assert read_draft(shelf) is not None
    add(shelf, sent(tmp_path, "tea", 1))
    etag = catalog_etag(shelf)
    with pytest.raises(CatalogError, match="no picture is usable"):
        add(shelf, as_sent(b"text"))
    assert catalog_etag(shelf) == etag and len(list(Originals(shelf).folder.iterdir())) == 1


def test_an_original_is_upright_small_and_without_metadata(shelf: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "a telephone"
    data = io.BytesIO()
    Image.effect_noise((3000, 1500), 90).convert("RGB").save(data, "JPEG", exif=exif)
    add(shelf, as_sent(data.getvalue()))
    (picture,) = list_item_pictures(shelf, "odd")
    assert picture["size_wh"] == (1500, 3000)
    with Image.open(Originals(shelf).path(picture["sha256"])) as kept:
        assert kept.size == (SIDE_PX // 2, SIDE_PX)
        assert not kept.getexif() and "icc_profile" not in kept.info


def test_labels_single_pictures_and_merging(tmp_path: Path, shelf: Path) -> None:
    pictures = [sent(tmp_path, item, seed) for seed, item in enumerate("aabbc")]
    add(shelf, *pictures)
    assert label_item(shelf, "a", "An apple") == 2
    one = list_item_pictures(shelf, "a")[0]["sha256"]
    assert remove_pictures(shelf, [("a", one)]) == 3
    with pytest.raises(CatalogError, match=r"item 'c' must keep a picture.*remove the item"):
        remove_pictures(shelf, [("c", list_item_pictures(shelf, "c")[0]["sha256"])])
    merge_items(shelf, "a", "b")
    assert [(item["item_id"], item["label"], item["pictures"]) for item in list_catalog_items(shelf)
            ] == [("a", "An apple", 3), ("c", "c", 1)]  # fmt: skip
    catalog = Catalog.load(shelf, EMBEDDER_SHA256, verify=True)
    assert catalog.view_item.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize(
    "change",
    [
        lambda shelf: label_item(shelf, "x", "label"),
        lambda shelf: remove_from_catalog(shelf, ["x"]),
        lambda shelf: remove_pictures(shelf, [("tea", "ab" * 32)]),
        lambda shelf: merge_items(shelf, "tea", "x"),
        lambda shelf: list_item_pictures(shelf, "x"),
        lambda shelf: read_stored_picture(shelf, "ab" * 32),
        lambda shelf: roll_back(shelf, 7),
        lambda shelf: delete_catalog(shelf / "x"),
    ],
)
def test_what_is_not_there_is_told_and_nothing_changes(
    tmp_path: Path, shelf: Path, change: Callable[[Path], object]
) -> None:
    add(shelf, sent(tmp_path, "tea", 1))
    etag = catalog_etag(shelf)
    with pytest.raises(NotInCatalogError):
        change(shelf)
    assert catalog_etag(shelf) == etag


@pytest.mark.parametrize(
    ("item_id", "label", "told"),
    [
        ("", "", "has an empty item id"),
        ("../up", "", 'has an item id with "/"'),
        ("a\0b", "", "control character"),
        ("a" * 201, "", "more than 200"),
        ("a", "b\nc", "printable"),
    ],
)
def test_ids_and_labels_are_checked(shelf: Path, item_id: str, label: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        add(shelf, NewPicture(ItemId(item_id), "a.jpg", lambda: b"", label))


def test_a_change_holds_only_for_what_its_caller_has_seen(tmp_path: Path, shelf: Path) -> None:
    draft = catalog_etag(shelf)
    add(shelf, sent(tmp_path, "tea", 1), sent(tmp_path, "milk", 2), if_match=draft)
    seen = catalog_etag(shelf)
    with pytest.raises(CatalogChangedError, match="has changed since it was read"):
        label_item(shelf, "tea", "Tea", if_match=draft)
    label_item(shelf, "tea", "Tea", if_match=f'"0", {seen}')
    label_item(shelf, "tea", "Tea!", if_match="*")
    with pytest.raises(CatalogChangedError):
        remove_from_catalog(shelf, ["tea"], if_match=seen)
    with pytest.raises(CatalogChangedError):
        roll_back(shelf, None, if_match=seen)
    assert roll_back(shelf, 1, if_match=catalog_etag(shelf)) == 1
    assert catalog_etag(shelf) == seen, "the same generation is the same thing again"
    with pytest.raises(CatalogChangedError):
        delete_catalog(shelf, if_match=draft)
    delete_catalog(shelf, if_match=seen)
    assert not shelf.exists() and not list(tmp_path.glob(".*"))


def test_a_catalog_that_is_being_written_refuses_changes(tmp_path: Path, shelf: Path) -> None:
    add(shelf, sent(tmp_path, "tea", 1))
    with catalog_lock(shelf):
        for change in (
            lambda: add(shelf, sent(tmp_path, "tea", 2)),
            lambda: label_item(shelf, "tea", "Tea"),
            lambda: delete_catalog(shelf),
        ):
            with pytest.raises(CatalogLockedError, match="another command is writing it"):
                change()


def add_until_killed(shelf: Path, picture: bytes) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), 9)

    add_pictures(shelf, [as_sent(picture)], make_networks(), progress=lambda n, of: die() if n else None)  # fmt: skip  # noqa: E501


def test_a_change_that_is_killed_leaves_the_catalog_as_it_was(tmp_path: Path, shelf: Path) -> None:
    add(shelf, sent(tmp_path, "tea", 1))
    etag, data = catalog_etag(shelf), sent(tmp_path, "tea", 2).read()
    process = multiprocessing.get_context("spawn").Process(
        target=add_until_killed, args=(shelf, data)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -9 and catalog_etag(shelf) == etag
    add(shelf, as_sent(data))
    assert Catalog.load(shelf, EMBEDDER_SHA256, verify=True).manifest.n_pictures == 2


def test_originals_go_with_the_last_generation_that_has_their_picture(
    tmp_path: Path, shelf: Path
) -> None:
    add(shelf, sent(tmp_path, "tea", 1), sent(tmp_path, "milk", 2))
    gone = list_item_pictures(shelf, "milk")[0]["sha256"]
    remove_from_catalog(shelf, ["milk"])
    assert Originals(shelf).has(gone), "a rollback must find it"
    for number in range(4):
        label_item(shelf, "tea", f"Tea {number}")
    assert 1 not in list_generations(shelf)
    assert not Originals(shelf).has(gone)


def test_a_cancelled_add_changes_nothing(tmp_path: Path, shelf: Path) -> None:
    embed = FakeEmbedder()
    embed.fail_after = 0
    with pytest.raises(KeyboardInterrupt):
        add_pictures(shelf, [sent(tmp_path, "tea", 1)], make_networks(embed))
    assert read_draft(shelf) is not None and not list(Originals(shelf).folder.iterdir())
