"""How often search alone finds a photo's item, before anything is verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.color import frame_from_bgr
from pipeline.crop import Cropper
from pipeline.detect import Detector, load_detector
from pipeline.embed import Embedder, load_embedder
from pipeline.identify.check import Verifier, load_verifier
from pipeline.identify.shelf import Shelf
from pipeline.options import MatcherOptions
from pipeline.pictures import merge_shortlists, picture_tracks, search_side_px
from pipeline.types import U8


@dataclass(frozen=True, slots=True)
class Stages:
    """The stages before a verdict, each by itself. options: what they were loaded with."""

    options: MatcherOptions
    detector: Detector
    embedder: Embedder
    verifier: Verifier


def load_stages(options: MatcherOptions) -> Stages:
    """Return the stages that the options name; WeightsError or EngineError."""
    return Stages(
        options,
        load_detector(options.engine, options.detect),
        load_embedder(options.engine, options.embed),
        load_verifier(options.engine, options.verify),
    )


@dataclass(frozen=True, slots=True)
class Shortlists:
    """The items that a photo resembles, nearest first.

    embedded: by the embedding of any of its regions. joined: with the votes of its keypoints, as it
    goes to verification.
    """

    embedded: tuple[str, ...]
    joined: tuple[str, ...]


def find_shortlists(image_bgr: U8, shelf: Shelf, stages: Stages) -> Shortlists:
    """Return what search finds for a photo: (h, w, 3) uint8 BGR."""
    options = stages.options
    frame = frame_from_bgr(image_bgr)
    side_px = search_side_px(frame.size_wh, options.detect.input_side_px)
    found = stages.detector.detect([frame], side_px)[0]
    crops = Cropper(options.crop).crop(frame, picture_tracks(found, frame.size_wh))
    embeddings = stages.embedder.embed([crop.image_bgr for crop in crops])
    embedded = merge_shortlists(shelf.searcher.search(embeddings), options.search.k)
    keypoints = stages.verifier.prepare(crops[0].image_bgr).keypoints
    joined = shelf.join_votes(embedded, embeddings[0], keypoints)
    return Shortlists(
        tuple(candidate.item_id for candidate in embedded),
        tuple(candidate.item_id for candidate in joined),
    )


def score_search(item_ids: Sequence[str], found: Sequence[Shortlists], k: int) -> dict[str, Any]:
    """Return the recall of the embedder alone, at 1 and k, and of the shortlist.

    item_ids: the true item of each photo. k: how long shortlists are.
    """
    n = max(1, len(item_ids))
    pairs = list(zip(item_ids, found, strict=True))
    return {
        "n_photos": len(item_ids),
        "k": k,
        "embedder_recall_1": round(sum(i in f.embedded[:1] for i, f in pairs) / n, 4),
        "embedder_recall_k": round(sum(i in f.embedded for i, f in pairs) / n, 4),
        "shortlist_recall_k": round(sum(i in f.joined for i, f in pairs) / n, 4),
    }
