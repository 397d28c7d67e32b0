"""How often search alone finds a photo's item, before anything is verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Shortlists:
    """The items that a photo resembles, nearest first.

    embedded: by the embedding of any of its regions. joined: with the votes of its keypoints, as it
    goes to verification.
    """

    embedded: tuple[str, ...]
    joined: tuple[str, ...]


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
