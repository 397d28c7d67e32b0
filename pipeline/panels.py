"""Flat pictures with too little print for keypoints, found by the four corners of their border.

A pictogram or a plain logo gives a dozen keypoints, which prove nothing. But on a plate, a label or
a printed card its border shows as a quadrilateral, and what lies in it, laid upright, is compared
with the catalog's picture as a whole: the way of the square fiducials (Kato and Billinghurst,
"Marker Tracking and HMD Calibration", IWAR 1999). Catalogs without such pictures pay nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.boxes import bounds, iou_matrix
from pipeline.catalog import Catalog
from pipeline.geometry import project_points
from pipeline.keypoints import budget_of, resize_by, to_gray
from pipeline.margin import object_box
from pipeline.types import F32, U8, Detections

PLAIN_BELOW = 256  # keypoints of a picture that may have more
MAX_PICTURES = 2_000  # plain ones in a catalog, 5 ms a frame; with more, none is looked for
SEARCH_SIDE_PX = 640  # longer side of the picture in which borders are looked for
THUMB_PX = 16
FLAT_DEVIATION = 6.0  # grey levels; below it a thumbnail counts as flat and is like nothing
LIKE = 0.88  # correlation of thumbnails
MIN_SIDE_PX = 16  # of a border, px of the searched picture
MIN_FILLED = 0.85  # share of the quadrilateral that the border's hull fills
MAX_SHARE = 0.9  # of the picture
NEIGHBOURHOOD_PX = 51  # whose mean a pixel is compared with
DARKER_LEVELS = 7
MAX_PARTS = 12  # of what a border holds; more is a texture
MIN_PART_PX = 16  # area of such a part's box; less is noise
MOST = 24  # quadrilaterals looked at in a picture, the largest
MAX_CONTOURS = 3_000  # with more the picture is all texture, and going through them takes 30 ms
VARIANTS, VARIANT_LIKE = (
    3,
    0.03,
)  # signs in several colours, which grey thumbnails hardly tell apart
SAME_IOU = 0.5
INSIDE_PX = 96  # side at which the print on a blank sheet is looked for
INSIDE_RIM = 0.04  # of the side, left out: a border's edge is blurred
INSIDE_TOLERANCE = 24  # grey levels; a lamp does not light a sheet evenly
MIN_INSIDE = 0.25  # of the side


@dataclass(frozen=True, slots=True)
class Panel:
    """A quadrilateral whose inside looks like a picture of the catalog.

    outline: (4, 2) float32 px, where the view's corners lie, clockwise from its own top left.
    view_indices: the views that it is most like, the likeliest first. likeness: its correlation
    with that one, LIKE..1.
    """

    outline: F32
    view_indices: tuple[int, ...]
    likeness: float


class PanelFinder:
    """Looks for a catalog's plain pictures."""

    def __init__(self, catalog: Catalog) -> None:
        first_view = np.unique(catalog.view_picture, return_index=True)[1]
        most = budget_of(catalog.manifest.recipe.extractor)
        plain = first_view[catalog.keypoint_counts < min(most, PLAIN_BELOW)]
        self._views = plain if len(plain) <= MAX_PICTURES else plain[:0]
        self._thumbs = np.zeros((len(self._views), THUMB_PX**2), np.float32)
        for row, view in enumerate(self._views):
            picture = cv2.resize(
                to_gray(catalog.view_image_bgr(int(view))),
                (THUMB_PX, THUMB_PX),
                interpolation=cv2.INTER_AREA,
            )
            self._thumbs[row] = normalized(np.asarray(picture, np.float32)[None])[0].ravel()

    def find(self, luma: U8) -> list[Panel]:
        """Return the panels in a picture, (H, W) uint8, the most alike first; outlines in its px.

        Of panels that lie on each other only the first is told.
        """
        if not len(self._views):
            return []
        factor = min(1.0, SEARCH_SIDE_PX / max(luma.shape))
        small = np.ascontiguousarray(resize_by(luma, factor))
        back_xy = np.array([luma.shape[1] / small.shape[1], luma.shape[0] / small.shape[0]])
        outlines = find_quadrilaterals(small)
        if not outlines:
            return []
        thumbs = lay_upright(small, outlines)
        inner = [
            inside
            for outline, may_be in zip(outlines, _may_be_sheets(thumbs), strict=True)
            if may_be and (inside := find_inside(small, outline)) is not None
        ]
        if inner:
            outlines += inner
            thumbs = np.concatenate([thumbs, lay_upright(small, inner)])
        upright = normalized(thumbs)
        turned = np.stack([np.rot90(upright, turn, axes=(1, 2)) for turn in range(4)], axis=1)
        likeness = turned.reshape(len(outlines), 4, -1) @ self._thumbs.T
        found = []
        for outline, of_turn in zip(outlines, likeness, strict=True):
            turn, row = np.unravel_index(of_turn.argmax(), of_turn.shape)
            if of_turn[turn, row] >= LIKE:
                corners = np.asarray(np.roll(outline, -int(turn), axis=0) * back_xy, np.float32)
                found.append(
                    Panel(corners, self._most_alike(of_turn[turn]), float(of_turn[turn, row]))
                )
        return _distinct(sorted(found, key=lambda panel: -panel.likeness))

    def _most_alike(self, likeness: F32) -> tuple[int, ...]:
        rows = np.argsort(-likeness, kind="stable")[:VARIANTS]
        kept = rows[likeness[rows] >= likeness[rows[0]] - VARIANT_LIKE]
        return tuple(int(view) for view in self._views[kept])


def find_quadrilaterals(gray: U8) -> list[F32]:
    """Return the four-cornered borders in a picture, (H, W) uint8: each (4, 2) float32 px.

    Clockwise on the screen, the largest first. A border is the outline of a dark or light patch,
    or of all that lies in one (a print whose own corners are of the colour round it).
    """
    smooth = cv2.blur(gray, (3, 3))  # a camera's noise gives thousands of specks otherwise
    is_light = cv2.adaptiveThreshold(
        smooth, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, NEIGHBOURHOOD_PX, DARKER_LEVELS
    )
    contours, nesting = cv2.findContours(is_light, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) > MAX_CONTOURS:
        return []
    parts_of: dict[int, list[np.ndarray]] = {}
    wholes: list[np.ndarray] = []
    for i, contour in enumerate(contours):
        _, _, width, height = cv2.boundingRect(contour)
        if width * height < MIN_PART_PX:
            continue
        parts_of.setdefault(int(nesting[0, i, 3]), []).append(contour)
        if min(width, height) >= MIN_SIDE_PX:
            wholes.append(contour)
    wholes += [
        np.concatenate(parts)
        for outer, parts in parts_of.items()
        if outer >= 0 and 2 <= len(parts) <= MAX_PARTS
    ]
    wholes.sort(key=_box_area, reverse=True)
    wholes = wholes[: 3 * MOST]  # of which a third may be quadrilaterals
    found = [fitted for points in wholes if (fitted := _fit(points, gray.size)) is not None]
    found.sort(key=lambda outline: -cv2.contourArea(outline))
    return found[:MOST]


def _box_area(points: np.ndarray) -> int:
    return cv2.boundingRect(points)[2] * cv2.boundingRect(points)[3]


def _fit(points: np.ndarray, picture_px: int) -> F32 | None:
    """Return the quadrilateral round points, (N, 1, 2) int32, or None where they make no such."""
    hull = cv2.convexHull(points)
    if len(hull) < 4 or min(cv2.boundingRect(hull)[2:]) < MIN_SIDE_PX:
        return None
    outline = np.asarray(cv2.approxPolyN(hull, 4, ensure_convex=True), np.float32).reshape(-1, 2)
    area_px = cv2.contourArea(outline)
    if len(outline) != 4 or not MIN_SIDE_PX**2 / 2 <= area_px <= MAX_SHARE * picture_px:
        return None
    if cv2.contourArea(hull) < MIN_FILLED * area_px:
        return None
    if cv2.contourArea(outline, oriented=True) < 0:
        outline = outline[::-1]
    return np.ascontiguousarray(outline + np.float32(0.5))  # OpenCV puts the first centre at 0


def _may_be_sheets(thumbs: F32) -> list[bool]:
    """Whether each may have a blank margin: the corners of its thumbnail are about as its rim is.

    What is surely no sheet need not be laid upright at full size: a third in a picture of packs.
    """
    sides = thumbs[:, 1, 1:-1], thumbs[:, -2, 1:-1], thumbs[:, 1:-1, 1], thumbs[:, 1:-1, -2]
    rim = np.median(np.concatenate(sides, axis=1), axis=1, keepdims=True)
    corners = thumbs[:, [1, 1, -2, -2], [1, -2, 1, -2]]
    is_even: list[bool] = (np.abs(corners - rim).max(axis=1) <= 2 * INSIDE_TOLERANCE).tolist()
    return is_even


def find_inside(gray: U8, outline: F32) -> F32 | None:
    """Return the outline of the print in the middle of a blank sheet, (4, 2) px, or None.

    As a catalog's pictures are stored: without the margin around their object.
    """
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * INSIDE_PX
    to_sheet = cv2.getPerspectiveTransform(outline - np.float32(0.5), square - np.float32(0.5))
    sheet = cv2.warpPerspective(gray, to_sheet, (INSIDE_PX, INSIDE_PX), flags=cv2.INTER_LINEAR)
    rim = round(INSIDE_RIM * INSIDE_PX)
    box = object_box(np.asarray(sheet[rim:-rim, rim:-rim], np.uint8), INSIDE_TOLERANCE)
    if box is None or min(box[2] - box[0], box[3] - box[1]) < MIN_INSIDE * INSIDE_PX:
        return None
    x0, y0, x1, y1 = (value + rim for value in box)
    corners = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32)
    to_picture = np.asarray(cv2.getPerspectiveTransform(square, outline), np.float64)
    return project_points(to_picture, corners).astype(np.float32)


def lay_upright(gray: U8, outlines: Sequence[F32]) -> F32:
    """Return what lies in quadrilaterals, (N, THUMB_PX, THUMB_PX) float32, by homographies.

    gray: (H, W) uint8. outlines: each (4, 2) float32 px of it.
    """
    pyramid = [gray]
    doubled = 2 * THUMB_PX
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * doubled - np.float32(0.5)
    thumbs = []
    for outline in outlines:
        # Warped from a picture of about the thumbnail's resolution: it would skip pixels otherwise.
        level = max(0, int(np.log2(np.sqrt(cv2.contourArea(outline)) / doubled)))
        while len(pyramid) <= level:
            pyramid.append(resize_by(pyramid[-1], 0.5))
        shrunk_xy = np.array(pyramid[level].shape[::-1]) / np.array(gray.shape[::-1])
        corners = outline * shrunk_xy - 0.5
        upright = cv2.warpPerspective(
            pyramid[level],
            cv2.getPerspectiveTransform(np.asarray(corners, np.float32), square),
            (doubled, doubled),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        thumbs.append(cv2.resize(upright, (THUMB_PX, THUMB_PX), interpolation=cv2.INTER_AREA))
    return np.asarray(np.stack(thumbs), np.float32)


def normalized(thumbs: F32) -> F32:
    """Return thumbnails, (N, THUMB_PX, THUMB_PX) float32, without their light and of length 1 (less
    where that leaves little).

    Light is what a polynomial of the second degree takes away: every plate has some, so a picture
    of a wall or of the sky would be found in all of them.
    """
    flat = thumbs.reshape(len(thumbs), -1)
    print_alone = flat - (flat @ _LIGHT) @ _LIGHT.T
    length = np.linalg.norm(print_alone, axis=1, keepdims=True)
    unit = print_alone / np.maximum(length, FLAT_DEVIATION * THUMB_PX)
    return np.asarray(unit.reshape(thumbs.shape), np.float32)


def _polynomials(degree: int) -> F32:
    """(THUMB_PX ** 2, N) float32: an orthonormal basis of the polynomials over a thumbnail."""
    y, x = np.mgrid[-1 : 1 : THUMB_PX * 1j, -1 : 1 : THUMB_PX * 1j]
    terms = [x**i * y**j for i in range(degree + 1) for j in range(degree + 1 - i)]
    basis, _ = np.linalg.qr(np.stack([term.ravel() for term in terms], axis=1))
    return np.asarray(basis, np.float32)


_LIGHT = _polynomials(2)


def join_panels(
    detections: Detections, panels: Sequence[Panel], size_wh: tuple[int, int]
) -> Detections:
    """Return the detections with a box round each panel; its likeness is its score.

    size_wh: of the frame, px; boxes end there.
    """
    if not panels:
        return detections
    boxes = np.stack([bounds(panel.outline) for panel in panels])
    boxes = np.clip(boxes, 0, np.tile(np.array(size_wh, np.float32), 2))
    score = np.array([panel.likeness for panel in panels], np.float32)
    return Detections(
        np.concatenate([detections.xyxy, boxes.astype(np.float32)]),
        np.concatenate([detections.score, score]),
        np.concatenate([detections.class_id, np.zeros(len(panels), np.int32)]),
    )


def panel_of(xyxy: F32, panels: Sequence[Panel]) -> Panel | None:
    """Return the panel that a box, (4,) px, lies round, or None."""
    for panel in panels:
        if iou_matrix(bounds(panel.outline)[None], xyxy[None])[0, 0] >= SAME_IOU:
            return panel
    return None


def _distinct(panels: Sequence[Panel]) -> list[Panel]:
    kept: list[Panel] = []
    for panel in panels:
        if panel_of(bounds(panel.outline), kept) is None:
            kept.append(panel)
    return kept
