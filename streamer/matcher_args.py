"""What a matcher process is told; apart from it, so that the parent loads nothing heavy."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.options import MatcherOptions, Regions

DEFAULT_CREATOR = "pipeline.matcher:create_matcher"


@dataclass(frozen=True, slots=True)
class CameraFeed:
    """A camera that this matcher looks after, what it searches, and its fixed regions if any.

    detect_fps: frames a second that are searched for objects; 0: all. motion_gate: of them, those
    in which nothing moves are left out, for look_again_s at most.
    """

    name: str
    catalog: Path
    regions: Regions = ()
    detect_fps: float = 0
    motion_gate: bool = False
    look_again_s: float = 2.0


@dataclass(frozen=True, slots=True)
class MatcherArgs:
    """What a matcher process needs to start. creator: "module:function" that makes the matcher."""

    index: int
    feeds: tuple[CameraFeed, ...]
    options: MatcherOptions
    evidence: Path | None = None
    creator: str = DEFAULT_CREATOR


def ended_mark(run_dir: Path, camera: str) -> Path:
    """Return the file that tells the matcher that a camera's source came to its end."""
    return run_dir / f"{camera}.ended"
