"""How alike a view and the crop are once the crop is laid over the view.

Counting inliers cannot tell packs of one brand apart: they share most of their print. Looking at
the aligned pictures can.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.geometry import jacobian_at, resized_homography, warp_picture
from pipeline.types import F32, F64, U8, ItemId, Keypoints

SIDE_PX = 128
WINDOW_PX = 19
MIN_COVERAGE = 0.05
SHARED_COUNTS = 0.02  # what print that near-twins share counts beside what is the view's own (1)
# Where a view and its near-twin differ, a crop of the view agrees with it by such a share of their
# difference more than with the near-twin; what is beyond or below that counts by another share.
USUAL_LEAD, LEAD_COUNTS = 0.3, 0.4
ONLY_THERE = 0.15  # by how much more than everywhere a crop of the view agrees in such places
EVERY_SECOND = (slice(None, None, 2), slice(None, None, 2))  # neighbours share their window
# Spread of colour (8-bit Lab) from which on a view has some, and much; and what share of it a crop
# must have to count as seen in colour. A camera at night gives none.
COLOURED, SEEN_IN_COLOUR = (4.0, 10.0), 0.25
# Local variance (8-bit Lab) below which a window counts as flat; chroma has less contrast.
FLAT_VARIANCE = np.array([30.0, 10.0, 10.0], np.float32)
CHANNEL_WEIGHT = np.array([1.0, 2.0, 2.0], np.float32)


@dataclass(frozen=True, slots=True)
class Laid:
    """A picture laid over a view. view_bgr, picture_bgr: (h, w, 3) uint8, of one size.

    inside: (h, w) bool, where the picture is.
    """

    view_bgr: U8
    picture_bgr: U8
    inside: np.ndarray


@dataclass(frozen=True, slots=True)
class Placed:
    """A picture and a view, and where the view lies in the picture.

    homography: view px -> picture px, for pictures of `picture_wh` and `view_wh`; the given
    pictures may have other sizes.
    """

    picture_bgr: U8
    view_bgr: U8
    homography: F64
    picture_wh: tuple[int, int]
    view_wh: tuple[int, int]

    def lay(self, size_wh: tuple[int, int]) -> Laid:
        """Return both at a size, the picture laid over the view."""
        shrinks = self.view_bgr.shape[1] >= size_wh[0] and self.view_bgr.shape[0] >= size_wh[1]
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        view = np.asarray(cv2.resize(self.view_bgr, size_wh, interpolation=method), np.uint8)
        to_picture = resized_homography(
            self.homography, self.view_wh, size_wh, self.picture_wh, size_of(self.picture_bgr)
        )
        picture, to_picture = shrunk_for(self.picture_bgr, to_picture, size_wh)
        return Laid(view, *warp_picture(picture, to_picture, size_wh))

    def lay_to_measure(self) -> Laid:
        """Return both at the size that agreement is measured at."""
        return self.lay(scaled_size(self.view_wh, SIDE_PX / max(self.view_wh)))


@dataclass(frozen=True, slots=True)
class Picture:
    """A crop or a view with its keypoints.

    image_bgr: (H, W, 3) uint8; may be smaller or larger than `keypoints.image_size_wh` says, as
    long as it shows the same: the keypoints' px are what checks speak in.
    """

    keypoints: Keypoints
    image_bgr: U8

    def place(self, view: Picture, homography: F64) -> Placed:
        """Return this picture with a view that lies in it. homography: view px -> its px."""
        sizes = self.keypoints.image_size_wh, view.keypoints.image_size_wh
        return Placed(self.image_bgr, view.image_bgr, homography, *sizes)


@dataclass(frozen=True, slots=True)
class NearTwin:
    """The picture of another item that is most like a view.

    item_id: of that item. laid: over the view, at the size that agreement is measured at.
    difference: (S, S) uint8, how much the view differs from it in each place, 255 where most.
    distance: 0..1, how much in the mean over what both show. apart: 0..1, what they lack of
    agreement in such places. The catalog holds them (catalog_tools/near_twins.py).
    """

    item_id: ItemId
    laid: Laid
    difference: U8
    distance: float
    apart: float


def measure_apart(laid: Laid, difference: U8) -> float:
    """Return 0..1: what a picture laid over a view lacks of agreement where the two differ."""
    where = laid.inside[EVERY_SECOND]
    counts = _counts(difference, laid)
    local, deviation = _compare(to_lab(laid.view_bgr), to_lab(laid.picture_bgr), laid.inside)
    return 1 - _join(local, deviation, counts, where)


class Agreement:
    """How alike a view and a crop are once the crop is laid over the view.

    It joins local correlations of lightness and colour, which light, exposure and colour casts
    leave alone. coverage: 0..1, how much of the view lies in the crop. colour_unseen: 0..1, how
    much it has colours that the crop, a grey one, can't show.
    """

    def __init__(self, placed: Placed) -> None:
        self._laid = placed.lay_to_measure()
        self.coverage = float(self._laid.inside.mean())
        self._counted = self._laid.inside[EVERY_SECOND]
        self._is_measured = self.coverage >= MIN_COVERAGE and bool(self._counted.any())
        self._everywhere = 0.0
        self.colour_unseen = 0.0
        if self._is_measured:
            self._crop_lab = to_lab(self._laid.picture_bgr)
            view_lab = to_lab(self._laid.view_bgr)
            self._local, self._deviation = _compare(view_lab, self._crop_lab, self._laid.inside)
            self.colour_unseen = _colour_unseen(view_lab, self._crop_lab, self._laid.inside)
            self._everywhere = join_local(
                self._local[self._counted], self._deviation[self._counted]
            )

    def everywhere(self) -> float:
        """Return 0..1, of the whole view."""
        return self._everywhere

    def beside(self, twin: NearTwin) -> float:
        """Return 0..1, mostly of the places where the view differs from its near-twin.

        There the view must agree with the crop and its near-twin must not: in a blurred crop of
        the view both agree less, in one of a third twin, which is not listed, both about as much.
        A crop that agrees there and hardly elsewhere shows something of which the view has a part:
        the maker's emblem, say, where the near-twin's stands on another ground.
        """
        if not self._is_measured:
            return 0.0
        return min(self._held_against(twin), self._everywhere + ONLY_THERE)

    def _held_against(self, twin: NearTwin) -> float:
        counts = _counts(twin.difference, self._laid)
        agreement = _join(self._local, self._deviation, counts, self._counted)
        inside = self._laid.inside & twin.laid.inside
        both = inside[EVERY_SECOND]
        if both.mean() < MIN_COVERAGE:
            return agreement
        twin_lab = to_lab(twin.laid.picture_bgr)
        of_twin = _join(*_compare(twin_lab, self._crop_lab, inside), counts, both)
        lead = _join(self._local, self._deviation, counts, both) - of_twin
        unusual = lead - USUAL_LEAD * twin.apart
        return float(np.clip(agreement + LEAD_COUNTS * unusual, 0.0, 1.0))


def _join(local: F32, deviation: F32, counts: F32, where: np.ndarray) -> float:
    return join_local(local[where], deviation[where], counts[where])


def _counts(difference: U8, laid: Laid) -> F32:
    """What every second place counts: by the square of its difference."""
    height, width = laid.inside.shape
    share = np.asarray(cv2.resize(difference, (width, height)), np.float32) / np.float32(255)
    return share[EVERY_SECOND] ** 2 + np.float32(SHARED_COUNTS)


def _compare(view_lab: F32, crop_lab: F32, inside: np.ndarray) -> tuple[F32, F32]:
    """Local correlation with the crop, and the view's local deviation, of every second place."""
    local = local_correlation(view_lab, crop_lab, inside)
    return local[EVERY_SECOND], local_deviation(view_lab)[EVERY_SECOND]


def _colour_unseen(view_lab: F32, crop_lab: F32, inside: np.ndarray) -> float:
    """0..1: the view has colours, and the crop none to compare with them."""
    of_view, of_crop = (
        float(np.sqrt(lab[inside][:, 1:].var(0).sum())) for lab in (view_lab, crop_lab)
    )
    least, enough = COLOURED
    is_coloured = (of_view - least) / (enough - least)
    is_grey = 1 - of_crop / max(1e-6, SEEN_IN_COLOUR * of_view)
    return float(np.clip(is_coloured, 0, 1) * np.clip(is_grey, 0, 1))


def join_local(local: F32, deviation: F32, counts: F32 | None = None) -> float:
    """One number 0..1 from the local correlations, weighted by what the view prints there.

    local, deviation: (N, 3) float32. counts: (N,) float32, a further weight of each place.
    Half is the mean over all channels, half the mean of the
    worst channel, which a twin of another colour fails. Where the view is blank everything
    agrees, so blank places hardly count: on shop photos of near-twins this lifts the share of
    right answers among five proposals from 0.73 to 0.82.
    """
    if counts is None:
        counts = np.ones(len(local), np.float32)
    everywhere = np.average(local, weights=(deviation * CHANNEL_WEIGHT + 0.5) * counts[:, None])
    worst = np.average(local.min(1), weights=(deviation.max(1) + 1.0) * counts)
    return float(np.clip((everywhere + worst) / 2, 0.0, 1.0))


def local_correlation(first: F32, second: F32, inside: np.ndarray) -> F32:
    """(H, W, C) float32, about -1..1: correlation within the window round each pixel.

    first, second: (H, W, C) float32. inside: (H, W) bool, the pixels that count. Windows flat on
    both sides correlate: nothing speaks against them.
    """
    mask = inside.astype(np.float32)[..., None]
    weight = np.maximum(_mean(np.repeat(mask, first.shape[2], 2)), 1e-6)
    mean0, mean1 = _mean(first * mask) / weight, _mean(second * mask) / weight
    variance0 = np.maximum(_mean(first * first * mask) / weight - mean0**2, 0)
    variance1 = np.maximum(_mean(second * second * mask) / weight - mean1**2, 0)
    covariance = _mean(first * second * mask) / weight - mean0 * mean1
    flat = FLAT_VARIANCE[: first.shape[2]]
    return np.asarray(
        (covariance + flat) / (np.sqrt(variance0 * variance1) + flat), np.float32
    ).clip(-1, 1)


def local_deviation(channels: F32) -> F32:
    """(H, W, C) float32: standard deviation within the window round each pixel."""
    return np.asarray(
        np.sqrt(np.maximum(_mean(channels * channels) - _mean(channels) ** 2, 0)), np.float32
    )


def to_lab(image_bgr: U8) -> F32:
    """(H, W, 3) float32 lightness and two colour axes, 0..255."""
    return np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2LAB), np.float32)


def size_of(image: U8) -> tuple[int, int]:
    """Width and height px."""
    return int(image.shape[1]), int(image.shape[0])


def scaled_size(size_wh: tuple[int, int], factor: float) -> tuple[int, int]:
    """Width and height px of a picture resized by a factor, at least 4 px a side."""
    return max(4, round(size_wh[0] * factor)), max(4, round(size_wh[1] * factor))


def _mean(channels: F32) -> F32:
    window = (WINDOW_PX, WINDOW_PX)
    return np.asarray(cv2.blur(channels, window, borderType=cv2.BORDER_REFLECT), np.float32)


def shrunk_for(crop: U8, to_crop: F64, size_wh: tuple[int, int]) -> tuple[U8, F64]:
    """The crop at about the target's resolution: warping by itself would skip pixels."""
    centre = np.array(size_wh, np.float64) / 2
    enlargement = float(np.sqrt(abs(np.linalg.det(jacobian_at(to_crop, centre)))))
    if enlargement < 1.3:
        return crop, to_crop
    before = size_of(crop)
    after = scaled_size(before, 1 / enlargement)
    small = np.asarray(cv2.resize(crop, after, interpolation=cv2.INTER_AREA), np.uint8)
    return small, resized_homography(to_crop, size_wh, size_wh, before, after)
