"""Pictures for people: a match drawn into its frame, the evidence for it, a sheet of many."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.types import F32, U8, Match, Tier

TIER_COLORS_BGR: dict[Tier, tuple[int, int, int]] = {
    Tier.EXACT: (80, 200, 60),
    Tier.VERY_SIMILAR: (40, 190, 240),
    Tier.SIMILAR: (60, 120, 240),
}
_PAPER_BGR = (32, 32, 32)
_INK_BGR = (245, 245, 245)
_PANEL_HEIGHT_PX = 260
_BANNER_PX = 46
_MAX_LINES = 60
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_match(
    image_bgr: U8,
    box_xyxy: Sequence[float] | F32,
    outline: F32 | None,
    tier: Tier,
    text: str,
) -> None:
    """Draw a match into a frame, in place: its outline, else its box, and a line of text.

    image_bgr: (H, W, 3) uint8. box_xyxy: (4,) px. outline: (4, 2) px or None.
    """
    color = TIER_COLORS_BGR[tier]
    x0, y0, x1, y1 = (float(value) for value in box_xyxy)
    box = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    shape = box if outline is None else np.asarray(outline, np.float64)
    # The first pixel's centre is 0.5 here and 0 in OpenCV; shift=3 keeps an eighth of a pixel.
    fixed = np.rint((np.clip(shape, -4000, 12000) - 0.5) * 8).astype(np.int32)
    cv2.polylines(image_bgr, [fixed], True, (0, 0, 0), 5, cv2.LINE_AA, shift=3)
    cv2.polylines(image_bgr, [fixed], True, color, 3, cv2.LINE_AA, shift=3)
    _draw_tag(image_bgr, text, (shape[:, 0].min(), shape[:, 1].min()), color)


def _draw_tag(
    image_bgr: U8, text: str, corner_xy: tuple[float, float], color: tuple[int, int, int]
) -> None:
    height, width = image_bgr.shape[:2]
    (text_w, text_h), _ = cv2.getTextSize(text, _FONT, 0.55, 1)
    x = int(np.clip(corner_xy[0], 0, max(0, width - text_w - 10)))
    y = int(np.clip(corner_xy[1] - text_h - 10, 0, max(0, height - text_h - 10)))
    cv2.rectangle(image_bgr, (x, y), (x + text_w + 8, y + text_h + 10), color, cv2.FILLED)
    cv2.putText(image_bgr, text, (x + 4, y + text_h + 4), _FONT, 0.55, (0, 0, 0), 1, cv2.LINE_AA)


def draw_evidence(crop_bgr: U8, view_bgr: U8, correspondences_xyxy: F32, match: Match) -> U8:
    """Return one picture of why a match was made: crop, view, and their correspondences as lines.

    crop_bgr, view_bgr: (h, w, 3) uint8. correspondences_xyxy: (M, 4) float32 px, x y in the view
    and x y in the crop. Returns (H, W, 3) uint8 BGR.
    """
    crop, crop_scale = _fit_height(crop_bgr)
    view, view_scale = _fit_height(view_bgr)
    gap_px = 24
    width = crop.shape[1] + gap_px + view.shape[1]
    picture = np.full((_BANNER_PX + _PANEL_HEIGHT_PX, max(width, 380), 3), _PAPER_BGR, np.uint8)
    view_x = crop.shape[1] + gap_px
    picture[_BANNER_PX:, : crop.shape[1]] = crop
    picture[_BANNER_PX:, view_x : view_x + view.shape[1]] = view
    pairs = correspondences_xyxy
    if len(pairs) > _MAX_LINES:  # more would hide the pictures
        pairs = pairs[np.linspace(0, len(pairs) - 1, _MAX_LINES).astype(int)]
    for index, (view_px, view_py, crop_px, crop_py) in enumerate(pairs):
        start = (round(crop_px * crop_scale), round(crop_py * crop_scale) + _BANNER_PX)
        end = (round(view_px * view_scale) + view_x, round(view_py * view_scale) + _BANNER_PX)
        color = _hue(index, len(pairs))
        cv2.line(picture, start, end, color, 1, cv2.LINE_AA)
        for point in (start, end):
            cv2.circle(picture, point, 3, color, 1, cv2.LINE_AA)
    _draw_banner(picture, match)
    return picture


def _draw_banner(picture: U8, match: Match) -> None:
    color = TIER_COLORS_BGR[match.tier]
    cv2.rectangle(picture, (0, 0), (8, _BANNER_PX - 1), color, cv2.FILLED)
    title = match.label or match.item_id
    figures = (
        f"{match.tier} {match.probability:.2f}  similarity {match.similarity:.2f}"
        f"  inliers {match.inliers}  agreement {match.agreement:.2f}"
    )
    cv2.putText(picture, title, (14, 19), _FONT, 0.5, _INK_BGR, 1, cv2.LINE_AA)
    cv2.putText(picture, figures, (14, 38), _FONT, 0.4, color, 1, cv2.LINE_AA)


def _fit_height(image_bgr: U8) -> tuple[U8, float]:
    height, width = image_bgr.shape[:2]
    scale = min(_PANEL_HEIGHT_PX / height, 2 * _PANEL_HEIGHT_PX / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    mode = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    fitted = np.full((_PANEL_HEIGHT_PX, size[0], 3), _PAPER_BGR, np.uint8)
    fitted[: size[1]] = cv2.resize(image_bgr, size, interpolation=mode)
    return fitted, scale


def _hue(index: int, count: int) -> tuple[int, int, int]:
    pixel = np.array([[[round(170 * index / max(count, 1)), 200, 255]]], np.uint8)
    blue, green, red = cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0]
    return int(blue), int(green), int(red)


def contact_sheet(pictures: Sequence[U8], columns: int = 3, gap_px: int = 10) -> U8:
    """Return the pictures on one sheet, row by row, each scaled down to the widest column.

    pictures: (h, w, 3) uint8 BGR each. An empty list gives an empty sheet of a few pixels.
    """
    cell_w = min(560, max((picture.shape[1] for picture in pictures), default=1))
    cells = [_fit_width(picture, cell_w) for picture in pictures]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.shape[0] for cell in row) for row in rows]
    height = sum(heights) + gap_px * (len(rows) + 1)
    width = columns * cell_w + gap_px * (columns + 1)
    sheet = np.full((height, width, 3), 12, np.uint8)
    y = gap_px
    for row, row_height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            x = gap_px + column * (cell_w + gap_px)
            sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
        y += row_height + gap_px
    return sheet


def _fit_width(image_bgr: U8, width_px: int) -> U8:
    height, width = image_bgr.shape[:2]
    if width <= width_px:
        return image_bgr
    size = width_px, max(1, round(height * width_px / width))
    return np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
