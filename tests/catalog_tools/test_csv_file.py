"""The CSV files that users write: separators, encodings, and which line must be mended."""

import re
from pathlib import Path

import pytest

from catalog_tools.csv_file import read_csv
from catalog_tools.evaluation.evaluate import read_truth
from catalog_tools.images import find_images
from pipeline.errors import CatalogError, ConfigError

COLUMNS = ("item_id", "label", "image")
HEAD = "item_id,label,image\n"
TWO = "item_id,label,image\n7,Müsli,a.jpg\n8,Té,b.jpg\n"


def read(path: Path) -> list[tuple[int, dict[str, str]]]:
    return read_csv(path, COLUMNS, str(path), CatalogError)


@pytest.mark.parametrize(
    "data",
    [
        TWO.encode(),
        TWO.encode("utf-8-sig"),
        TWO.encode("utf-16"),
        b"\xfe\xff" + TWO.encode("utf-16-be"),
        TWO.replace(",", ";").encode(),
        TWO.replace(",", "\t").encode("utf-16"),
        TWO.replace("\n", "\r\n").encode(),
        TWO.replace("\n", "\r").encode(),
        TWO.replace("item_id,label", ' Item_ID ,"LABEL"').encode(),
        TWO.removesuffix("\n").encode(),
        TWO.replace("\n", ",,\n").encode(),  # Excel's trailing separators
    ],
    ids=lambda value: repr(value)[:50],
)
def test_whatever_program_wrote_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "list.csv").write_bytes(data)
    assert read(tmp_path / "list.csv") == [
        (2, {"item_id": "7", "label": "Müsli", "image": "a.jpg"}),
        (3, {"item_id": "8", "label": "Té", "image": "b.jpg"}),
    ]


def test_the_line_for_excel_alone_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("sep=;\nitem_id;label;image\n7;1,5 l;a.jpg\n")
    assert read(tmp_path / "list.csv") == [
        (3, {"item_id": "7", "label": "1,5 l", "image": "a.jpg"})
    ]


def test_quotes_blanks_and_empty_lines(tmp_path: Path) -> None:
    text = HEAD + '7,"two\nlines, ""quoted""",a.jpg\n\n , , \n8, 12" can ,b\u2028.jpg\n'
    (tmp_path / "list.csv").write_text(text, "utf-8")
    assert read(tmp_path / "list.csv") == [
        (2, {"item_id": "7", "label": 'two\nlines, "quoted"', "image": "a.jpg"}),
        (6, {"item_id": "8", "label": '12" can', "image": "b\u2028.jpg"}),
    ]


@pytest.mark.parametrize(
    ("data", "line", "said"),
    [
        (HEAD + '7,a,a.jpg\n8,"b,b.jpg\n9,c,c.jpg\n', 3, "a quote that opens here must be closed"),
        (HEAD + '7,"a,a.jpg\n8,"b",b.jpg\n', 2, "a quote that opens here must be closed"),
        (HEAD + '7,"a"b,a.jpg\n', 2, "a quote that opens here must be closed"),
        (HEAD + "7,a,a.jpg\n8,b, c,b.jpg\n", 3, "must have 3 columns, got '4: 8 | b | c | b.jpg'"),
        (HEAD + "7,a,a.jpg\n8,b.jpg\n", 3, "must have 3 columns, got '2: 8 | b.jpg'"),
        (HEAD + "7,a\0,a.jpg\n", 2, "holds a NUL byte"),
        (HEAD + f"7,{'x' * 200_000},a.jpg\n", 2, "field larger than"),
        (HEAD.replace("label", "image"), 1, "must have the columns item_id,label,image"),
        ("image," + HEAD, 1, "must have the column image once"),
        ("a;b\n1;2\n", 1, "must have the columns item_id,label,image, got 'a;b'"),
        ("", 1, "got 'an empty file'"),
        (TWO.encode("latin-1"), 2, "must be UTF-8 text; save it as UTF-8 (in Excel"),
        (HEAD.encode("utf-16-le"), 1, "holds a NUL byte"),
        (TWO.encode("utf-16")[:-1], 3, "must be UTF-8 text"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_cannot_be_read_is_told_with_its_line(
    tmp_path: Path, data: str | bytes, line: int, said: str
) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(CatalogError, match=re.escape(f"{path}:{line}: ") + ".*" + re.escape(said)):
        read(path)


def test_a_column_that_may_be_missing_is_empty_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    for text, counts in (("image,n\na.jpg,2\nb.jpg\n", ["2", ""]), ("image\na.jpg\n", [""])):
        path.write_text(text)
        rows = read_csv(path, ("image",), "list", ConfigError, optional=("n",))
        assert [row["n"] for _, row in rows] == counts
    path.write_text("image,n,n\na.jpg,2,3\n")
    with pytest.raises(ConfigError, match="list:1: must have the column n once"):
        read_csv(path, ("image",), "list", ConfigError, optional=("n",))


def test_items_are_read_from_semicolons_and_from_excels_text(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("item_id;label;image\n7;Milk, 1 l;p/1.jpg\n")
    found = find_images(tmp_path / "list.csv")
    assert found.items == (("7", "Milk, 1 l"),) and found.sources[0].path == tmp_path / "p/1.jpg"
    (tmp_path / "list.txt").write_text("item_id\tlabel\timage\n7\tMilk\tp/1.jpg\n", "utf-16")
    assert find_images(tmp_path / "list.txt").items == (("7", "Milk"),)


def test_labelled_photos_are_read_by_the_same_rules(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("Image; Item_ID\r\np/1.jpg;7\r\np/2.jpg;none\r\n", "utf-16")
    assert [(found.image, found.item_id) for found in read_truth(path)] == [
        ("p/1.jpg", "7"),
        ("p/2.jpg", None),
    ]
    path.write_text('image,item_id\na.jpg,7\nb.jpg,"8\n')
    with pytest.raises(ConfigError, match=r"truth .*truth.csv:3: a quote that opens here"):
        read_truth(path)
