"""The networks of the query worker: the live path's code, on one thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from catalog_tools.networks import Networks
from pipeline.options import MatcherOptions
from pipeline.types import U8, Detections


@dataclass(frozen=True, slots=True)
class Tools:
    """What jobs need networks for. matcher: names what pictures show (pipeline.matcher.Matcher).

    networks: describe a catalog's pictures. detect: finds things in (h, w, 3) uint8 BGR.
    """

    matcher: Any
    networks: Networks
    detect: Callable[[U8], Detections]


def load_tools(options: MatcherOptions) -> Tools:
    """Return the networks that the options name, ready to run.

    Raises WeightsError or EngineError.
    """
    import cv2

    from pipeline.color import frame_from_bgr
    from pipeline.detect import load_detector
    from pipeline.identify import load_stages
    from pipeline.learned_keypoints import extractor_maker
    from pipeline.matcher import Matcher

    cv2.setNumThreads(1)
    engine = options.engine.model_copy(update={"threads": 1, "calls_at_once": 1})
    stages = load_stages(engine, options)
    detector = load_detector(engine, options.detect)
    matcher = Matcher(options.model_copy(update={"engine": engine}), detector, stages)
    matcher.warm_up()
    embedder = stages.embedder
    networks = Networks(
        embedder.embed,
        embedder.weights_sha256,
        embedder.name,
        extractor_maker(engine, options.verify),
        n_threads=1,
    )
    return Tools(matcher, networks, lambda image: detector.detect([frame_from_bgr(image)])[0])
