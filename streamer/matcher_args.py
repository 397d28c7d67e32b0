"""What a matcher process is told; apart from it, so that the parent loads nothing heavy."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.options import MatcherOptions, Regions

DEFAULT_CREATOR = "pipeline.matcher:create_matcher"


@dataclass(frozen=True, slots=True)
class CameraFeed:
    """A camera that this matcher looks after, what it searches, and its fixed regions if any.

    detect_fps: frames a second that are searched for objects; 0: all. motion_gate: of them, those
    in which nothing moves are left out, for look_again_s at most. has_main: these frames are of a
    small stream, and crops are cut from the main one beside it.
    """

    name: str
    catalog: Path
    regions: Regions = ()
    detect_fps: float = 0
    motion_gate: bool = False
    look_again_s: float = 2.0
    has_main: bool = False


@dataclass(frozen=True, slots=True)
class MatcherArgs:
    """What a matcher process needs to start. creator: "module:function" that makes the matcher."""

    index: int
    feeds: tuple[CameraFeed, ...]
    options: MatcherOptions
    evidence: Path | None = None
    creator: str = DEFAULT_CREATOR


def main_ring(camera: str) -> str:
    """Return the name of the ring of a camera's main stream; no camera can be called so."""
    return f"{camera}+main"


def ended_mark(run_dir: Path, ring: str) -> Path:
    """Return the file that tells the matcher that no more pictures come into a ring."""
    return run_dir / f"{ring}.ended"
