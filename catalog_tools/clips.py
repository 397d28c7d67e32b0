"""Makes key pictures of a clip: reads it, finds the item in it, chooses views by novelty.

A clip is read twice, for its pictures don't fit into memory: once to see where the item lies, and
once for the sharpest picture of each moment, which may become views.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from catalog_tools.describe import READING_SIDE_PX, Embed, shrink
from catalog_tools.key_views import choose_views, leave_blurred_out, moment_s
from catalog_tools.reading import MIN_SIDE_PX, PictureError, trim_margin
from catalog_tools.reference_quality import measure_blur
from pipeline.boxes import area, pad_and_clip
from pipeline.catalog import Recipe
from pipeline.color import crop_bgr
from pipeline.errors import SourceError
from pipeline.pictures import BOX_FILLS, LEAST_SCORE, holds_centre
from pipeline.types import F32, U8, Detections, Frame

# One box for all pictures of a clip: 0.99 of the cases of key_views.py were found so, 0.93 by whole
# pictures, 0.66 by pictures cut to their own boxes, which are now of one side, now of all.
FPS = 10.0  # looked at; each costs a detection, some 30 ms
MAX_LENGTH_S = 180.0  # longer is a mistake: a turn takes some 20 s
BATCH = 16
PAD = 0.08  # as the matcher cuts a track out (CropOptions.pad)
CUT_OFF_SHARE = 0.1  # of the boxes that may reach out of the item's, on each side
MIN_SEEN_SHARE = 0.2  # of the pictures that show a thing on their middle; at 0.22 it was cut right
FIRST_READING_SHARE = 0.7  # of the time that a clip takes


class Clip(Protocol):
    """A recording. length_s: as it says itself; 0: it doesn't."""

    @property
    def length_s(self) -> float: ...

    def frames(self, fps: float) -> Iterator[Frame]:
        """Yield its pictures, the same ones each time; planes are valid until the next one."""
        ...


@dataclass(frozen=True, slots=True)
class ClipReader:
    """What clips are read with.

    open: SourceError when a file is no video. detect: finds things in frames, with the weights of
    that hash.
    """

    open: Callable[[Path], Clip]
    detect: Callable[[Sequence[Frame]], list[Detections]]
    detector_sha256: str = ""


@dataclass(frozen=True, slots=True)
class KeyView:
    """A picture of a clip. image_bgr: (h, w, 3) uint8, its longer side at most READING_SIDE_PX.

    blur: 0 sharp .. 1.
    """

    time_s: float
    image_bgr: U8
    blur: float


def read_key_views(
    path: Path,
    reader: ClipReader,
    recipe: Recipe,
    embed: Embed,
    progress: Callable[[float], None] = lambda share: None,
) -> list[KeyView]:
    """Return the views of a clip's item, in the order of their times; the same for the same clip.

    progress: told which share of the work, 0..1, is done. PictureError says why a clip can't be
    used.
    """
    try:
        clip = reader.open(path)
        refuse_long(clip.length_s)
        box, length_s = find_item(clip, reader, progress)
        views = sharpest_pictures(clip, box, moment_s(length_s), recipe.picture_side_px)
    except SourceError as error:
        raise PictureError(str(error)) from None
    views = [views[number] for number in leave_blurred_out([view.blur for view in views])]
    rows = describe_views(views, recipe, embed)
    chosen = choose_views(rows, [view.time_s for view in views], [view.blur for view in views])
    return [views[number] for number in sorted(chosen)]


def refuse_long(length_s: float) -> None:
    if length_s > MAX_LENGTH_S:
        raise PictureError(
            f"lasts {length_s:.0f} s, a clip may last {MAX_LENGTH_S:.0f} s; cut it to the item"
        )


def find_item(
    clip: Clip, reader: ClipReader, progress: Callable[[float], None]
) -> tuple[F32 | None, float]:
    """Return where the item lies in all of the clip, (4,) float32 px, and the clip's length, s.

    None where too few pictures show one thing on their middle: the whole counts then.
    """
    boxes: list[F32 | None] = []
    time_s = 0.0
    for frame in clip.frames(FPS):
        time_s = frame.media_ns / 1e9
        refuse_long(time_s)
        progress(FIRST_READING_SHARE * min(1.0, time_s / (clip.length_s or MAX_LENGTH_S)))
        if min(frame.size_wh) < MIN_SIDE_PX:
            width, height = frame.size_wh
            raise PictureError(
                f"is {width}x{height} px, the smaller side must be at least {MIN_SIDE_PX}"
            )
        boxes.append(_thing_on_the_middle(reader.detect([frame])[0], _whole(frame)))
    if len(boxes) < 2:
        raise PictureError("has one picture only, a clip must have more; export it as JPEG")
    return box_of_all(boxes), time_s


def _thing_on_the_middle(found: Detections, whole: F32) -> F32 | None:
    """Return the largest box that holds the middle of the picture, (4,) px; None without one.

    A box that fills the picture is the picture: nothing would be cut off.
    """
    boxes = [
        xyxy
        for xyxy, score in zip(found.xyxy, found.score, strict=True)
        if score >= LEAST_SCORE
        and holds_centre(xyxy, whole)
        and area(xyxy) < BOX_FILLS * area(whole)
    ]
    return max(boxes, key=area, default=None)


def box_of_all(boxes: Sequence[F32 | None]) -> F32 | None:
    """Return the box that holds nine tenths of the boxes on each side; None: there are too few."""
    seen = [box for box in boxes if box is not None]
    if len(seen) < MIN_SEEN_SHARE * len(boxes):
        return None
    low = np.percentile([box[:2] for box in seen], 100 * CUT_OFF_SHARE, axis=0)
    high = np.percentile([box[2:] for box in seen], 100 * (1 - CUT_OFF_SHARE), axis=0)
    return np.concatenate([low, high]).astype(np.float32)


def sharpest_pictures(
    clip: Clip, box_xyxy: F32 | None, moment_s: float, side_px: int
) -> list[KeyView]:
    """Read a clip and return the sharpest picture of each moment, cut out, in order.

    side_px: the size at which blur counts, that of the catalog's pictures.
    """
    best: dict[int, KeyView] = {}
    for frame in clip.frames(FPS):
        time_s = frame.media_ns / 1e9
        image_bgr = crop_bgr(frame, _place(box_xyxy, frame), READING_SIDE_PX)[0]
        view = KeyView(time_s, image_bgr, measure_blur(shrink(image_bgr, side_px)))
        moment = int(time_s / moment_s)
        if moment not in best or view.blur < best[moment].blur:
            best[moment] = view
    return list(best.values())


def describe_views(views: Sequence[KeyView], recipe: Recipe, embed: Embed) -> F32:
    """Return (N, D) float32 unit vectors of the pictures as the catalog would store them."""
    rows: list[F32] = []
    for start in range(0, len(views), BATCH):
        batch = [view.image_bgr for view in views[start : start + BATCH]]
        trimmed = [trim_margin(picture) if recipe.trim else picture for picture in batch]
        rows.append(embed([shrink(picture, recipe.picture_side_px) for picture in trimmed]))
    return np.concatenate(rows)


def _place(box_xyxy: F32 | None, frame: Frame) -> F32:
    """Return what to cut out of a frame: the box, a little wider, where it lies in the frame."""
    if box_xyxy is None:
        return _whole(frame)
    x0, y0, x1, y1 = pad_and_clip(box_xyxy, PAD, frame.size_wh)
    is_in_frame = min(x1 - x0, y1 - y0) >= MIN_SIDE_PX  # a clip's pictures may change their size
    return np.array([x0, y0, x1, y1], np.float32) if is_in_frame else _whole(frame)


def _whole(frame: Frame) -> F32:
    return np.array([0, 0, *frame.size_wh], np.float32)
