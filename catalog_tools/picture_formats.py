"""What a file is by its first bytes: phones and export tools give pictures any name."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .ppm .pgm .avif .mpo".split()
)
CLIP_SUFFIXES = frozenset(".mp4 .m4v .mov .mkv .webm .avi".split())
# Of pictures that are not read here; what is called so may still be one that is.
_OTHER_SUFFIXES = frozenset(
    ".heic .heif .hif .avifs .jp2 .j2k .jpf .jpx .jxl .jxr .psd .ico .tga .exr .hdr .svg .raw .dng "
    ".cr2 .cr3 .nef .nrw .arw .orf .rw2 .raf .pef .srw".split()
)
FIRST_BYTES = 64

READ_HERE = frozenset(("JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM", "WebP", "AVIF"))
_PATTERNS = (
    (rb"\xff\xd8\xff", "JPEG"),
    (rb"\x89PNG\r\n\x1a\n", "PNG"),
    (rb"GIF8[79]a", "GIF"),
    (rb"BM.{4}\0{4}", "BMP"),
    (rb"RIFF.{4}WEBP", "WebP"),
    (rb"P[2356]\s", "PPM"),
    (rb".{4}ftypavi[fs]", "AVIF"),
    # AVIF names itself later in the list of brands where the first one is the common `mif1`.
    (rb".{4}ftyp(?:mif1|msf1).{4}(?:.{4})*?avi[fs]", "AVIF"),
    (rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)", "HEIC"),
    (rb".{4}ftypcrx ", "CR3 (a camera's raw picture)"),
    (rb".{4}ftyp", "a video (MP4 or QuickTime)"),
    (rb"(?:II\*\0|MM\0\*).{4}CR", "CR2 (a camera's raw picture)"),
    (rb"II\*\0|MM\0\*", "TIFF"),
    (rb"IIR[OS]|MMOR", "ORF (a camera's raw picture)"),
    (rb"IIU\0", "RW2 (a camera's raw picture)"),
    (rb"FUJIFILMCCD-RAW", "RAF (a camera's raw picture)"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000"),
    (rb"\0\0\0\x0cJXL |\xff\x0a", "JPEG XL"),
    (rb"II\xbc", "JPEG XR"),
    (rb"8BPS", "a Photoshop file"),
    (rb"\0\0\x01\0", "an icon"),
    (rb"v/1\x01", "OpenEXR"),
    (rb"#\?R(?:ADIANCE|GBE)", "Radiance HDR"),
    (rb"\s*(?:<\?xml.*)?<svg", "SVG"),
    (rb"%PDF-", "PDF"),
    (rb"\x1aE\xdf\xa3", "a video (Matroska or WebM)"),
)
_FORMATS = [(re.compile(pattern, re.DOTALL), name) for pattern, name in _PATTERNS]


def picture_format(first_bytes: bytes) -> str:
    """Return the name of the format that a file has by its first 64 bytes; empty when unknown."""
    return next((name for pattern, name in _FORMATS if pattern.match(first_bytes)), "")


def may_be_picture(name: PurePath) -> bool:
    """Say whether a file's name is that of a picture of any kind, or says nothing."""
    suffix = name.suffix.lower()
    return suffix in SUFFIXES or suffix in _OTHER_SUFFIXES or not suffix


def is_clip(name: PurePath) -> bool:
    """Say whether a file's name is that of a video, which may show an item from several sides."""
    return name.suffix.lower() in CLIP_SUFFIXES


def why_not_read(first_bytes: bytes) -> str:
    """Return why a file that begins so is no usable picture, or an empty text when it may be one.

    A camera's raw picture that begins as a TIFF is told apart when it is read.
    """
    name = picture_format(first_bytes)
    if name in READ_HERE:
        return ""
    return not_read(name) if name else "is no picture of a known format"


def not_read(name: str) -> str:
    """Return the reason for which a file of that format is not used."""
    return f"is {name}, which is not read here; export it as JPEG"


def why_no_picture(path: Path) -> str:
    """Return why a file in a folder is no picture or clip, or an empty text when it may be one.

    Called .jpg, .mp4 or the like, the file itself is read later and tells. Else its first bytes
    decide.
    """
    if path.suffix.lower() in SUFFIXES or is_clip(path):
        return ""
    if not may_be_picture(path):
        return "is no picture file"
    try:
        if not path.is_file():  # a named pipe would never end
            return "is no picture file"
        with path.open("rb") as file:
            first_bytes = file.read(FIRST_BYTES)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return why_not_read(first_bytes) if picture_format(first_bytes) else "is no picture file"
