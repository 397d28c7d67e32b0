"""Which files become which items, and what a picture file becomes."""

import io
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from catalog_tools.images import find_images
from catalog_tools.reading import PictureError, decode_picture, read_picture, trim_margin
from pipeline.errors import CatalogError, ConfigError

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_a_folder_with_a_sub_folder_an_item(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/1.PNG", "a ö 文/deep/x.webp", ".git/y.jpg", "b/.hidden.jpg"):
        touch(tmp_path / name)
    touch(tmp_path / "b/notes.txt")
    (tmp_path / "empty").mkdir()
    found = find_images(tmp_path)
    assert [item.item_id for item in found.items] == ["a ö 文", "b"]
    assert [s.name for s in found.sources] == ["a ö 文/deep/x.webp", "b/1.PNG", "b/2.jpg"]
    assert [left.reason for left in found.left_out] == ["is no picture file"]


def test_flat_files(tmp_path: Path) -> None:
    for name in ("milk 1.5%.jpg", "juice.v2.png", "Thumbs.db"):
        touch(tmp_path / name)
    found = find_images(tmp_path)
    assert [item.item_id for item in found.items] == ["juice.v2", "milk 1.5%"]


def test_an_item_named_twice_is_refused_with_both_places(tmp_path: Path) -> None:
    first, second = touch(tmp_path / "a.jpg"), touch(tmp_path / "a.png")
    with pytest.raises(CatalogError) as caught:
        find_images(tmp_path)
    assert str(first) in str(caught.value) and str(second) in str(caught.value)


def test_the_clip_that_a_phone_writes_beside_a_picture_is_left_out(tmp_path: Path) -> None:
    for name in ("IMG_1.JPG", "IMG_1.MOV", "IMG_2.HEIC", "IMG_2.MOV", "both/a.jpg", "both/a.mov"):
        touch(tmp_path / name)
    found = find_images(tmp_path)
    assert [s.name for s in found.sources] == [
        "IMG_1.JPG", "IMG_2.MOV", "both/a.jpg", "both/a.mov",
    ]  # fmt: skip
    reasons = {Path(left.place).name: left.reason for left in found.left_out}
    assert reasons["IMG_1.MOV"] == "a picture of this name lies beside it"


def test_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        "\ufeffitem_id,label,image,price\n7,Milk,p/1.jpg,3\n7,,p/2.jpg,3\n8,,/abs/3.jpg,1\n,x,y.jpg,1\n"
        '"a\x01",x,y.jpg,1\n"a/b",x,y.jpg,1\n9,Nine,,\n',
        "utf-8",
    )
    found = find_images(path)
    assert found.items == (("7", "Milk"), ("8", "8"))
    assert [s.path for s in found.sources] == [
        tmp_path / "p/1.jpg",
        tmp_path / "p/2.jpg",
        Path("/abs/3.jpg"),
    ]
    assert [left.reason for left in found.left_out] == [
        "has an empty item id",
        "has an item id with a control character",
        'has an item id with "/"',
        "names no image",
    ]
    assert found.left_out[0].place == f"{path}:5"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", r"list.csv:1: must have the columns item_id,label,image, got 'a,b'"),
        ("", r"got 'an empty file'"),
        ("item_id,label,image\n1,a,x.jpg\n1,b,y.jpg\n", r"'a' in line 2 and 'b' in line 3"),
        ("item_id,label,image\n1,a,x.jpg\n1,a,x.jpg\n", r"x.jpg in lines 2 and 3"),
        ("item_id,label,image\n", r"must hold pictures"),
    ],
)
def test_a_wrong_csv_is_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(text)
    with pytest.raises(CatalogError, match=said):
        find_images(path)


def test_a_csv_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CatalogError, match="must be UTF-8"):
        find_images(tmp_path / "list.csv")


def test_images_that_are_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder, CSV file or clip"):
        find_images(tmp_path / "missing")
    with pytest.raises(ConfigError, match=r"folder, a .csv file or a clip .*, got '.jpg'"):
        find_images(touch(tmp_path / "a.jpg"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CatalogError, match=r"must hold pictures .*, holds none and 0"):
        find_images(tmp_path / "empty")


def test_a_file_name_that_is_not_utf8(tmp_path: Path) -> None:
    touch(tmp_path / "good.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.jpg")).write_bytes(b"x")
    found = find_images(tmp_path)
    assert [item.item_id for item in found.items] == ["good"]
    assert found.left_out[0].reason == "has a name that is not UTF-8"
    found.left_out[0].place.encode("utf-8")


def encode(picture: Image.Image, format_: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_, **options)
    return buffer.getvalue()


def half_red_half_blue(size_wh: tuple[int, int] = (80, 40)) -> Image.Image:
    picture = Image.new("RGB", size_wh, RED)
    picture.paste(BLUE, (size_wh[0] // 2, 0, *size_wh))
    return picture


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "BMP", "TIFF", "PPM", "JPEG", "AVIF"])
def test_formats_give_the_same_colours(format_: str) -> None:
    options = {"quality": 95} if format_ in ("JPEG", "WEBP", "AVIF") else {}
    read = decode_picture(encode(half_red_half_blue(), format_, **options), 1000)
    assert read.size_wh == (80, 40)
    assert np.abs(read.image_bgr[20, 10].astype(int) - (0, 0, 255)).max() < 12
    assert np.abs(read.image_bgr[20, 70].astype(int) - (255, 0, 0)).max() < 12


def test_exif_rotation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise
    read = decode_picture(encode(half_red_half_blue(), "JPEG", exif=exif), 1000)
    assert read.size_wh == (40, 80) and read.image_bgr.shape == (80, 40, 3)
    assert read.image_bgr[10, 20, 2] > 200 and read.image_bgr[70, 20, 0] > 200


def test_cmyk() -> None:
    read = decode_picture(encode(half_red_half_blue().convert("CMYK"), "JPEG"), 1000)
    assert read.image_bgr[20, 10, 2] > 200 > 60 > read.image_bgr[20, 10, 0]


def test_16_bit_gray_and_bilevel() -> None:
    values = np.full((20, 20), 40000, np.uint16)
    done, data = cv2.imencode(".png", values)
    assert done
    assert abs(int(decode_picture(data.tobytes(), 100).image_bgr[5, 5, 1]) - 40000 // 257) <= 1
    bilevel = Image.new("1", (20, 20), 1)
    assert decode_picture(encode(bilevel, "PNG"), 100).image_bgr.min() == 255


def test_16_bit_colour() -> None:
    values = np.zeros((20, 20, 3), np.uint16)
    values[..., 2] = 65535
    data = cv2.imencode(".png", values)[1].tobytes()
    assert decode_picture(data, 100).image_bgr[5, 5].tolist() == [0, 0, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_margins_are_cut_and_the_rest_is_white(mode: str) -> None:
    picture = Image.new("RGBA", (60, 60), (0, 0, 0, 0))
    picture.paste((10, 10, 10, 255), (10, 20, 40, 50))
    picture.putpixel((20, 30), (0, 0, 0, 0))
    if mode == "P":
        options = {"transparency": 0}
        palette = Image.new("P", (60, 60), 0)
        palette.putpalette([0, 0, 0, 10, 10, 10])
        palette.paste(1, (10, 20, 40, 50))
        palette.putpixel((20, 30), 0)
        data = encode(palette, "PNG", **options)
    else:
        data = encode(picture.convert(mode), "PNG")
    image_bgr = decode_picture(data, 100).image_bgr
    assert image_bgr.shape == (30, 30, 3)
    assert image_bgr[10, 10].tolist() == [255, 255, 255] and image_bgr[0, 0, 0] == 10


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (20, 20), color) for color in (GREEN, RED)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode_picture(data, 100).image_bgr[5, 5].tolist() == [0, 255, 0]


def test_large_pictures_are_made_smaller_with_their_size_told() -> None:
    data = encode(half_red_half_blue((3000, 1000)), "JPEG")
    read = decode_picture(data, 600)
    assert read.image_bgr.shape == (200, 600, 3) and read.size_wh == (3000, 1000)


def bomb() -> bytes:
    data = bytearray(encode(Image.new("RGB", (16, 16)), "BMP"))
    data[18:26] = struct.pack("<ii", 60000, 60000)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"this is text", "is no picture of a known format"),
        (encode(half_red_half_blue(), "PNG")[:60], "is damaged"),
        (encode(half_red_half_blue((800, 800)), "JPEG")[:2000], "is damaged: .*truncated"),
        (encode(Image.new("RGB", (1, 40)), "PNG"), "is 1x40 px, the smaller side must be"),
        (encode(Image.new("RGBA", (20, 20)), "PNG"), "is wholly transparent"),
        (bomb(), "has more than 200 megapixels"),
    ],
)
def test_unusable_pictures_say_why(data: bytes, said: str) -> None:
    with pytest.raises(PictureError, match=said):
        decode_picture(data, 1000)


def test_files_that_are_no_pictures_say_why(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name, said in (
        ("missing.jpg", "no such file"),
        ("empty.jpg", "is empty"),
        ("pipe.jpg", "is not a regular file"),
        ("folder.jpg", "is a folder"),
        ("nul\0.jpg", "is no usable file name"),
        ("x" * 5000, "too long"),
    ):
        with pytest.raises(PictureError, match=said):
            read_picture(tmp_path / name, 100)


def test_a_plain_margin_is_trimmed() -> None:
    picture = np.full((100, 100, 3), 250, np.uint8)
    picture[20:70, 30:80] = np.random.default_rng(0).integers(0, 200, (50, 50, 3))
    assert trim_margin(picture).shape == (50, 50, 3)
    assert trim_margin(picture[20:70, 30:80].copy()).shape == (50, 50, 3)
    assert trim_margin(np.full((50, 60, 3), 9, np.uint8)).shape == (50, 60, 3)
