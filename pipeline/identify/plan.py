"""Which proposals are checked next, and when it is enough: the only place that decides it."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.identify.calibration import closeness
from pipeline.identify.tuning import FEW_MORE, LED_BY, PROVED_LOG_ODDS, Budget, Region, Steps
from pipeline.identify.types import Check, Judged, Look, Proposed
from pipeline.types import F32, Proposal

LED = (Region.WHOLE, Region.ROUND_MIDDLE)  # what holds a picture's middle speaks of the same items


def plan(proposed: Sequence[Proposed], judged: Sequence[Judged], budget: Budget) -> list[Check]:
    """Return the checks to make next; none: it is enough.

    judged: what is known of each look so far. Regions that hold a picture's middle wait for it.
    """
    todo: list[Sequence[Proposal]] = [[] for _ in proposed]
    middle_of: dict[int, int] = {}
    for i, (one, known) in enumerate(zip(proposed, judged, strict=True)):
        if one.look.region is Region.MIDDLE:
            middle_of[one.look.picture] = i
        if one.look.region not in LED:
            todo[i] = _next(one, known, budget[one.look.region], ())
    for i, (one, known) in enumerate(zip(proposed, judged, strict=True)):
        if one.look.region in LED:
            middle = middle_of.get(one.look.picture)
            if middle is None:
                todo[i] = _next(one, known, budget[one.look.region], ())
            elif not todo[middle]:
                likeliest = [j.proposal for j in judged[middle].judgements[:LED_BY]]
                todo[i] = _next(one, known, budget[one.look.region], likeliest)
    return [
        _check(i, proposed[i], proposal)
        for i, proposals in enumerate(todo)
        for proposal in proposals
    ]


def _next(
    one: Proposed, known: Judged, steps: Steps, led_by: Sequence[Proposal]
) -> Sequence[Proposal]:
    """Return what to check next of one look. led_by: what its picture's middle may show."""
    first = _distinct(one.look, _first(one, steps.nearest, led_by))
    if known.n_rounds == 0:
        return first[: steps.at_once]
    if not steps.is_patient:
        if known.n_rounds > 1 or is_proved(one.look, known):
            return []
        rest = first[steps.at_once :]
        return [*rest, *(p for p in _unchecked_near_twin(one, known) if p not in rest)]
    if steps.widens and known.n_rounds == 1 and (further := _further(one, known)):
        return further
    return _unchecked_near_twin(one, known)


def _first(one: Proposed, count: int, led_by: Sequence[Proposal]) -> Sequence[Proposal]:
    """Return what is checked before anything is known.

    What the panel is like; then what is believed, or what the picture's middle may show. Else a
    track that is believed to be an item is checked against it, and against the nearest other one
    when that is now the nearest of all: the object may have been swapped. An unknown one is checked
    against the `count` nearest, and in every second look against one from further down.
    """
    look = one.look
    like = one.ranked[: one.like_panel]
    if like or led_by:
        also = led_by or ([look.believed] if look.believed else [])
        item_ids = {proposal.item_id for proposal in like}
        return [*like, *(p for p in also if p.item_id not in item_ids)]
    believed = look.believed
    mine = [p for p in one.ranked if believed is not None and p.item_id == believed.item_id]
    if mine:
        return mine + [p for p in one.ranked[:1] if p.item_id != mine[0].item_id]
    further = one.ranked[count:]
    if look.n_looks % 2 == 0 or not further:
        return one.ranked[:count]
    return [one.ranked[0], further[look.n_looks // 2 % len(further)]]


def _distinct(look: Look, proposals: Sequence[Proposal]) -> Sequence[Proposal]:
    """Return the proposals of which none shows the same picture as one before it."""
    shown: dict[int, Proposal] = {}
    for proposal in proposals:
        shown.setdefault(look.shelf.same_picture(proposal.view_index), proposal)
    return list(shown.values())


def is_proved(look: Look, known: Judged) -> bool:
    """Whether an item is proved that has no near-twin in the catalog: no other can be it.

    Plain pictures have too few keypoints to tell their near-twins by.
    """
    if known.best_lead < PROVED_LOG_ODDS or look.panel is not None:
        return False
    best = known.judgements[0]
    return best.is_verified and not look.shelf.has_near_twin(best.proposal.view_index)


def _further(one: Proposed, known: Judged) -> Sequence[Proposal]:
    """Return none when one is proved; a few more when one is likely; else all the rest."""
    if known.best_lead >= PROVED_LOG_ODDS:
        return []
    rest = _distinct(one.look, [p for p in one.ranked if p.item_id not in known.found])
    return rest[:FEW_MORE] if known.best_lead > 0 else rest


def _unchecked_near_twin(one: Proposed, known: Judged) -> list[Proposal]:
    """Return the near-twin of the likeliest item, unless it was checked: one or none.

    It must be checked to compete, and to be a witness (weigh.py). One that is not proposed is
    neither.
    """
    if not known.judgements or known.judgements[0].design_log_odds <= 0:
        return []
    best = known.found.get(known.judgements[0].proposal.item_id)
    if best is None or not closeness(best) or best.near_twin_item in known.found:
        return []
    return [p.proposal for p in known.judgements if p.proposal.item_id == best.near_twin_item]


def _check(number: int, one: Proposed, proposal: Proposal) -> Check:
    shelf, view_index = one.look.shelf, proposal.view_index
    view, near_twin = shelf.view(view_index), shelf.near_twin(view_index)
    outline = _outline_of(one.look, proposal)
    return Check(number, proposal, one.picture, view, near_twin, outline)


def _outline_of(look: Look, proposal: Proposal) -> F32 | None:
    """Return where a proposal's corners lie in the crop if a panel told it, (4, 2) px."""
    if look.panel is None or proposal.view_index not in look.panel.view_indices:
        return None
    return look.crop.from_frame(look.panel.outline)
