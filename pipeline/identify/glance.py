"""Whether a track still shows what it is taken for: its embedding alone, a tenth of a look."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.embed import Embedder
from pipeline.identify.tuning import GLANCE_SHARE
from pipeline.identify.types import Look
from pipeline.timing import StageTimer
from pipeline.types import Proposal


def glance(looks: Sequence[Look], embedder: Embedder, timer: StageTimer) -> list[bool]:
    """Return for each look whether its crop still resembles what is believed before all else.

    Where it does not, or a near-twin is listed, which an embedding can't tell, a whole look must.
    """
    with timer.stage("embed"):
        embeddings = embedder.embed([look.crop.image_bgr for look in looks])
    with timer.stage("search"):
        nearest = [
            look.shelf.searcher.search(embeddings[i : i + 1], k=1)[0]
            for i, look in enumerate(looks)
        ]
    return [_bears_out(look, found) for look, found in zip(looks, nearest, strict=True)]


def may_glance(look: Look) -> bool:
    """Whether an embedding can tell what is believed from what the catalog has besides."""
    return look.believed is not None and not look.shelf.has_near_twin(look.believed.view_index)


def _bears_out(look: Look, nearest: Sequence[Proposal]) -> bool:
    if look.believed is None or not nearest:
        return False
    is_same = nearest[0].item_id == look.believed.item_id
    return is_same and nearest[0].similarity >= GLANCE_SHARE * look.believed.similarity
