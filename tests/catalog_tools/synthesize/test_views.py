"""One thing as a catalog shows it and as a camera sees it."""

import numpy as np

from catalog_tools.synthesize.views import camera_view, clean_view


def test_views_have_the_wanted_size_and_camera_views_keep_the_picture_in_sight() -> None:
    picture = np.zeros((60, 40, 3), np.uint8)
    picture[..., 2] = 255
    neighbour = np.full((30, 30, 3), (255, 0, 0), np.uint8)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert clean_view(rng, picture, 48).shape == (48, 48, 3)
        view = camera_view(rng, picture, 48, [neighbour], hard=0.3).astype(int)
        assert view.shape == (48, 48, 3)
        assert ((view[..., 2] - view[..., 0]) > 60).mean() > 0.15, seed


def test_letterboxed_views_keep_their_shape_in_the_middle_of_grey() -> None:
    picture = np.full((20, 80, 3), (0, 0, 255), np.uint8)
    for seed in range(10):
        clean = clean_view(np.random.default_rng(seed), picture, 64, "letterbox")
        assert clean.shape == (64, 64, 3)
        assert (clean[:20] == 128).all() and (clean[44:] == 128).all(), "grey above and below"
        assert (clean[32, 4:60, 2] > 200).all()
        view = camera_view(np.random.default_rng(seed), picture, 64, [], 0.2, fit="letterbox")
        assert view.shape == (64, 64, 3)
        assert (view[0] == 128).all() or (view[:, 0] == 128).all(), "a wide one stays wide"
