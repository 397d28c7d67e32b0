"""Things of several parts: long cut-outs that differ, and end where their picture ends."""

import numpy as np

from catalog_tools.synthesize.made_things import draw_thing


def test_the_same_generator_draws_the_same_thing_and_each_is_another() -> None:
    first, again = (draw_thing(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, again)
    assert len({draw_thing(np.random.default_rng(seed)).tobytes() for seed in range(30)}) == 30


def test_a_thing_reaches_the_sides_of_its_picture_and_covers_a_part_of_it() -> None:
    covered = []
    for seed in range(40):
        inside = draw_thing(np.random.default_rng(seed))[..., 3] > 0
        assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
        assert max(inside.shape) > 100 and inside.sum() > 300
        covered.append(inside.mean())
    assert np.median(covered) < 0.5, "lying at an angle, a long thing leaves most of its box free"


def test_the_edge_of_a_thing_has_its_own_colour() -> None:
    """Colour under half-clear pixels: black there would draw a dark line round each thing."""
    for seed in range(20):
        thing = draw_thing(np.random.default_rng(seed))
        faint = (thing[..., 3] > 0) & (thing[..., 3] < 100)
        solid = thing[..., 3] == 255
        if faint.any():
            # The sides of what is round are darker than its middle, down to two fifths.
            assert thing[faint][:, :3].mean() > 0.3 * thing[solid][:, :3].mean()
