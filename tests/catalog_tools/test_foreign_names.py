"""Names and labels from anywhere: nothing breaks or is merged, and all of it is printable."""

import json
import os
import tempfile
from pathlib import Path

import pytest

from catalog_tools.build import add_to_catalog, build_catalog
from catalog_tools.images import find_images
from pipeline.catalog import Catalog
from pipeline.catalog_format import read_manifest, read_pictures
from pipeline.errors import CatalogError
from pipeline.identify.shelf import Shelf
from pipeline.printable import printable
from tests.catalog_tools.conftest import Run
from tests.catalog_tools.drawn_pictures import draw
from tests.fake_networks import FakeEmbedder, make_networks
from tests.pipeline.matcher_rig import OPTIONS
from tests.pipeline.test_picture_file import files_of_at_most

LATIN_1 = os.fsdecode(b"caf\xe9")


def draw_as(folder: Path, name: str, seed: int) -> Path:
    """A picture at a path that OpenCV itself would not write."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as elsewhere:
        data = draw(Path(elsewhere) / "plain.png", seed).read_bytes()
    (folder / name).write_bytes(data)
    return folder / name


def test_a_latin_1_file_name_is_taken_under_an_escaped_name(tmp_path: Path, run: Run) -> None:
    images = tmp_path / "images"
    draw_as(images / "milk", f"{LATIN_1}.png", 0)
    draw_as(images / "milk", "a\x1b[31m.png", 1)
    code, said, errors = run("build", images, "--out", tmp_path / "shelf")
    assert (code, errors) == (0, "") and "1 items, 2 pictures" in said
    names = [record.image for record in read_pictures(tmp_path / "shelf", 1)]
    assert names == [r"milk/a\x1b[31m.png", r"milk/caf\udce9.png"]
    code, said, _ = run("check", tmp_path / "shelf")
    assert code == 0 and r"caf\udce9.png" in said and "\x1b" not in said
    _, _, errors = run("add", tmp_path / "shelf", images)
    assert r"is in the catalog already as milk/caf\udce9.png" in errors


def test_a_latin_1_item_is_left_out_with_the_reason(tmp_path: Path, run: Run) -> None:
    draw_as(tmp_path / "images" / LATIN_1, "1.png", 0)
    draw_as(tmp_path / "images" / "good", "1.png", 1)
    code, _, errors = run("build", tmp_path / "images", "--out", tmp_path / "shelf")
    place = printable(str(tmp_path / "images" / LATIN_1))
    assert code == 0 and errors == f"left out: {place}: has a name that is not UTF-8\n"


def test_folders_of_another_encoding_hold_pictures_and_catalogs(tmp_path: Path, run: Run) -> None:
    images, out = tmp_path / LATIN_1 / "images", tmp_path / LATIN_1 / "shelf"
    draw_as(images, "a.png", 0)
    draw_as(images, "b.png", 1)
    code, said, _ = run("build", images, "--out", out)
    assert code == 0 and said.startswith(printable(str(out)))
    assert read_manifest(out, 1).sources == (printable(str(images)),)
    catalog = Catalog.load(out, None)
    assert Shelf(catalog, OPTIONS.search).label == {"a": "a", "b": "b"}
    assert run("list", out, "--json")[0] == 0 and run("check", out)[0] == 0
    assert Catalog.load(out.rename(tmp_path / LATIN_1 / LATIN_1), None).name == r"caf\udce9"
    code, _, errors = run("list", tmp_path / LATIN_1 / "missing\nmagpie: all is well")
    assert code == 2 and len(errors.splitlines()) == 1 and r"missing\nmagpie" in errors


def test_labels_with_escape_codes_reach_no_terminal(tmp_path: Path, run: Run) -> None:
    draw(tmp_path / "a.png", 0)
    draw(tmp_path / "b.png", 1)
    label = "\x1b]0;owned\x07\x9b31m\u202eevil\r\u2028"
    lines = f'item_id,label,image\na,"{label}x",a.png\nb\u202e,"two\nlines",b.png\n'
    (tmp_path / "list.csv").write_text(lines, "utf-8", newline="")
    assert run("build", tmp_path / "list.csv", "--out", tmp_path / "shelf")[0] == 0
    code, said, _ = run("list", tmp_path / "shelf")
    assert code == 0 and r"\x1b]0;owned\x07\x9b31m\u202eevil\r\u2028x" in said
    assert r"two\nlines" in said and all(line == printable(line) for line in said.split("\n"))
    code, said, _ = run("list", tmp_path / "shelf", "--json")
    assert [json.loads(line)["label"] for line in said.splitlines()] == [f"{label}x", "two\nlines"]
    assert all(line == printable(line) for line in said.split("\n"))
    _, _, errors = run("remove", tmp_path / "shelf", "\x1b[2J")
    assert "\x1b" not in errors and r"\x1b[2J" in errors


def test_names_that_differ_only_by_case_or_composition_stay_apart(tmp_path: Path) -> None:
    names = ["caf\u00e9", "cafe\u0301", "Milk", "milk"]
    for seed, name in enumerate(names):
        draw_as(tmp_path / "images" / name, "1.png", seed)
    draw_as(tmp_path / "images" / "long", "x" * 251 + ".png", 9)
    if len(list((tmp_path / "images").iterdir())) < 5:
        pytest.skip("this file system merges such names itself")
    report = build_catalog(tmp_path / "images", tmp_path / "shelf", make_networks())
    assert (report.n_items, report.n_pictures, report.left_out) == (5, 5, ())
    items = {item.item_id for item in Catalog.load(tmp_path / "shelf", None).items}
    assert items == {*names, "long"}


def test_a_name_of_a_csv_that_no_file_can_have_is_told(tmp_path: Path, run: Run) -> None:
    draw(tmp_path / "a.png", 0)
    lines = f"item_id,label,image\na,A,a.png\nb,B,{'x' * 5000}.png\nc,C,no\x1bne.png\n"
    (tmp_path / "list.csv").write_text(lines)
    code, said, errors = run("build", tmp_path / "list.csv", "--out", tmp_path / "shelf")
    assert code == 0 and "1 items, 1 pictures, 2 files left out" in said
    assert "File name too long" in errors and r"no\x1bne.png: no such file" in errors


def test_what_a_nas_puts_into_folders_is_no_item(tmp_path: Path) -> None:
    for name in ("@eaDir", "#recycle", "a/@eaDir/1.png", "@home", "a", "__MACOSX"):
        draw(tmp_path / name / "1.png", 0)
    (tmp_path / "a" / "Thumbs.db").touch()
    found = find_images(tmp_path)
    assert [source.name for source in found.sources] == ["@home/1.png", "a/1.png"]
    assert not found.left_out


def test_nothing_described_is_lost_when_the_disk_is_full_at_the_end(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for seed in range(6):
        draw(tmp_path / "images" / f"{seed}.png", seed)
    embed = FakeEmbedder()
    with files_of_at_most(150_000), pytest.raises(CatalogError, match="File too large"):
        build_catalog(tmp_path / "images", tmp_path / "shelf", make_networks(embed))
    assert embed.n_pictures == 6 and not list((tmp_path / "shelf" / "generations").iterdir())
    report = build_catalog(tmp_path / "images", tmp_path / "shelf", make_networks(embed))
    assert (embed.n_pictures, report.n_pictures) == (6, 6)
    with files_of_at_most(150_000), pytest.raises(CatalogError, match="File too large"):
        add_to_catalog(tmp_path / "shelf", _one_more(tmp_path), make_networks(embed))
    assert Catalog.load(tmp_path / "shelf", None).generation == 1
    assert add_to_catalog(tmp_path / "shelf", tmp_path / "more", make_networks(embed)).n_items == 7
    assert embed.n_pictures == 7
    assert capfd.readouterr() == ("", "")


def _one_more(tmp_path: Path) -> Path:
    return draw(tmp_path / "more" / "new.png", 77).parent
