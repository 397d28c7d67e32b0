"""What describes a catalog's pictures: the embedder, and keypoints."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from catalog_tools.describe import Embed
from pipeline.embed import load_embedder
from pipeline.keypoints import Extractor
from pipeline.learned_keypoints import extractor_maker
from pipeline.options import EmbedOptions, EngineOptions, VerifyOptions


@dataclass(frozen=True, slots=True)
class Networks:
    """What describes pictures: the embedder with its weights' hash and name, and keypoints.

    n_threads: how many pictures are read and compared at once; 0: one a core.
    """

    embed: Embed
    embedder_sha256: str
    embedder: str
    make_extractor: Callable[[], Extractor]
    n_threads: int = 0

    @property
    def threads(self) -> int:
        """How many pictures are read and compared at once."""
        return self.n_threads or os.cpu_count() or 1


def load_networks(
    engine: EngineOptions, embed: EmbedOptions, verify: VerifyOptions | None = None
) -> Networks:
    """Return what the options name, ready to run; WeightsError or EngineError when it is not."""
    embedder = load_embedder(engine, embed)
    return Networks(
        embedder.embed,
        embedder.weights_sha256,
        embedder.name,
        extractor_maker(engine, verify or VerifyOptions()),
    )
