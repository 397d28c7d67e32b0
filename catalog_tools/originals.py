"""The pictures that a catalog was built from, kept beside it at a size that any weights can take.

DIR/originals/<SHA-256 of the file that was given>.jpg: upright, at most 1,600 px, without the
metadata that phones write (where, when, whose). They belong to no generation: one stays as long as
a generation on disk has its picture.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from catalog_tools.describe import encode_jpeg
from catalog_tools.reading import PictureError, decode_picture, read_file
from pipeline.catalog_format import list_generations, read_pictures
from pipeline.errors import CatalogError
from pipeline.types import U8

ORIGINALS = "originals"
SIDE_PX = 1600
SENT_PIXELS = 50_000_000  # that a picture from outside may take decoded: some 450 MB while it is
SENT_BYTES = 50_000_000


class Originals:
    """Those of one catalog, by the hash of the file that each came from."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.folder = directory / ORIGINALS

    @property
    def are_kept(self) -> bool:
        """Whether this catalog keeps any: one that was built without them gets none."""
        return self.folder.is_dir()

    def keep_from_now_on(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self.folder / f"{sha256}.jpg"

    def has(self, sha256: str) -> bool:
        return self.path(sha256).is_file()

    def put(self, sha256: str, image_bgr: U8) -> None:
        """Keep a picture: (h, w, 3) uint8 BGR, upright, at most SIDE_PX."""
        self.keep_from_now_on()
        new = self.folder / f".{os.getpid()}-{sha256[:16]}.new"
        new.write_bytes(encode_jpeg(image_bgr))
        new.replace(self.path(sha256))

    def put_file(self, path: Path, sha256: str) -> None:
        """Keep the picture in a file; one that cannot be read is left as it is."""
        with contextlib.suppress(PictureError):
            self.put(sha256, decode_picture(read_file(path), SIDE_PX).image_bgr)

    def receive(self, data: bytes) -> tuple[str, tuple[int, int]]:
        """Keep a picture that was sent; return what it is known by, and its own size.

        PictureError says why it is none, or too large a one.
        """
        if not data:
            raise PictureError("is empty")
        if len(data) > SENT_BYTES:
            raise PictureError(f"has more than {SENT_BYTES // 1_000_000} MB")
        sha256 = hashlib.sha256(data).hexdigest()
        read = decode_picture(data, SIDE_PX, SENT_PIXELS)
        self.put(sha256, read.image_bgr)
        return sha256, read.size_wh

    def drop_unused(self) -> None:
        """Remove what no generation on disk has a picture of. The caller holds `catalog_lock`."""
        if not self.are_kept:
            return
        used: set[str] = set()
        for generation in list_generations(self._directory):
            try:
                used |= {record.sha256 for record in read_pictures(self._directory, generation)}
            except CatalogError:
                return  # a damaged one may still be mended: nothing that it needs may go
        for path in self.folder.iterdir():
            if path.suffix != ".jpg" or path.stem not in used:
                path.unlink(missing_ok=True)
