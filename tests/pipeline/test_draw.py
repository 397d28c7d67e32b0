"""Pictures for people: what is drawn lies where the match is."""

import numpy as np

from pipeline.draw import TIER_COLORS_BGR, contact_sheet, draw_evidence, draw_match
from pipeline.types import ItemId, Match, Tier


def _match(tier: Tier = Tier.EXACT) -> Match:
    box = np.array([0, 0, 10, 10], np.float32)
    return Match(ItemId("a"), "Alpha", 0, tier, 0.99, 0.8, 0.2, 50, 0.7, box, None, 0.0)


def test_the_outline_is_drawn_where_it_is_and_beyond_the_frame_it_is_cut():
    image = np.zeros((200, 300, 3), np.uint8)
    outline = np.array([[100, 80], [220, 90], [210, 160], [105, 150]], np.float32)
    draw_match(image, outline[[0, 2]].ravel(), outline, Tier.EXACT, "Alpha 0.99")
    assert tuple(image[150 - 1, 105 - 1]) == TIER_COLORS_BGR[Tier.EXACT]
    assert not image[110:140, 140:190].any()  # the inside stays what it was
    draw_match(image, [-50.0, -50.0, 1e9, 20.0], None, Tier.SIMILAR, "far outside " * 30)
    assert tuple(image[19, 299]) == TIER_COLORS_BGR[Tier.SIMILAR]


def test_evidence_shows_crop_view_and_a_line_for_each_correspondence():
    crop = np.full((130, 100, 3), 200, np.uint8)
    view = np.full((320, 240, 3), 100, np.uint8)
    pairs = np.array([[30, 40, 20, 30], [200, 300, 80, 120]], np.float32)
    bare = draw_evidence(crop, view, np.zeros((0, 4), np.float32), _match())
    lined = draw_evidence(crop, view, pairs, _match())
    assert bare.shape == lined.shape and bare.dtype == np.uint8
    assert (bare[200, 50] == 200).all() and (bare[200, 300] == 100).all()
    changed = np.abs(bare.astype(int) - lined).sum(2) > 0
    assert changed[46 + 60 - 2 : 46 + 60 + 3, 38:43].any()  # at the first point, scaled by two
    assert changed[:, 200:224].any() and not changed[:46].any()


def test_many_correspondences_and_extreme_shapes_still_make_a_picture():
    pairs = np.random.default_rng(0).uniform(0, 20, (500, 4)).astype(np.float32)
    for size in ((1, 900), (900, 1), (24, 24)):
        crop = np.zeros((*size, 3), np.uint8)
        picture = draw_evidence(crop, np.zeros((50, 40, 3), np.uint8), pairs, _match(Tier.SIMILAR))
        assert picture.shape[0] == 306 and 380 <= picture.shape[1] < 1000


def test_a_sheet_holds_every_picture():
    pictures = [np.full((40 + i, 100, 3), 20 + i, np.uint8) for i in range(7)]
    sheet = contact_sheet(pictures, columns=3)
    assert {20 + i for i in range(7)} <= set(np.unique(sheet))
    assert contact_sheet([]).ndim == 3
