"""Asks a catalog about pictures: which items are in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from catalog_tools.fetch import is_address
from catalog_tools.originals import SENT_PIXELS
from catalog_tools.reading import PictureError, ReadPicture, decode_picture, read_picture
from pipeline.catalog import Catalog
from pipeline.catalog_format import PictureRecord, read_pictures_of
from pipeline.types import U8, Match, PictureResult, Ranked

QUERY_SIDE_PX = 1920  # larger photos are made so small; boxes are told in the photo's own pixels
BATCH = 8


class PictureMatcher(Protocol):
    def match_pictures(
        self, images_bgr: Sequence[U8], catalog: Catalog, k: int, tie_epsilon: float
    ) -> Sequence[PictureResult]: ...


@dataclass(frozen=True, slots=True)
class Wishes:
    """What of the answers is told.

    k: how many items `ranked` has at most. min_probability: what is less is left out.
    one_per_item: of each item the first match only. tie_epsilon: of what differs less in
    probability, what the whole picture shows goes first, then what has more inliers.
    """

    k: int = 5
    min_probability: float = 0.0
    one_per_item: bool = False
    tie_epsilon: float = 0.02


@dataclass(frozen=True, slots=True)
class SentPicture:
    """A picture that was sent. read: returns the file's bytes; PictureError says why not."""

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found in one picture. error: why it could not be read, else None.

    matches, ranked: as the command's JSON has them. size_wh: the picture's own, upright.
    """

    image: str
    matches: tuple[dict[str, Any], ...] = ()
    ranked: tuple[dict[str, Any], ...] = ()
    error: str | None = None
    size_wh: tuple[int, int] = (0, 0)

    def to_json(self) -> dict[str, Any]:
        """Return the line of `magpie catalog query --json`."""
        if self.error is not None:
            return {"image": self.image, "error": self.error}
        return {
            "image": self.image,
            "size_wh": self.size_wh,
            "matches": list(self.matches),
            "ranked": list(self.ranked),
        }


def query_pictures(
    images: Iterable[str | SentPicture],
    catalog: Catalog,
    matcher: PictureMatcher,
    wishes: Wishes | None = None,
    fetch: Callable[[str], bytes] | None = None,
) -> Iterator[Answer]:
    """Yield one answer a picture, in the given order, as they are done; unreadable ones too.

    images: files, addresses and what was sent. fetch: reads addresses; PictureError says why not.
    Pictures are read ahead while others are matched.
    """
    wishes = wishes or Wishes()
    telling = _Telling(catalog, wishes)
    rest = iter(images)
    with ThreadPoolExecutor(2) as pool:
        ahead: deque[tuple[str, Future[ReadPicture | str]]] = deque()

        def read_ahead() -> None:
            for image in islice(rest, max(0, 2 * BATCH - len(ahead))):
                name = image.name if isinstance(image, SentPicture) else image
                ahead.append((name, pool.submit(_read, image, fetch)))

        read_ahead()
        while ahead:
            block = [ahead.popleft() for _ in range(min(BATCH, len(ahead)))]
            pictures = [(image, future.result()) for image, future in block]
            read_ahead()
            usable = [picture for _, picture in pictures if isinstance(picture, ReadPicture)]
            images_bgr = [picture.image_bgr for picture in usable]
            match = partial(matcher.match_pictures, k=wishes.k, tie_epsilon=wishes.tie_epsilon)
            results = iter(match(images_bgr, catalog) if usable else [])
            for image, picture in pictures:
                if isinstance(picture, str):
                    yield Answer(image, error=picture)
                else:
                    yield telling.answer(image, picture, next(results))


def _read(image: str | SentPicture, fetch: Callable[[str], bytes] | None) -> ReadPicture | str:
    try:
        if isinstance(image, SentPicture):
            return decode_picture(image.read(), QUERY_SIDE_PX, SENT_PIXELS)
        if fetch is not None and is_address(image):
            return decode_picture(fetch(image), QUERY_SIDE_PX, SENT_PIXELS)
        return read_picture(Path(image), QUERY_SIDE_PX)
    except PictureError as error:
        return str(error)


class _Telling:
    """Puts into words what was found: the reference pictures' names, boxes in a photo's pixels."""

    def __init__(self, catalog: Catalog, wishes: Wishes) -> None:
        self._catalog = catalog
        self._wishes = wishes

    @cached_property
    def _records(self) -> list[PictureRecord]:
        return read_pictures_of(self._catalog.directory, self._catalog.folder)

    def answer(self, image: str, picture: ReadPicture, result: PictureResult) -> Answer:
        """Return what is told of a picture."""
        height, width = picture.image_bgr.shape[:2]
        scale_xy = (picture.size_wh[0] / width, picture.size_wh[1] / height)
        least = self._wishes.min_probability
        found: dict[object, Match] = {}
        for number, match in enumerate(result.matches):
            if match.probability >= least:
                found.setdefault(match.item_id if self._wishes.one_per_item else number, match)
        matches = tuple(self._match(match, scale_xy) for match in found.values())
        ranked = tuple(self._ranked(one) for one in result.ranked if one.probability >= least)
        return Answer(image, matches, ranked, size_wh=picture.size_wh)

    def _match(self, match: Match, scale_xy: tuple[float, float]) -> dict[str, Any]:
        outline = match.outline
        return {
            "item_id": match.item_id,
            "label": match.label,
            "tier": str(match.tier),
            **_likelihood(match),
            "inliers": int(match.inliers),
            "box_xyxy": _scaled(match.box_xyxy, scale_xy * 2),
            "outline": None
            if outline is None
            else [
                [round(float(n) * s, 1) for n, s in zip(xy, scale_xy, strict=True)]
                for xy in outline
            ],
            "angle_deg": round(float(match.angle_deg), 1),
            "picture": self._picture(match.view_index),
        }

    def _ranked(self, one: Ranked) -> dict[str, Any]:
        return {
            "item_id": one.item_id,
            "label": one.label,
            **_likelihood(one),
            "inliers": int(one.inliers),
            "picture": self._picture(one.view_index),
        }

    def _picture(self, view_index: int) -> dict[str, str] | None:
        if view_index < 0:
            return None
        record = self._records[int(self._catalog.view_picture[view_index])]
        return {"image": record.image, "sha256": record.sha256}


def _scaled(numbers: Iterable[float], scales: Sequence[float]) -> list[float]:
    return [round(float(n) * scale, 1) for n, scale in zip(numbers, scales, strict=True)]


def _likelihood(found: Match | Ranked) -> dict[str, float]:
    return {
        "probability": round(float(found.probability), 4),
        "percent": round(100 * float(found.probability), 1),
        "similarity": round(float(found.similarity), 4),
    }
