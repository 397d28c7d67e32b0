from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.identify.belief import PROVED_OTHER, Belief, match_of
from pipeline.identify.calibration import Calibration, sigmoid
from pipeline.identify.types import Judgement
from pipeline.identify.weigh import _share_pictures, judge
from pipeline.options import DecideOptions
from pipeline.types import Crop, ItemId, Proposal, Tier, Track, Verification

CALIBRATION, OPTIONS = Calibration(), DecideOptions()


def crop(xyxy: tuple[float, ...] = (100, 50, 200, 150), whole: bool = False) -> Crop:
    box = np.array(xyxy, np.float32)
    track = Track("door", 3, box, 0.9, 0, 5, is_whole_frame=whole)
    return Crop(track, box, np.zeros((50, 50, 3), np.uint8))


def proposals(**similarities: float) -> list[Proposal]:
    return [Proposal(ItemId(name), i, s) for i, (name, s) in enumerate(similarities.items())]


def verified(
    inliers: int = 60, agreement: float = 0.85, x: float = 0.0, correspondences: int = 70
) -> Verification:
    outline = np.array([[x, 0], [x + 20, 0], [x + 20, 20], [x, 20]], np.float32)
    return Verification(inliers, correspondences, np.eye(3), outline, 12.0, agreement, 1.0)


NOTHING = Verification(0, 5, None, None, 0.0, 0.0, 0.0)


def judged(
    lead: float, item: str = "tea", found: Verification | None = None, own: float = 0.95
) -> Judgement:
    proposal = Proposal(ItemId(item), 0, 0.7)
    return Judgement(proposal, 0.2, found or verified(), lead, own, lead, crop())


def tier_of(belief: Belief, options: DecideOptions = OPTIONS) -> Tier | None:
    verdict = belief.verdict(options, CALIBRATION)
    assert verdict is not None
    return verdict.tier


def test_verified_candidate_wins_over_a_nearer_one_that_is_not() -> None:
    shortlist = proposals(tea=0.7, milk=0.65)
    found = {ItemId("tea"): NOTHING, ItemId("milk"): verified()}
    first, second = judge(crop(), shortlist, found, CALIBRATION)
    assert first.proposal.item_id == "milk" and sigmoid(first.log_odds) > 0.8
    assert sigmoid(second.log_odds) < 0.5
    assert (first.margin, second.margin) == (pytest.approx(-0.05), pytest.approx(0.05))


def test_every_feature_counts_in_its_direction() -> None:
    tea, likelier_tea = proposals(tea=0.5)[0], proposals(tea=0.6)[0]
    base = CALIBRATION.design_log_odds(tea, 0.1, verified(20, 0.6))
    assert CALIBRATION.design_log_odds(likelier_tea, 0.1, verified(20, 0.6)) > base
    assert CALIBRATION.design_log_odds(tea, 0.2, verified(20, 0.6)) > base
    assert CALIBRATION.design_log_odds(tea, 0.1, verified(25, 0.6)) > base
    assert CALIBRATION.design_log_odds(tea, 0.1, verified(20, 0.9)) > base
    assert CALIBRATION.design_log_odds(tea, 0.1, NOTHING) < base
    voted = Proposal(ItemId("tea"), 0, 0.5, vote_lead=0.8)
    assert CALIBRATION.design_log_odds(voted, 0.1, NOTHING) > CALIBRATION.design_log_odds(
        tea, 0.1, NOTHING
    )


def probability_of(found: Verification, similarity: float) -> float:
    judgement = judge(crop(), proposals(tea=similarity), {ItemId("tea"): found}, CALIBRATION)[0]
    return sigmoid(judgement.log_odds)


def test_what_the_comparer_saw_counts_for_and_against() -> None:
    plain = verified(30, 0.5)
    doubted, confirmed = replace(plain, sameness=-3.0), replace(plain, sameness=3.0)
    values = [probability_of(found, 0.6) for found in (doubted, plain, confirmed)]
    assert values == sorted(values) and values[2] - values[0] > 0.2


def with_near_twin(found: Verification, distance: float | None) -> Verification:
    return replace(found, near_twin_item=ItemId("milk"), near_twin_distance=distance)


def probability_beside(other: str, found: Verification) -> float:
    """The probability of tea beside another item that was checked and not found."""
    checked = {ItemId("tea"): found, ItemId(other): NOTHING}
    shortlist = proposals(tea=0.6, milk=0.1, soap=0.1)
    return sigmoid(judge(crop(), shortlist, checked, CALIBRATION)[0].log_odds)


def test_an_unlisted_near_twin_is_the_less_likely_the_closer_a_listed_one_is() -> None:
    doubtful = replace(verified(60, 0.7), sameness=-1.0)
    by_distance = [
        probability_beside("milk", with_near_twin(doubtful, distance))
        for distance in (None, 0.7, 0.6, 0.575, 0.3)
    ]
    unseen = probability_beside("soap", with_near_twin(doubtful, 0.3))
    assert unseen == by_distance[0], "a near-twin that was not checked does not compete"
    assert by_distance[0] == by_distance[1] == by_distance[2], "a distant relative tells nothing"
    assert by_distance[2] < by_distance[3] < by_distance[4]
    close = with_near_twin(doubtful, 0.3)
    both = {ItemId("tea"): close, ItemId("milk"): replace(close, near_twin_item=ItemId("tea"))}
    found = judge(crop(), proposals(tea=0.6, milk=0.6), both, CALIBRATION)
    assert all(sigmoid(judgement.log_odds) <= 0.5 for judgement in found), "neither is the one"


def test_a_near_twin_that_was_found_beside_an_item_is_no_witness_of_it() -> None:
    """What stands on the shelf beside the listed near-twin may be a third one."""

    def tea(milk: Verification) -> Judgement:
        doubtful = replace(verified(60, 0.7), sameness=-1.0)
        found = {ItemId("tea"): with_near_twin(doubtful, 0.3), ItemId("milk"): milk}
        return judge(crop(), proposals(tea=0.6, milk=0.1), found, CALIBRATION)[0]

    beside, at_the_same_place = tea(verified(30, 0.3, x=30)), tea(verified(30, 0.3, x=2))
    assert beside.proposal.item_id == at_the_same_place.proposal.item_id == "tea"
    assert beside.verification is not None and beside.verification.near_twin_distance is None
    assert sigmoid(beside.log_odds) < sigmoid(at_the_same_place.log_odds) - 0.05


def test_of_two_listed_near_twins_the_one_with_more_of_everything_is_the_likelier() -> None:
    found = {ItemId("tea"): verified(70, 0.5), ItemId("twin"): verified(30, 0.3)}
    first, _ = judge(crop(), proposals(tea=0.6, twin=0.6), found, CALIBRATION)
    assert first.proposal.item_id == "tea"


def test_the_hypotheses_of_an_object_add_up_to_one() -> None:
    """Each proposal, an unlisted near-twin of the likeliest, and unknown."""
    seen = replace(verified(40, 0.6), sameness=0.5)
    found = {ItemId("tea"): seen, ItemId("milk"): replace(seen, agreement=0.4)}
    both = judge(crop(), proposals(tea=0.6, milk=0.5), found, CALIBRATION)
    designs = np.exp([j.design_log_odds for j in both])
    unknown = 1 / (1 + designs.sum())
    near_twin = (1 - both[0].own_share) * designs.sum() / (1 + designs.sum())
    items = sum(sigmoid(j.log_odds) for j in both)
    assert items + near_twin + unknown == pytest.approx(1.0)
    assert 0.1 < near_twin < 0.9


def test_two_that_claim_one_object_share_its_probability_and_two_apart_do_not() -> None:
    shortlist = proposals(tea=0.6, twin=0.6)
    here = {ItemId("tea"): verified(), ItemId("twin"): verified()}
    apart = {ItemId("tea"): verified(), ItemId("twin"): verified(x=30)}
    sharing = [sigmoid(j.log_odds) for j in judge(crop(), shortlist, here, CALIBRATION)]
    assert sum(sharing) <= 1.0 and max(sharing) == pytest.approx(min(sharing))
    assert min(sigmoid(j.log_odds) for j in judge(crop(), shortlist, apart, CALIBRATION)) > 0.8


def test_no_candidate_is_no_verdict() -> None:
    assert judge(crop(), [], {}, CALIBRATION) == []
    belief = Belief()
    belief.add([])
    assert belief.verdict(OPTIONS, CALIBRATION) is None and belief.item() is None


def test_more_views_never_make_it_worse() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        belief, last = Belief(), 0.0
        ranks = [-1]
        for log_odds in rng.normal(1, 2, 4):
            seen = replace(verified(), sameness=float(rng.normal(0.5, 1)))
            belief.add([judged(float(log_odds), found=seen)])
            verdict = belief.verdict(OPTIONS, CALIBRATION)
            assert verdict is not None and verdict.probability >= last
            last = verdict.probability
            ranks.append(-1 if verdict.tier is None else verdict.tier.rank)
        assert ranks == sorted(ranks)


def test_what_the_comparer_doubts_is_never_exact_however_sure_the_design_is() -> None:
    def tier(sameness: float | None, agreement: float = 0.95) -> Tier | None:
        found = replace(verified(80, agreement), sameness=sameness)
        belief = Belief()
        belief.add(judge(crop(), proposals(tea=0.9), {ItemId("tea"): found}, CALIBRATION))
        return tier_of(belief)

    assert tier(2.0) is Tier.EXACT
    assert tier(-1.0) is Tier.VERY_SIMILAR
    assert tier(None) is Tier.EXACT, "without a comparer the agreement tells"
    assert tier(None, agreement=0.4) is Tier.VERY_SIMILAR


def test_more_views_prove_the_design_and_not_that_it_is_no_near_twin() -> None:
    belief = Belief()
    for _ in range(20):
        belief.add([judged(4.0, own=0.6)])
    verdict = belief.verdict(OPTIONS, CALIBRATION)
    assert verdict is not None and verdict.probability <= 0.6
    assert verdict.tier is Tier.VERY_SIMILAR
    belief.add([judged(4.0, own=0.95)])
    assert tier_of(belief) is Tier.EXACT, "one that shows what near-twins lack does"


def test_views_that_agree_add_up_but_many_doubtful_ones_prove_nothing() -> None:
    belief = Belief()
    belief.add([replace(judged(0.5), design_log_odds=2.0)])
    assert tier_of(belief) is Tier.VERY_SIMILAR
    belief.add([judged(0.6)])
    belief.add([judged(0.6)])
    assert tier_of(belief) is Tier.EXACT
    doubtful = Belief()
    for _ in range(100):
        doubtful.add([judged(-0.5)])
    assert tier_of(doubtful) is None


def test_failures_in_a_row_end_a_belief_sooner_when_another_item_shows() -> None:
    swapped = Belief()
    swapped.add([judged(6.0, "tea")])
    for _ in range(2):
        swapped.add([judged(3.0, "milk"), judged(-4.0, "tea")])
    believed = swapped.item()
    assert believed is not None and believed.item_id == "milk"

    hidden = Belief()
    hidden.add([judged(6.0, "tea")])
    for _ in range(3):
        hidden.add([judged(-3.0, "tea", NOTHING)])
    assert tier_of(hidden) is Tier.EXACT, "three hidden views are not the end"
    hidden.add([judged(-3.0, "tea", NOTHING)])
    assert tier_of(hidden) is None


@pytest.mark.parametrize(
    ("lead", "design_log_odds", "found", "expected"),
    [
        (8.0, 8.0, verified(), Tier.EXACT),
        (0.4, 2.0, verified(), Tier.VERY_SIMILAR),
        (-3.0, 4.0, verified(), Tier.VERY_SIMILAR),
        (0.4, 1.0, verified(), Tier.SIMILAR),
        (-3.0, 1.0, verified(), Tier.SIMILAR),
        (8.0, 8.0, NOTHING, Tier.SIMILAR),
        (-3.0, 8.0, NOTHING, None),
        (0.0, 0.0, verified(), None),
    ],
)
def test_tiers(
    lead: float, design_log_odds: float, found: Verification, expected: Tier | None
) -> None:
    belief = Belief()
    belief.add([replace(judged(lead, found=found), design_log_odds=design_log_odds)])
    assert tier_of(belief) is expected


def test_users_threshold_goes_before_the_calibrated_one() -> None:
    belief = Belief()
    belief.add([judged(3.5)])
    assert tier_of(belief) is Tier.EXACT
    assert tier_of(belief, DecideOptions(exact=0.99)) is Tier.VERY_SIMILAR


def test_a_track_of_a_near_twin_stays_with_the_item_whose_design_it_shows() -> None:
    belief = Belief()
    for _ in range(6):
        belief.add([replace(judged(-2.0), design_log_odds=3.0)])
    believed = belief.item()
    assert believed is not None and believed.item_id == "tea" and not belief.is_in_doubt


def test_lowest_published_tier_is_the_users() -> None:
    belief = Belief()
    belief.add([replace(judged(0.4), design_log_odds=2.0)])
    assert tier_of(belief, DecideOptions(publish="very_similar")) is Tier.VERY_SIMILAR
    assert tier_of(belief, DecideOptions(publish="exact")) is None


def test_match_carries_the_outline_to_where_the_track_is_now() -> None:
    belief = Belief()
    belief.add([judged(8.0)])
    verdict = belief.verdict(OPTIONS, CALIBRATION)
    assert verdict is not None
    box = np.array([300, 50, 500, 250], np.float32)
    match = match_of(verdict, Tier.EXACT, Track("door", 3, box, 0.9, 0, 9), "Tea")
    assert match.outline is not None
    # outline 0..20 of a crop of 50 px that spans 100 px of the frame; the box has doubled since
    assert match.outline.tolist() == [[300, 50], [380, 50], [380, 130], [300, 130]]
    assert match.box_xyxy.tolist() == [300, 50, 500, 250]


def test_match_in_a_fixed_region_has_the_outlines_box() -> None:
    region = crop((0, 0, 100, 100), whole=True)
    belief = Belief()
    belief.add(judge(region, proposals(tea=0.7), {ItemId("tea"): verified()}, CALIBRATION))
    verdict = belief.verdict(OPTIONS, CALIBRATION)
    assert verdict is not None
    assert match_of(verdict, Tier.EXACT, region.track, "Tea").box_xyxy.tolist() == [0, 0, 40, 40]


def test_another_item_that_is_proved_ends_a_belief_at_once() -> None:
    belief = Belief()
    belief.add([judged(4.0, "tea")])
    assert not belief.is_in_doubt
    belief.add([judged(-1.0, "tea")])
    assert belief.is_in_doubt and belief.item() is not None
    belief.add([judged(PROVED_OTHER, "jam"), judged(-1.0, "tea")])
    believed = belief.item()
    assert believed is not None and believed.item_id == "jam"


def test_items_with_the_same_picture_share_what_is_found_of_either() -> None:
    """Each has its half, whichever was checked, and the catalog's order decides which is first."""
    shortlist = [Proposal(ItemId("twin"), 7, 0.6), Proposal(ItemId("tea"), 3, 0.61)]
    shortlist.append(Proposal(ItemId("soap"), 1, 0.2))
    groups = [3, 3, 1]
    found = {ItemId("twin"): replace(verified(), sameness=3.0), ItemId("soap"): NOTHING}
    shared, evidence = _share_pictures(shortlist, found, groups, CALIBRATION)
    first, second, third = judge(crop(), shared, evidence, CALIBRATION, groups)
    assert [j.proposal.item_id for j in (first, second, third)] == ["tea", "twin", "soap"]
    assert first.log_odds == second.log_odds and 0.4 < sigmoid(first.log_odds) <= 0.5
    assert first.margin == second.margin > 0 and first.n_alike == 2 and third.n_alike == 1
    belief = Belief()
    for _ in range(5):
        belief.add([first, second, third])
        verdict = belief.verdict(OPTIONS, CALIBRATION)
        assert verdict is not None and verdict.tier is Tier.VERY_SIMILAR
        assert verdict.best.proposal.item_id == "tea" and verdict.probability <= 0.5
        assert verdict.alternatives[0].item_id == "twin"
        assert verdict.alternatives[0].probability == verdict.probability
