"""Asks a catalog about pictures: which items are in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from catalog_tools.reading import PictureError, ReadPicture, read_picture
from pipeline.catalog import Catalog
from pipeline.types import U8, PictureResult

QUERY_SIDE_PX = 1920  # larger photos are made so small; boxes are told in the photo's own pixels
BATCH = 8


class PictureMatcher(Protocol):
    def match_pictures(
        self, images_bgr: Sequence[U8], catalog: Catalog, k: int
    ) -> Sequence[PictureResult]: ...


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
        return {"image": self.image, "matches": list(self.matches), "ranked": list(self.ranked)}


def query_pictures(
    images: Iterable[str], catalog: Catalog, matcher: PictureMatcher, k: int = 5
) -> Iterator[Answer]:
    """Yield one answer a picture, in the given order, as they are done; unreadable ones too.

    k: how many items `ranked` has at most. Pictures are read ahead while others are matched.
    """
    rest = iter(images)
    with ThreadPoolExecutor(2) as pool:
        ahead: deque[tuple[str, Future[ReadPicture | str]]] = deque()

        def read_ahead() -> None:
            for image in islice(rest, max(0, 2 * BATCH - len(ahead))):
                ahead.append((image, pool.submit(_read, image)))

        read_ahead()
        while ahead:
            block = [ahead.popleft() for _ in range(min(BATCH, len(ahead)))]
            pictures = [(image, future.result()) for image, future in block]
            read_ahead()
            usable = [picture for _, picture in pictures if isinstance(picture, ReadPicture)]
            images_bgr = [picture.image_bgr for picture in usable]
            results = iter(matcher.match_pictures(images_bgr, catalog, k) if usable else [])
            for image, picture in pictures:
                if isinstance(picture, str):
                    yield Answer(image, error=picture)
                else:
                    yield _answer(image, picture, next(results))


def _read(image: str) -> ReadPicture | str:
    try:
        return read_picture(Path(image), QUERY_SIDE_PX)
    except PictureError as error:
        return str(error)


def _answer(image: str, picture: ReadPicture, result: PictureResult) -> Answer:
    height, width = picture.image_bgr.shape[:2]
    scale_xyxy = [picture.size_wh[0] / width, picture.size_wh[1] / height] * 2
    matches = tuple(
        {
            "item_id": match.item_id,
            "label": match.label,
            "tier": str(match.tier),
            "probability": round(float(match.probability), 4),
            "similarity": round(float(match.similarity), 4),
            "inliers": int(match.inliers),
            "box_xyxy": [
                round(float(n) * s, 1) for n, s in zip(match.box_xyxy, scale_xyxy, strict=True)
            ],
            "angle_deg": round(float(match.angle_deg), 1),
        }
        for match in result.matches
    )
    ranked = tuple(
        {
            "item_id": item.item_id,
            "probability": round(float(item.probability), 4),
            "similarity": round(float(item.similarity), 4),
        }
        for item in result.ranked
    )
    return Answer(image, matches, ranked, size_wh=picture.size_wh)
