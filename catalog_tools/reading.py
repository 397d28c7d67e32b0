"""Reads what users call a picture: any common format, upright, opaque, 8-bit colour."""

from __future__ import annotations

import hashlib
import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from catalog_tools.picture_formats import FIRST_BYTES, not_read, why_not_read
from pipeline.margin import object_box
from pipeline.printable import printable
from pipeline.types import U8

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
MAX_PIXELS = 200_000_000  # more is a mistake or a decompression bomb
MAX_FILE_BYTES = 500_000_000
MIN_SIDE_PX = 8
_DNG_VERSION, _SUBFILE_TYPE, _SUB_IFDS = 50706, 254, 330  # TIFF tags
TRIM_TOLERANCE = 12  # grey levels by which a plain margin may vary (JPEG noise)


# Pillow warns of odd EXIF data and palettes; such pictures are used all the same.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class PictureError(Exception):
    """A picture cannot be used; the text is the reason, without the file's name."""


@dataclass(frozen=True, slots=True)
class ReadPicture:
    """A picture as it is looked at.

    image_bgr: (h, w, 3) uint8, upright (EXIF), in sRGB, on white where it was transparent, its
    longer side at most what was asked for. size_wh: the upright picture's own size.
    sha256: of the file's bytes.
    """

    image_bgr: U8
    size_wh: tuple[int, int]
    sha256: str


def read_picture(path: Path, max_side_px: int) -> ReadPicture:
    """Return the picture in a file, the first of an animation; PictureError says why not."""
    return decode_picture(read_file(path), max_side_px)


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file; PictureError when there is none or it can't be read."""
    with _told_of_a_file():
        if _size_of_file(path) > MAX_FILE_BYTES:
            raise PictureError(f"has more than {MAX_FILE_BYTES // 1_000_000} MB")
        return path.read_bytes()


def sha256_of_clip(path: Path) -> str:
    """Return the hash of a regular file of any size; PictureError as `read_file`."""
    with _told_of_a_file():
        _size_of_file(path)
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def _size_of_file(path: Path) -> int:
    status = path.stat()  # before opening: a named pipe would never end
    if stat.S_ISDIR(status.st_mode):
        raise PictureError("is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise PictureError("is not a regular file")
    if status.st_size == 0:
        raise PictureError("is empty")
    return status.st_size


@contextmanager
def _told_of_a_file() -> Iterator[None]:
    """Raise PictureErrors in place of what the system says."""
    try:
        yield
    except FileNotFoundError:
        raise PictureError("no such file") from None
    except OSError as error:
        raise PictureError(error.strerror or "cannot be read") from None
    except ValueError:
        raise PictureError("is no usable file name") from None


def decode_picture(
    data: bytes, max_side_px: int, max_decoded_pixels: int = MAX_PIXELS
) -> ReadPicture:
    """Return the picture in a file's bytes; PictureError says why not.

    max_decoded_pixels: what it may take in memory; a JPEG takes less than its own size there.
    """
    try:
        return _decode(data, max_side_px, max_decoded_pixels)
    except PictureError:
        raise
    except UnidentifiedImageError:
        reason = why_not_read(data[:FIRST_BYTES]) or "is damaged: its head cannot be read"
        raise PictureError(reason) from None
    except MemoryError:
        raise PictureError("does not fit into memory") from None
    except Exception as error:  # Pillow's decoders raise anything on damaged files
        reason = printable(" ".join(str(error).split())[:120]) or type(error).__name__
        raise PictureError(f"is damaged: {reason}") from None


def _decode(data: bytes, max_side_px: int, max_decoded_pixels: int) -> ReadPicture:
    Image.MAX_IMAGE_PIXELS = None  # our own limit below, checked before any pixel is decoded
    with Image.open(io.BytesIO(data), formats=FORMATS) as file:
        _refuse_raw(file)
        width, height = file.size
        if width * height > MAX_PIXELS:
            raise PictureError(f"has more than {MAX_PIXELS // 1_000_000} megapixels")
        if min(width, height) < MIN_SIDE_PX:
            raise PictureError(
                f"is {width}x{height} px, the smaller side must be at least {MIN_SIDE_PX}"
            )
        icc_profile = file.info.get("icc_profile")
        if file.format in ("JPEG", "MPO"):
            file.draft(None, (max_side_px, max_side_px))  # decodes large photos at 1/2, 1/4, 1/8
        if file.size[0] * file.size[1] > max_decoded_pixels:
            rule = f"has more than {max_decoded_pixels // 1_000_000} megapixels"
            raise PictureError(f"{rule}; make it smaller, or send a JPEG")
        picture = ImageOps.exif_transpose(file)
        if (file.size[0] > file.size[1]) != (picture.size[0] > picture.size[1]):
            width, height = height, width
        picture = _to_8_bit(picture)
        picture = _on_white(picture, icc_profile)
    side_px = max(picture.size)
    image_bgr = cv2.cvtColor(np.asarray(picture, np.uint8), cv2.COLOR_RGB2BGR)
    if side_px > max_side_px:
        factor = max_side_px / side_px
        size_wh = tuple(max(1, round(n * factor)) for n in picture.size)
        image_bgr = cv2.resize(image_bgr, size_wh, interpolation=cv2.INTER_AREA)
    return ReadPicture(
        np.ascontiguousarray(image_bgr), (width, height), hashlib.sha256(data).hexdigest()
    )


def _refuse_raw(file: Image.Image) -> None:
    """Refuse a camera's raw picture, whose TIFF begins with a thumbnail: that is not the item."""
    tags = getattr(file, "tag_v2", {}) if file.format == "TIFF" else {}
    if _DNG_VERSION in tags:
        raise PictureError(not_read("DNG (a camera's raw picture)"))
    if _SUB_IFDS in tags and int(tags.get(_SUBFILE_TYPE, 0)) & 1:
        raise PictureError(not_read("a camera's raw picture"))


def _to_8_bit(picture: Image.Image) -> Image.Image:
    """Return 16-bit, 32-bit and float gray as 8-bit gray; others as they are."""
    if not (picture.mode.startswith(("I", "F"))):
        return picture
    values = np.asarray(picture).astype(np.float64)
    values = np.nan_to_num(values)
    if picture.mode.startswith("I;16") or values.max() > 255:
        values /= 257.0
    elif picture.mode == "F" and values.max() <= 1.0:
        values *= 255.0
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _on_white(picture: Image.Image, icc_profile: bytes | None) -> Image.Image:
    """Return the picture as opaque sRGB; transparent margins are cut off, the rest is white."""
    has_alpha = "A" in picture.getbands() or "transparency" in picture.info
    if not has_alpha:
        return _to_srgb(picture, icc_profile)
    with_alpha = picture.convert("RGBA")
    alpha = with_alpha.getchannel("A")
    box = alpha.getbbox()
    if box is None:
        raise PictureError("is wholly transparent")
    if min(box[2] - box[0], box[3] - box[1]) < MIN_SIDE_PX:
        box = (0, 0, *picture.size)
    opaque = Image.new("RGB", with_alpha.size, "white")
    opaque.paste(_to_srgb(with_alpha.convert("RGB"), icc_profile), mask=alpha)
    return opaque.crop(box)


def _to_srgb(picture: Image.Image, icc_profile: bytes | None) -> Image.Image:
    if icc_profile and picture.mode in ("RGB", "CMYK"):
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc_profile))
            converted = ImageCms.profileToProfile(
                picture, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken profile: the colours are taken as they stand, as viewers do
    return picture.convert("RGB")


def trim_margin(image_bgr: U8) -> U8:
    """Return the picture without a plain margin around its object, or as it is.

    image_bgr: (h, w, 3) uint8. Studio pictures stand on white while a camera's crop is tight: the
    two only look alike without the margin. Kept whole unless all four corners share one colour.
    """
    box = object_box(image_bgr, TRIM_TOLERANCE)
    if box is None or min(box[2] - box[0], box[3] - box[1]) < 2 * MIN_SIDE_PX:
        return image_bgr
    x0, y0, x1, y1 = box
    return np.ascontiguousarray(image_bgr[y0:y1, x0:x1])
