"""What a user can set about the pipeline. Light: reading a configuration loads nothing heavy."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Regions = tuple[tuple[float, float, float, float], ...]


class Options(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EngineOptions(Options):
    """Where networks run."""

    engine: Literal["auto", "openvino", "torch"] = Field(
        "auto", description="auto: openvino on a CPU, torch on a GPU"
    )
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N; asked and absent: error")
    threads: int = Field(
        0,
        ge=0,
        description="CPU threads of each network; 0: what is worth it, measured once",
    )
    calls_at_once: int = Field(
        0,
        ge=0,
        le=16,
        description="looks that may be identified at once on a CPU; 0: two where all cameras are "
        "recordings that are not played in real time, else one",
    )
    precision: Literal["f32", "auto"] = Field(
        "auto", description="auto: bf16 where the CPU has it in hardware, else f32"
    )


class DetectOptions(Options):
    """Finding regions that may hold an item."""

    weights: Path | None = Field(None, description="detector weights; none: the shipped ones")
    classes: tuple[str, ...] = Field(
        (), description="names of the detector's classes to keep; none: all"
    )
    input_side_px: int = Field(640, ge=128, le=1920, description="longer side of the network input")
    min_score: float = Field(
        0.1, ge=0, le=1, description="below track.min_score a box goes on with a track, starts none"
    )
    max_boxes: int = Field(50, ge=1, le=300)
    whole_frame: bool = Field(
        True, description="the whole frame stands as a region when an item fills it"
    )
    panels: bool = Field(
        True, description="plain pictures of the catalog are also found by the corners of a border"
    )
    regions: Regions = Field(
        (), description="fixed regions, x0 y0 x1 y1 as shares of the frame (0..1)"
    )


class TrackOptions(Options):
    """Following boxes through frames."""

    min_score: float = Field(0.25, ge=0, le=1, description="score that starts a track")
    keep_s: float = Field(1.0, gt=0, description="a track not seen for so long is gone")


class CropOptions(Options):
    """Cutting a region out of a frame."""

    pad: float = Field(0.08, ge=0, le=1, description="margin a side, share of the box side")
    min_side_px: int = Field(
        24, ge=8, description="smaller boxes are not identified; of the picture that is cut from"
    )
    max_side_px: int = Field(512, ge=64, description="larger crops are scaled down")


class EmbedOptions(Options):
    """Global description of a crop."""

    weights: Path | None = Field(None, description="embedder weights; none: the shipped ones")
    batch: int = Field(0, ge=0, description="crops a network call; 0: 4 on a CPU, 64 on a GPU")


class SearchOptions(Options):
    """Shortlist from the catalog."""

    k: int = Field(10, ge=1, le=100, description="items that go to verification")
    exact_up_to_views: int = Field(30_000, ge=1, description="above: an approximate index")
    threads: int = Field(
        1, ge=1, description="of a search; more wait for each other where cores are busy"
    )


Method = Literal[
    "rootsift+lightglue",
    "rootsift",
    "aliked+lightglue",
    "aliked",
    "xfeat+lighterglue",
    "xfeat",
    "orb_ssim",
]


class VerifyOptions(Options):
    """Checking a proposal's details."""

    method: Method = Field(
        "rootsift+lightglue",
        description="a whole way of matching: its keypoints, to which a catalog is bound, and the "
        "network that pairs them, else the ratio test; orb_ssim: what older systems do, to compare",
    )
    weights: Path | None = Field(
        None, description="LightGlue weights for these keypoints; none: the default ones"
    )
    keypoint_weights: Path | None = Field(
        None, description="of aliked or xfeat; none: aliked-n16 or xfeat, to be pulled"
    )
    max_keypoints: int = Field(256, ge=32, le=2048)
    keypoint_side_px: int = Field(320, ge=64, le=2048, description="side at which they are found")
    min_assignment: float = Field(0.1, ge=0, le=1, description="LightGlue probability of a pair")
    inlier_px: float = Field(4.0, gt=0, description="MAGSAC threshold, px at the side above")
    comparer: bool = Field(
        True, description="a network looks at aligned pictures for what a near-twin has otherwise"
    )
    comparer_weights: Path | None = Field(None, description="of the comparer; none: the shipped")
    batch: int = Field(0, ge=0, description="pairs a network call; 0: 1 on a CPU, 32 on a GPU")

    @property
    def keypoints(self) -> str:
        """rootsift, aliked or xfeat."""
        return "rootsift" if self.method == "orb_ssim" else self.method.partition("+")[0]

    @property
    def is_paired_by_network(self) -> bool:
        """Whether a network pairs the keypoints."""
        return "+" in self.method


class DecideOptions(Options):
    """Joining the evidence, over a track's frames, into tiers."""

    exact: float | None = Field(
        None,
        ge=0.5,
        le=1,
        description="probability of the item for tier exact; none: as calibrated",
    )
    very_similar: float | None = Field(
        None, ge=0, le=1, description="probability of the design for it; none: as calibrated"
    )
    similar: float | None = Field(
        None, ge=0, le=1, description="probability of either for it; none: as calibrated"
    )
    publish: Literal["exact", "very_similar", "similar"] = Field(
        "similar", description="the lowest tier that is published"
    )
    update_every_s: float = Field(2.0, ge=0, description="interval of `updated`; 0: only changes")
    leave_after_s: float = Field(1.0, gt=0, description="item not seen for so long has left")


class MatcherOptions(Options):
    """The whole pipeline."""

    engine: EngineOptions = EngineOptions()
    detect: DetectOptions = DetectOptions()
    track: TrackOptions = TrackOptions()
    crop: CropOptions = CropOptions()
    embed: EmbedOptions = EmbedOptions()
    search: SearchOptions = SearchOptions()
    verify: VerifyOptions = VerifyOptions()
    decide: DecideOptions = DecideOptions()
    lockstep: bool = Field(
        False,
        description="detection waits for identification: slow, and the same events every time",
    )
    keep_evidence: bool = Field(False, description="sightings carry their crop (evidence pictures)")
