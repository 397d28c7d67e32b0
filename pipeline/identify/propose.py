"""What a crop may show: one fused list of items for each look.

Its embedding proposes what it is near, its keypoints vote, and a panel is like plain pictures.
Regions of one picture that show its middle share what the embeddings of all of them propose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.embed import Embedder
from pipeline.identify.agreement import Picture
from pipeline.identify.shelf import Shelf
from pipeline.identify.tuning import Budget, Region
from pipeline.identify.types import Look, Proposed
from pipeline.timing import StageTimer
from pipeline.types import F32, U8, ItemId, Proposal

MIDDLE_REGIONS = (Region.WHOLE, Region.MIDDLE, Region.INNER)


def propose(
    looks: Sequence[Look],
    embedder: Embedder,
    prepare: Callable[[U8], Picture],
    budget: Budget,
    timer: StageTimer,
) -> list[Proposed]:
    """Return what is proposed for each look at a region that the budget has.

    prepare: finds a crop's keypoints. Crops of all looks share the network's batches.
    """
    with timer.stage("embed"):
        embeddings = embedder.embed([look.crop.image_bgr for look in looks])
    with timer.stage("search"):
        embedded = _search(looks, embeddings)
        pictures = [
            prepare(look.crop.image_bgr) if look.region in budget else None for look in looks
        ]
        return [
            _propose(look, picture, embeddings[i], embedded[i])
            for i, (look, picture) in enumerate(zip(looks, pictures, strict=True))
            if picture is not None
        ]


def _search(looks: Sequence[Look], embeddings: F32) -> list[list[Proposal]]:
    """Return what each look's embedding is near; for a picture's middle, what any region's is."""
    found: list[list[Proposal]] = [[] for _ in looks]
    for shelf in {id(look.shelf): look.shelf for look in looks}.values():
        rows = [i for i, look in enumerate(looks) if look.shelf is shelf]
        for row, shortlist in zip(rows, shelf.searcher.search(embeddings[rows]), strict=True):
            found[row] = shortlist
    for picture in {look.picture for look in looks if look.region is not Region.TRACK}:
        rows = [i for i, look in enumerate(looks) if look.picture == picture]
        middle = [found[i] for i in rows if looks[i].region in MIDDLE_REGIONS]
        others = [found[i] for i in rows if looks[i].region not in MIDDLE_REGIONS]
        merged = merge_shortlists(middle, others, looks[rows[0]].shelf.k)
        for i in rows:
            if looks[i].region in (Region.WHOLE, Region.MIDDLE):
                found[i] = merged
    return found


def _propose(
    look: Look, picture: Picture, embedding: F32, embedded: Sequence[Proposal]
) -> Proposed:
    shelf = look.shelf
    ranked = shelf.join_votes(embedded, embedding, picture.keypoints)
    ranked = shelf.with_same_pictures(ranked, embedding)
    like = _like_panel(look, shelf, ranked, embedding)
    item_ids = {proposal.item_id for proposal in like}
    ranked = [*like, *(p for p in ranked if p.item_id not in item_ids)]
    return Proposed(look, picture, embedding, tuple(embedded), tuple(ranked), len(like))


def _like_panel(
    look: Look, shelf: Shelf, ranked: Sequence[Proposal], embedding: F32
) -> list[Proposal]:
    if look.panel is None:
        return []
    return shelf.proposals_of(look.panel.view_indices, ranked, embedding)


def merge_shortlists(
    middle: Sequence[Sequence[Proposal]], others: Sequence[Sequence[Proposal]], k: int
) -> list[Proposal]:
    """Return k items that a picture resembles, likeliest first, with their best similarity.

    middle: of the whole and the cuts of its middle; others: of other regions. Half are those that
    the middle resembles most in the mean, the others those that any region does.
    """
    total: dict[ItemId, float] = {}
    for shortlist in (shortlist for shortlist in middle if shortlist):
        lowest = shortlist[-1].similarity  # at most what an item has that is not in the list
        for proposal in shortlist:
            gained = proposal.similarity - lowest
            total[proposal.item_id] = total.get(proposal.item_id, 0.0) + gained
    best: dict[ItemId, Proposal] = {}
    for proposal in (p for shortlist in (*middle, *others) for p in shortlist):
        known = best.get(proposal.item_id)
        if known is None or proposal.similarity > known.similarity:
            best[proposal.item_id] = proposal
    by_mean = sorted(total, key=lambda item_id: -total[item_id])[: (k + 1) // 2]
    by_best = sorted(best, key=lambda item_id: -best[item_id].similarity)
    return [best[item_id] for item_id in dict.fromkeys([*by_mean, *by_best])][:k]
