"""The test pattern: its size, its end, its pace."""

import itertools

from tests.streamer.sources.reading import pictures_of


def test_the_pattern_moves_ends_and_is_lossless_on_request() -> None:
    pictures = pictures_of("test:?size=321x201&frames=10&paced=0")
    assert len(pictures) == 10
    assert {picture.size_wh for picture in pictures} == {(321, 201)}
    assert all((one.y != other.y).any() for one, other in itertools.pairwise(pictures))


def test_the_pattern_keeps_its_pace() -> None:
    pictures = pictures_of("test:?size=64x48&frames=6&fps=50")
    assert (pictures[-1].captured_ns - pictures[0].captured_ns) / 1e6 >= 80
    assert {picture.clock for picture in pictures} == {"arrival"}
