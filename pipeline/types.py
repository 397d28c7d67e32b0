"""The nouns of the pipeline: what one stage hands to the next.

Pixel convention, once for the whole project: x to the right, y down, in pixels; the centre of the
first pixel is (0.5, 0.5), so a picture of width w spans 0..w and scaling is a plain product.
Boxes are `xyxy`. Angles are degrees, clockwise as seen on the screen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]

ItemId = NewType("ItemId", str)


class ColorMatrix(StrEnum):
    """Which luma weights the planes were made with (ITU-R BT.601 or BT.709)."""

    BT601 = "bt601"
    BT709 = "bt709"


class ColorRange(StrEnum):
    """Whether luma spans 16..235 (limited) or 0..255 (full)."""

    LIMITED = "limited"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture of one camera: 8-bit 4:2:0 planes, often views into shared memory.

    y:    (H, W) uint8 luma; rows may be strided.
    u, v: ((H+1)//2, (W+1)//2) uint8 chroma.
    camera: its configured name. incarnation: new at each start of the camera process.
    number: counts the frames that the camera process decoded since its start, from 0.
    captured_ns: when the access unit left the demuxer, time.monotonic_ns clock (all processes).
    wall_ns: the same moment as Unix time. clock: "rtcp", "arrival" or "file".
    decode_ms: what decoding and the write into the ring took.
    slot: where the frame lies in its ring, and the ring's generation tag (0, 0 outside a ring).
    media_ns: the file's own presentation time from its start; -1 for a live stream.
    sharper: the same moment as a larger picture, of the camera's main stream, where crops are cut
    from; None: they are cut from this one.
    """

    camera: str
    number: int
    captured_ns: int
    wall_ns: int
    y: U8
    u: U8
    v: U8
    matrix: ColorMatrix = ColorMatrix.BT601
    range: ColorRange = ColorRange.LIMITED
    incarnation: int = 0
    clock: str = "arrival"
    decode_ms: float = 0.0
    slot: int = 0
    generation: int = 0
    media_ns: int = -1
    sharper: Frame | None = None

    @property
    def size_wh(self) -> tuple[int, int]:
        return int(self.y.shape[1]), int(self.y.shape[0])

    @property
    def detail_xy(self) -> F32:
        """Return (2,) float32: px of the picture that crops are cut from, in one px of this one.

        Both axes, as the two streams of a camera may differ in their proportions.
        """
        if self.sharper is None:
            return np.ones(2, np.float32)
        return np.divide(self.sharper.size_wh, self.size_wh, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Detections:
    """What the detector found in one frame; N may be 0.

    xyxy: (N, 4) float32 px of the frame. score: (N,) float32. class_id: (N,) int32.
    """

    xyxy: F32
    score: F32
    class_id: I32

    def __post_init__(self) -> None:
        if self.xyxy.ndim != 2 or self.xyxy.shape[1] != 4 or self.xyxy.dtype != np.float32:
            raise ValueError(
                f"xyxy must be (N, 4) float32 px, got {self.xyxy.shape} {self.xyxy.dtype}"
            )
        if not len(self.xyxy) == len(self.score) == len(self.class_id):
            raise ValueError("xyxy, score and class_id must have one row a detection")

    def __len__(self) -> int:
        return len(self.xyxy)

    @classmethod
    def empty(cls) -> Detections:
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))


@dataclass(frozen=True, slots=True)
class Track:
    """One object followed through one camera's frames, as it stands in the current frame."""

    camera: str
    track_id: int
    xyxy: F32  # (4,) px of the frame
    score: float
    class_id: int
    age_frames: int  # frames since its first detection
    is_whole_frame: bool = False  # stands for the whole picture or a fixed region, not for a box


@dataclass(frozen=True, slots=True)
class Crop:
    """A region cut from a frame, in colour.

    image_bgr: (h, w, 3) uint8, its own memory. xyxy: (4,) float32 px, where it lies in the frame.
    """

    track: Track
    xyxy: F32
    image_bgr: U8

    def to_frame(self, points: F32) -> F32:
        """Return (N, 2) points of the crop's px in px of the frame."""
        height, width = self.image_bgr.shape[:2]
        scale = (self.xyxy[2:] - self.xyxy[:2]) / np.array([width, height], np.float32)
        return np.asarray(points * scale + self.xyxy[:2], np.float32)

    def from_frame(self, points: F32) -> F32:
        """Return (N, 2) points of the frame's px in px of the crop."""
        height, width = self.image_bgr.shape[:2]
        scale = np.array([width, height], np.float32) / (self.xyxy[2:] - self.xyxy[:2])
        return np.asarray((points - self.xyxy[:2]) * scale, np.float32)


@dataclass(frozen=True, slots=True)
class Proposal:
    """An item of the catalog that looks like the crop: its best view and cosine similarity.

    vote_lead: -1..1, by how much its keypoint votes lead the best other item's, or lag behind, as
    a share of the most votes; 0 where nothing voted.
    """

    item_id: ItemId
    view_index: int  # row of the catalog's views
    similarity: float
    vote_lead: float = 0.0


@dataclass(frozen=True, slots=True)
class Keypoints:
    """Local features of one picture, the strongest first.

    xy_scale_ori: (N, 4) float32: x, y px of that picture, scale px, orientation radian.
    descriptors:  (N, D) float32, unit length; D is 128 for RootSIFT.
    image_size_wh: the picture's size.
    """

    xy_scale_ori: F32
    descriptors: F32
    image_size_wh: tuple[int, int]

    def __len__(self) -> int:
        return len(self.xy_scale_ori)

    def padded(self, count: int) -> tuple[F32, F32]:
        """The strongest `count` as (count, 4) and (count, D); missing rows are zero.

        The correspondence network leaves rows of scale zero out.
        """
        geometry = np.zeros((count, 4), np.float32)
        descriptors = np.zeros((count, self.descriptors.shape[1]), np.float32)
        n = min(count, len(self))
        geometry[:n] = self.xy_scale_ori[:n]
        descriptors[:n] = self.descriptors[:n]
        return geometry, descriptors


@dataclass(frozen=True, slots=True)
class Verification:
    """How well a crop and a view agree in their details.

    homography: (3, 3) float64, view px -> crop px, or None when no sane one was found.
    outline: (4, 2) float32, the view's corners in crop px, or None.
    correspondences_xyxy: (M, 4) float32, x y in the view and x y in the crop, inliers only.
    agreement: 0..1, local similarity of the aligned pictures; 0 without a homography.
    coverage: 0..1, share of the view that lies inside the crop.
    sameness: the comparer's log-odds that both show the same print; None where it was not asked.
    near_twin_item: the listed near-twin that agreement was held against, or None.
    near_twin_distance: 0..1, how far its picture is from the view, or None. A judgement has neither
    where the near-twin did not compete (weigh.py).
    colour_unseen: 0..1, how much the view has colours that the crop, a grey one, can't show.
    """

    inliers: int
    correspondences: int
    homography: F64 | None
    outline: F32 | None
    angle_deg: float
    agreement: float
    coverage: float
    correspondences_xyxy: F32 = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    sameness: float | None = None
    near_twin_item: ItemId | None = None
    near_twin_distance: float | None = None
    colour_unseen: float = 0.0


class Tier(StrEnum):
    """How sure a match is; below `similar` nothing is published."""

    EXACT = "exact"
    VERY_SIMILAR = "very_similar"
    SIMILAR = "similar"

    @property
    def rank(self) -> int:
        """2 for exact, 1 for very_similar, 0 for similar."""
        return ("similar", "very_similar", "exact").index(self.value)


class Phase(StrEnum):
    APPEARED = "appeared"
    UPDATED = "updated"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Alternative:
    item_id: ItemId
    probability: float


@dataclass(frozen=True, slots=True)
class Match:
    """A crop identified as an item, with the evidence for it.

    box_xyxy: (4,) float32 px of the frame. outline: (4, 2) float32 px of the frame, or None.
    margin: similarity minus the runner-up item's.
    """

    item_id: ItemId
    label: str
    view_index: int
    tier: Tier
    probability: float
    similarity: float
    margin: float
    inliers: int
    agreement: float
    box_xyxy: F32
    outline: F32 | None
    angle_deg: float
    alternatives: tuple[Alternative, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """The pictures behind a match, kept only when the user asked for them.

    crop_bgr: (h, w, 3) uint8. correspondences_xyxy: as in Verification.
    """

    crop_bgr: U8
    view_index: int
    correspondences_xyxy: F32


@dataclass(frozen=True, slots=True)
class Sighting:
    """One step in the life of a sighting: an item on a track of a camera appears, changes, leaves.

    reason: why it left ("gone"), else None. stage_ms: what each stage took for this frame.
    """

    sighting_id: str
    phase: Phase
    camera: str
    track_id: int
    match: Match
    frame_number: int
    frame_size_wh: tuple[int, int]
    captured_ns: int
    wall_ns: int
    clock: str
    catalog: str
    catalog_generation: int
    reason: str | None = None
    stage_ms: dict[str, float] = field(default_factory=dict)
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """One of the items that a picture as a whole resembles most, whatever its tier.

    view_index: the item's view that it was held against; -1: not told.
    """

    item_id: ItemId
    label: str
    probability: float
    similarity: float
    view_index: int = -1
    inliers: int = 0


@dataclass(frozen=True, slots=True)
class PictureResult:
    """What one picture shows: every instance that would be published, and the likeliest items."""

    matches: tuple[Match, ...]
    ranked: tuple[Ranked, ...]
