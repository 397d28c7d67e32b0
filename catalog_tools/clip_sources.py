"""Puts key pictures in the place of clips: from then on they are pictures like any other.

A view of a clip is named `clip.mp4#t=1.20s`. What it is known by is a hash of the clip's own, the
rule that chose it and its time: an unchanged clip is not read again, and its views can be told
apart from those of any other.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog_tools.clips import ClipReader, read_key_views
from catalog_tools.describe import Embed, WorkFolder, encode_jpeg
from catalog_tools.images import Left, Source
from catalog_tools.picture_formats import is_clip
from catalog_tools.reading import PictureError, sha256_of_clip
from pipeline.catalog import Recipe

RULE = 1  # counts up whenever other views would be chosen of the same clip
MARK = "#t="


@dataclass(frozen=True, slots=True)
class ClipSources:
    """Finds the views of clips: known ones, those that a killed build left behind, or new ones.

    reader: without it clips are left out. known_images: the names of the pictures in use, by what
    each is known by. work: keeps new views until they are described.
    """

    reader: ClipReader | None
    recipe: Recipe
    embed: Embed
    known_images: dict[str, str]
    work: WorkFolder

    def put_views(
        self, sources: Sequence[Source], progress: Callable[[float], None]
    ) -> tuple[list[Source], list[Left]]:
        """Return the sources with each clip's views in its place, and the clips left out.

        progress: told how many clips are done, and the share of the one in work.
        """
        found: list[Source] = []
        left_out: list[Left] = []
        first_by_content: dict[tuple[str, str], Source] = {}
        n_done = 0
        for source in sources:
            if not is_clip(source.path):
                found.append(source)
                continue
            try:
                if self.reader is None:
                    raise PictureError("is a clip, and clips are not read here")
                sha256 = sha256_of_clip(source.path)
                first = first_by_content.setdefault((source.item_id, sha256), source)
                if first is not source:
                    raise PictureError(f"is the same clip as {first.name}")
                found += self._views(source, sha256, lambda share, n=n_done: progress(n + share))
            except PictureError as error:
                left_out.append(Left(source.place, str(error)))
            n_done += 1
            progress(n_done)
        return found, left_out

    def _views(
        self, source: Source, clip_sha256: str, progress: Callable[[float], None]
    ) -> list[Source]:
        times = self._known_times(clip_sha256) or self._times_left_behind(clip_sha256)
        if not times:
            times = self._read(source.path, clip_sha256, progress)
        views = []
        for time in times:
            sha256, mark = self._view_sha256(clip_sha256, time), f"{MARK}{time}"
            name, place = source.name + mark, source.place + mark
            views.append(Source(source.item_id, self._path(sha256), name, place, sha256))
        return views

    def _known_times(self, clip_sha256: str) -> list[str]:
        marked = (image.rpartition(MARK) for image in self.known_images.values())
        times = sorted({time for _, mark, time in marked if mark}, key=_seconds)
        return [t for t in times if self._view_sha256(clip_sha256, t) in self.known_images]

    def _times_left_behind(self, clip_sha256: str) -> list[str]:
        try:
            times = json.loads(self._list(clip_sha256).read_bytes())
        except (OSError, ValueError):
            return []  # not there, or half written by a crash of the machine: read again
        paths = [self._path(self._view_sha256(clip_sha256, time)) for time in times]
        return list(times) if all(path.is_file() for path in paths) else []

    def _read(self, path: Path, clip_sha256: str, progress: Callable[[float], None]) -> list[str]:
        """Choose the views and write their pictures, then the list of their times."""
        views = read_key_views(path, self.reader, self.recipe, self.embed, progress)
        times = [f"{view.time_s:.2f}s" for view in views]
        self.work.clip_folder.mkdir(parents=True, exist_ok=True)
        for view, time in zip(views, times, strict=True):
            path_of_view = self._path(self._view_sha256(clip_sha256, time))
            self._write(path_of_view, encode_jpeg(view.image_bgr))
        self._write(self._list(clip_sha256), json.dumps(times).encode())
        return times

    def _write(self, path: Path, data: bytes) -> None:
        new = path.with_name(f".{os.getpid()}.new")
        new.write_bytes(data)
        new.replace(path)

    def _path(self, view_sha256: str) -> Path:
        return self.work.clip_folder / f"{view_sha256}.jpg"

    def _list(self, clip_sha256: str) -> Path:
        return self.work.clip_folder / f"{clip_sha256}.json"

    def _view_sha256(self, clip_sha256: str, time: str) -> str:
        """What a view is known by: the clip's content, the rule that chose it, its time."""
        text = f"{clip_sha256} {RULE} {self.reader.detector_sha256} {time}"
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def clip_name(image: str) -> str:
    """Return the name of the clip that a picture is a view of; of any other picture its own."""
    name, mark, time = image.rpartition(MARK)
    is_view = bool(mark) and is_clip(Path(name)) and _seconds(time) >= 0
    return name if is_view else image


def _seconds(time: str) -> float:
    """Return the seconds of `1.20s`; -1 when it is no such text."""
    try:
        return float(time.removesuffix("s"))
    except ValueError:
        return -1.0
