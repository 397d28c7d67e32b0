"""The query worker's networks without networks, and a way to hold its work up."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.color import frame_from_bgr
from pipeline.detect import Detector
from pipeline.options import MatcherOptions
from streamer.query.tools import Tools
from tests.fake_networks import BoxesEngine, FakeEmbedder, make_networks
from tests.pipeline.matcher_rig import make_matcher

HOLD = "MAGPIE_TEST_HOLD"  # a file: while it is there, no picture is described


def load_tools(options: MatcherOptions) -> Tools:
    """The real matcher on fake networks; descriptions wait while the file of HOLD is there."""
    embed = FakeEmbedder()

    def embed_when_let(images_bgr: Sequence[np.ndarray]) -> np.ndarray:
        while Path(os.environ.get(HOLD, "/nowhere")).exists():
            time.sleep(0.01)
        return embed(images_bgr)

    detector = Detector(BoxesEngine(), options.detect)
    return Tools(
        make_matcher({}),
        replace(make_networks(embed_when_let), n_threads=1),  # type: ignore[arg-type]
        lambda image: detector.detect([frame_from_bgr(image)])[0],
    )


def load_none(options: MatcherOptions) -> Tools:
    raise RuntimeError("no networks in this test")
