"""From evidence to a judgement: a probability for each hypothesis about what a look shows.

The hypotheses: each proposal; a near-twin, which is not listed, of the likeliest of them; unknown.
A softmax over the designs and unknown says which design it is, and of the design a share is the
item's own. Pure arithmetic over a record of named features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.boxes import area, bounds, intersection_matrix
from pipeline.identify.calibration import Calibration
from pipeline.identify.tuning import RIVAL_SHARE
from pipeline.identify.types import Check, Judged, Judgement, Proposed
from pipeline.types import Crop, ItemId, Proposal, Verification


def weigh(
    proposed: Sequence[Proposed],
    judged: Sequence[Judged] = (),
    checks: Sequence[Check] = (),
    found: Sequence[Verification] = (),
) -> list[Judged]:
    """Return what is known of each look after one more round.

    judged: what was before; none: nothing is checked yet. checks, found: of this round.
    """
    judged = judged or [Judged({}, ()) for _ in proposed]
    new: list[dict[ItemId, Verification]] = [{} for _ in proposed]
    extra: list[list[Proposal]] = [[] for _ in proposed]
    for check, verification in zip(checks, found, strict=True):
        new[check.look][check.proposal.item_id] = verification
        extra[check.look].append(check.proposal)
    return [
        _judged(one, known, of_look, also) if of_look or not known.judgements else known
        for one, known, of_look, also in zip(proposed, judged, new, extra, strict=True)
    ]


def _judged(
    one: Proposed, known: Judged, new: Mapping[ItemId, Verification], also: Sequence[Proposal]
) -> Judged:
    """also: what was checked; some of it was proposed by other regions of the picture."""
    ranked = {proposal.item_id: proposal for proposal in one.ranked}
    for proposal in (*(j.proposal for j in known.judgements), *also):
        ranked.setdefault(proposal.item_id, proposal)
    look = one.look
    groups = [look.shelf.same_picture(proposal.view_index) for proposal in ranked.values()]
    proposals, found = _share_pictures(
        list(ranked.values()), {**known.found, **new}, groups, look.shelf.calibration
    )
    judgements = judge(look.crop, proposals, found, look.shelf.calibration, groups)
    return Judged(found, tuple(judgements), known.n_rounds + bool(new))


def _share_pictures(
    proposals: Sequence[Proposal],
    found: Mapping[ItemId, Verification],
    groups: Sequence[int],
    calibration: Calibration,
) -> tuple[list[Proposal], dict[ItemId, Verification]]:
    """Return the same where items whose pictures show the same have the same evidence: the best.

    groups: of each proposal; those of one show the same.
    """
    members: dict[int, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    shared, evidence = list(proposals), dict(found)
    for of_group in members.values():
        if len(of_group) == 1:
            continue
        similarity = max(proposals[i].similarity for i in of_group)
        vote_lead = max(proposals[i].vote_lead for i in of_group)
        for i in of_group:
            shared[i] = replace(proposals[i], similarity=similarity, vote_lead=vote_lead)
        first = shared[of_group[0]]
        seen = [f for i in of_group if (f := found.get(proposals[i].item_id)) is not None]
        if seen:
            best = max(seen, key=lambda one: calibration.design_log_odds(first, 0.0, one))
            evidence |= {proposals[i].item_id: best for i in of_group}
    return shared, evidence


def judge(
    crop: Crop,
    proposals: Sequence[Proposal],
    verifications: Mapping[ItemId, Verification],
    calibration: Calibration,
    groups: Sequence[int] = (),
) -> list[Judgement]:
    """Return a judgement of each proposal, the likeliest first.

    proposals: the crop's shortlist, nearest first. verifications: of those that were checked.
    groups: of each proposal; those of one show the same picture. None: all differ.
    """
    groups = groups or range(len(proposals))
    of_each = margins([proposal.similarity for proposal in proposals], groups)
    found = [_with_witness(verifications, proposal.item_id) for proposal in proposals]
    design = [
        calibration.design_log_odds(proposal, margin, verification)
        for proposal, margin, verification in zip(proposals, of_each, found, strict=True)
    ]
    own = [calibration.own_share(verification) for verification in found]
    odds = np.exp(design)
    judgements = []
    for i, proposal in enumerate(proposals):
        rivals = [j for j in range(len(odds)) if j != i and _is_rival(found[i], found[j])]
        # Whether the object is a near-twin of its likeliest design says nothing about which listed
        # item is the likelier: of two listed ones, the one with more of everything is.
        likeliest = max([i, *rivals], key=lambda j: odds[j])
        lead = float(design[i] - np.log1p(odds[rivals].sum()))
        n_alike = sum(group == groups[i] for group in groups)
        judgements.append(
            Judgement(
                proposal, of_each[i], found[i], lead, own[likeliest], design[i], crop, n_alike
            )
        )
    # What is equally likely comes in the catalog's order, whichever way it was proposed.
    return sorted(judgements, key=lambda j: (-round(j.log_odds, 9), j.proposal.view_index))


def _with_witness(
    verifications: Mapping[ItemId, Verification], item_id: ItemId
) -> Verification | None:
    """What was found of an item, without its near-twin unless that was checked as well, and not
    found apart from it: only what competes for the object is a witness.
    """
    found = verifications.get(item_id)
    if found is None or found.near_twin_item is None:
        return found
    near_twin = verifications.get(found.near_twin_item)
    if near_twin is not None and _is_rival(found, near_twin):
        return found
    return replace(found, near_twin_item=None, near_twin_distance=None)


def _is_rival(one: Verification | None, other: Verification | None) -> bool:
    """Whether two proposals claim the same object: not when both are found, apart."""
    if one is None or other is None or one.outline is None or other.outline is None:
        return True
    a, b = bounds(one.outline)[None], bounds(other.outline)[None]
    smaller = max(1.0, min(float(area(a)[0]), float(area(b)[0])))
    return float(intersection_matrix(a, b)[0, 0]) >= RIVAL_SHARE * smaller


def margins(similarities: Sequence[float], groups: Sequence[int]) -> list[float]:
    """Return each similarity minus the best of other groups; 0 where there is no other."""
    best: dict[int, float] = {}
    for similarity, group in zip(similarities, groups, strict=True):
        best[group] = max(similarity, best.get(group, similarity))
    if len(best) < 2:
        return [0.0] * len(similarities)
    first, second = sorted(best, key=lambda group: -best[group])[:2]
    rival = {group: best[first] for group in best} | {first: best[second]}
    return [s - rival[group] for s, group in zip(similarities, groups, strict=True)]
