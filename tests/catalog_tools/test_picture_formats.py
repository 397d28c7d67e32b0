"""A picture is what its first bytes say: phones and export tools give it any name."""

import io
from pathlib import Path

import pytest
from PIL import Image, TiffImagePlugin

from catalog_tools.images import find_images
from catalog_tools.picture_formats import picture_format
from catalog_tools.reading import PictureError, decode_picture, read_picture
from pipeline.errors import CatalogError

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100


def encoded(form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 30, 30)).save(buffer, form, **options)
    return buffer.getvalue()


def thumbnail_of_a_raw(tag: int, value: int) -> bytes:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[tag] = value
    tags[254] = 1
    return encoded("TIFF", tiffinfo=tags)


JPEG = encoded("JPEG")


@pytest.mark.parametrize(
    "name", ["a.heic", "a.HEIF", "a.dng", "a.raw", "a.jp2", "a.jxl", "a.avifs", "a"]
)
def test_a_jpeg_is_taken_whatever_kind_of_picture_it_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / "item").mkdir()
    (tmp_path / "item" / name).write_bytes(JPEG)
    (tmp_path / name).write_bytes(encoded("WEBP"))
    found = find_images(tmp_path)
    assert [source.path.name for source in found.sources] == [name, name]
    assert [item.item_id for item in found.items] == ["a", "item"]
    assert read_picture(found.sources[0].path, 100).size_wh == (40, 30)


@pytest.mark.parametrize(
    ("name", "data", "format_"),
    [
        ("a.heic", HEIC, "HEIC"),
        ("a", HEIC, "HEIC"),
        ("a.jxl", b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 60, "JPEG XL"),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0" * 60, "JPEG 2000"),
        ("a.cr3", b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "CR3 (a camera's raw picture)"),
        ("a.cr2", b"II*\0\x10\0\0\0CR\x02\0" + b"\0" * 60, "CR2 (a camera's raw picture)"),
        ("a.psd", b"8BPS\0\x01", "a Photoshop file"),
        ("a.svg", b'<?xml version="1.0"?>\n<svg xmlns="x">', "SVG"),
    ],
)
def test_another_format_is_left_out_by_its_name(
    tmp_path: Path, name: str, data: bytes, format_: str
) -> None:
    (tmp_path / name).write_bytes(data)
    (tmp_path / "good.jpg").write_bytes(JPEG)
    found = find_images(tmp_path)
    said = f"is {format_}, which is not read here; export it as JPEG"
    assert [left.reason for left in found.left_out] == [said]
    with pytest.raises(PictureError) as caught:  # what a query and labelled photos are told
        read_picture(tmp_path / name, 100)
    assert str(caught.value) == said


def test_a_heic_that_is_called_jpg_says_what_it_is() -> None:
    with pytest.raises(PictureError, match="is HEIC, which is not read here; export it as JPEG"):
        decode_picture(HEIC, 100)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (thumbnail_of_a_raw(50706, 1), "is DNG .a camera's raw picture., which is not read"),
        (thumbnail_of_a_raw(330, 8), "is a camera's raw picture, which is not read"),
    ],
)
def test_a_raw_picture_is_not_taken_for_its_thumbnail(data: bytes, said: str) -> None:
    with pytest.raises(PictureError, match=said):
        decode_picture(data, 100)


def test_what_is_no_picture_stays_none(tmp_path: Path) -> None:
    for name in ("README", "LICENSE", "a.raw", "notes.txt"):
        (tmp_path / name).write_text("BMW and text")
    (tmp_path / "b.txt").write_bytes(JPEG)
    with pytest.raises(CatalogError, match="holds none and 5 other files"):
        find_images(tmp_path)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM", "WEBP", "AVIF"])
def test_each_format_that_is_read_is_known_by_its_first_bytes(form: str) -> None:
    assert picture_format(encoded(form)[:64]).upper() == form
