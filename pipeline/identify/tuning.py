"""Every number that decides what is checked and believed, beside what set it.

Where a figure of a comment comes from: docs/decisions. None of them was set on pictures that
measure, unless the comment says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class Region(IntEnum):
    """What a look's crop is: a camera's track, or which part of a single picture.

    INNER: a smaller cut of the middle. ROUND_MIDDLE: a box that holds the middle. ASIDE: another.
    """

    TRACK = 0
    WHOLE = 1
    MIDDLE = 2
    INNER = 3
    ROUND_MIDDLE = 4
    ASIDE = 5


@dataclass(frozen=True, slots=True)
class Steps:
    """How much a look may cost.

    at_once: proposals checked first. nearest: checked when none of these is proved; of them some
    are from further down in every second look at a track. widens: more still, where that has not
    helped. is_patient: near-twins of the likeliest are checked until there are none; else one, with
    the `nearest`: a camera must not wait, and its track gets further looks.
    """

    at_once: int
    nearest: int
    widens: bool = False
    is_patient: bool = True


Budget = Mapping[Region, Steps]  # regions that are not in it are described only

# What may be checked. A track gets further looks; a picture gets none, so that its middle is held
# against more. The right item is among the nearest two nearly always, and a listed near-twin beside
# it (`python -m benchmarks.eval_grocery`, shortlists).
CAMERA: Budget = {Region.TRACK: Steps(at_once=1, nearest=2, is_patient=False)}
PICTURE: Budget = {
    Region.MIDDLE: Steps(at_once=4, nearest=4, widens=True),
    **dict.fromkeys((Region.WHOLE, Region.ROUND_MIDDLE, Region.ASIDE), Steps(2, 2)),
}
CALIBRATION: Budget = {Region.WHOLE: Steps(at_once=4, nearest=4, widens=True)}
SHORTLISTS: Budget = {Region.WHOLE: Steps(at_once=0, nearest=0)}
FEW_MORE = 3  # further proposals where one is likely but not proved
LED_BY = 2  # likeliest items of a picture's middle that its other regions are checked against
PROVED_LOG_ODDS = 3.0  # a proposal so likely needs no further ones beside it

# Correspondences.
RATIO = 0.8  # Lowe's ratio test, by his paper
# From either on a crop may show a near-twin; others are not held against the listed one.
TWIN_INLIERS, TWIN_AGREEMENT = 10, 0.3

# Near-twins, found when a catalog is built.
LOOK_ALIKES = 4  # other items that a picture is compared with
SIBLING_INLIERS = 15  # by ratio test
SIBLING_SHARED = 0.5  # of the picture that the sibling covers
SIBLING_INLIER_SHARE = 1 / 80  # of the sibling's longer side that a correspondence may be off
# Two pictures show the same when they differ nowhere by more: in local correlation, 0..1, and in
# Lab, 0..255. Set on 25 made packs and 60 shop pictures of the pool, stored smaller and as poorer
# JPEGs: 0.86 of 280 are found, and none of 50 made near-twins is (docs/decisions/002).
SAME_PICTURE, SAME_COLOR = 0.4, 36.0
SAME_SHOWN = 0.95  # of the picture that the other must cover
SAME_SHAPE = 0.97  # of the other's ratio of sides, for plain pictures to be laid corner on corner

# Judgements.
# What a verified proposal may lose or gain by being less or more like the crop than others are.
WORST_MARGIN, BEST_MARGIN = -0.2, 0.4
RIVAL_SHARE = 0.3  # of the smaller outline that two proposals share if they claim one object
LIMIT = 12.0  # of log-odds: nothing is surer than 1 in 160,000

# Of mean difference over what both show: from the first on a near-twin is a distant relative, up to
# the second it is as close as another flavour of one pack.
CLOSE_DISTANCE = (0.6, 0.55)
# Who lists a close near-twin is taken to list what can be mistaken for it: an assumption about the
# user, in log-odds, not a measurement (docs/decisions/003).
LISTED_FAMILY = 3.0
# Listed near-twins that differ less than from the first to the second say so only as far as the
# comparer's log-odds reach the second of these: flavours of real packs lie 0.3 to 0.7 apart, signs
# that differ in a character 0.03 to 0.23 (docs/decisions/021).
NEXT_TO_NOTHING, PRINT_AGREES = (0.15, 0.3), (0.0, 1.0)

# The default calibration (calibration.py names the features).
Eight = tuple[float, float, float, float, float, float, float, float]
Four = tuple[float, float, float, float]
Three = tuple[float, float, float]
# DESIGN, UNVERIFIED: fitted to *dev* photos of three sets, each also with its item hidden, as
# `python -m benchmarks.fit_weigh` does it again (docs/decisions/019). They lean on what
# `magpie catalog calibrate` made of 360 shots of 180 made packs and pool pictures; fragment and
# sameness are as they were (the latter set on 161 grocery photos). OWN, OWN_UNSEEN: calibrate's fit
# to 900 shots of two catalogs of 220 items, and what a grey view lacks (docs/decisions/020). EXACT:
# of 0.60, 0.62, 0.65 and 0.70 on *dev* photos of groceries (docs/decisions/011).
DESIGN: Eight = (-4.34, 1.99, 7.61, 3.41, 3.52, 5.08, -11.94, 1.85)
UNVERIFIED: Four = (-3.95, 3.94, 5.77, 0.84)
OWN: Three = (0.07, 1.94, -3.0)
OWN_UNSEEN: Four = (-1.75, 2.12, 2.23, -3.0)
EXACT, VERY_SIMILAR, SIMILAR = 0.65, 0.80, 0.63

# Beliefs.
FURTHER_VIEW_GAIN = 0.5  # what a further view adds: views of one track err together
FURTHER_VIEWS_CAP = 1.0  # and all of them at most, in log-odds
MAX_ALTERNATIVES = 3
FAILURES_WITH_OTHER = 2  # views in a row without the believed item that end the belief
FAILURES_ALONE = 4
PROVED_OTHER = 3.0  # log-odds of another item that end the belief at once
# Of the similarity of the best view that a glance must find again. In 28 s of the demo tracks that
# were still on their item had 0.85 to 1.1 of it, nine in ten; exchanged ones 0.8 at most.
GLANCE_SHARE = 0.9
HOPELESS = -2.9  # log-odds of the likeliest item: background and strangers have less, items more
