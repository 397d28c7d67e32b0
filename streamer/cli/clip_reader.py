"""What `magpie catalog` reads clips with: the decoder of cameras, and the detector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pipeline.options import MatcherOptions

if TYPE_CHECKING:
    from catalog_tools.clips import ClipReader
    from catalog_tools.images import Source


def load_clip_reader(options: MatcherOptions, sources: Iterable[Source]) -> ClipReader | None:
    """Return what reads the clips among the sources; None, and nothing is loaded, without any.

    Raises ConfigError, WeightsError or EngineError as `load_detector`.
    """
    from catalog_tools.clips import ClipReader
    from catalog_tools.picture_formats import is_clip

    if not any(is_clip(source.path) for source in sources):
        return None
    from pipeline.detect import load_detector
    from pipeline.weights import find_weights, sha256_of
    from streamer.sources.clip_file import open_clip

    detector = load_detector(options.engine, options.detect)
    sha256 = sha256_of(find_weights("detector", options.detect.weights))
    return ClipReader(open_clip, detector.detect, sha256)
