"""What a matcher process is told; apart from it, so that the parent loads nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.options import MatcherOptions, Regions

DEFAULT_CREATOR = "pipeline.matcher:create_matcher"

WhyGone = Literal["camera_paused", "camera_removed", "camera_changed"]


@dataclass(frozen=True, slots=True)
class CameraFeed:
    """A camera that this matcher looks after, what it searches, and its fixed regions if any.

    detect_fps: frames a second that are searched for objects; 0: all. motion_gate: of them, those
    in which nothing moves are left out, for look_again_s at most. has_main: these frames are of a
    small stream, and crops are cut from the main one beside it. life: grows each time that the
    camera is begun with in a run, so that one that went and came back is not taken for the old one.
    """

    name: str
    catalog: Path
    regions: Regions = ()
    detect_fps: float = 0
    motion_gate: bool = False
    look_again_s: float = 2.0
    has_main: bool = False
    life: int = 0


@dataclass(frozen=True, slots=True)
class MatcherArgs:
    """What a matcher process needs to start; told again, it learns of other feeds.

    creator: "module:function" that makes the matcher. gone: why feeds that it may still have are
    no longer among them, by camera.
    """

    index: int
    feeds: tuple[CameraFeed, ...]
    options: MatcherOptions
    evidence: Path | None = None
    creator: str = DEFAULT_CREATOR
    gone: Mapping[str, WhyGone] = field(default_factory=dict)


def main_ring(camera: str) -> str:
    """Return the name of the ring of a camera's main stream; no camera can be called so."""
    return f"{camera}+main"


def ended_mark(run_dir: Path, ring: str) -> Path:
    """Return the file that tells the matcher that no more pictures come into a ring."""
    return run_dir / f"{ring}.ended"
