"""Views drawn on the device: what is whole, what is around it, and what a seed gives."""

import numpy as np
import pytest
import torch

from catalog_tools.synthesize.device_camera import compressed
from catalog_tools.synthesize.device_views import PAPER, Gallery, ViewDrawer, turn_hue

CPU = torch.device("cpu")


def stripes(height: int, width: int) -> np.ndarray:
    """A blue picture with a red left third, (h, w, 3) BGR."""
    picture = np.full((height, width, 3), (220, 40, 20), np.uint8)
    picture[:, : width // 3] = (20, 40, 220)
    return picture


@pytest.fixture
def drawer() -> ViewDrawer:
    rng = np.random.default_rng(0)
    pictures = [stripes(40, 120), stripes(120, 40)]
    pictures += [rng.integers(0, 256, (50, 60, 3)).astype(np.uint8) for _ in range(4)]
    cut_out = np.zeros((60, 60, 4), np.uint8)
    cut_out[20:40, 20:40] = (0, 200, 0, 255)
    gallery = Gallery.of([*pictures, cut_out], 64, CPU)
    return ViewDrawer(gallery, 64, torch.Generator().manual_seed(3))


def test_a_clean_view_shows_the_picture_whole_in_the_middle_of_grey(drawer: ViewDrawer) -> None:
    view = drawer.clean(torch.tensor([0, 1]), torch.zeros(2))
    assert view.shape == (2, 3, 64, 64) and view.dtype == torch.float32
    wide, high = view
    assert torch.allclose(wide[:, 2], torch.tensor(PAPER)), "above a wide picture lies grey"
    assert torch.allclose(high[:, :, 2], torch.tensor(PAPER)), "beside a high one too"
    assert wide[0, 32, 10] > 0.7 and wide[2, 32, 10] < 0.2, "its left third is red"
    assert wide[2, 32, 45] > 0.7 and wide[0, 32, 45] < 0.2, "the rest is blue"


def test_a_cut_out_lies_on_paper(drawer: ViewDrawer) -> None:
    view = drawer.clean(torch.tensor([6]), torch.zeros(1))[0]
    assert view[:, 5, 5].min() > 0.7, "white around it"
    assert view[1, 32, 32] > 0.6 and view[0, 32, 32] < 0.2, "green where it is"


def test_a_camera_sees_the_thing_otherwise_each_time_and_the_same_for_the_same_seed() -> None:
    gallery = Gallery.of([stripes(60, 60), stripes(30, 60)], 64, CPU)
    numbers, hue = torch.tensor([0, 0, 1]), torch.zeros(3)
    first = ViewDrawer(gallery, 64, torch.Generator().manual_seed(1)).camera(numbers, hue)
    again = ViewDrawer(gallery, 64, torch.Generator().manual_seed(1)).camera(numbers, hue)
    other = ViewDrawer(gallery, 64, torch.Generator().manual_seed(2)).camera(numbers, hue)
    assert torch.equal(first, again)
    assert (first - other).abs().mean() > 0.02
    assert (first[0] - first[1]).abs().mean() > 0.02, "two views of one thing differ"
    assert first.min() >= 0 and first.max() <= 1 and bool(first.isfinite().all())


def test_most_camera_views_still_show_their_thing() -> None:
    gallery = Gallery.of([stripes(60, 60), np.full((60, 60, 3), 128, np.uint8)], 64, CPU)
    drawer = ViewDrawer(gallery, 64, torch.Generator().manual_seed(5))
    views = drawer.camera(torch.zeros(40, dtype=torch.int64), torch.zeros(40))
    red = (views[:, 0] > views[:, 2] + 0.15).float().mean((1, 2))
    blue = (views[:, 2] > views[:, 0] + 0.15).float().mean((1, 2))
    assert float(((red > 0.02) & (blue > 0.05)).float().mean()) > 0.8


def test_turned_colours_are_others_of_the_same_brightness() -> None:
    red = torch.tensor([0.6, 0.3, 0.3]).view(1, 3, 1, 1)
    turned = turn_hue(red, torch.tensor([2 * np.pi / 3], dtype=torch.float32))
    assert torch.allclose(turned.flatten(), torch.tensor([0.3, 0.6, 0.3]), atol=1e-5)


def test_compression_takes_more_the_lower_its_quality() -> None:
    noise = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0))

    def lost(quality: float) -> float:
        return float((compressed(noise, torch.full((1, 1, 1, 1), quality)) - noise).abs().mean())

    assert lost(98.0) < 0.02 < lost(20.0)
    flat = torch.full((1, 3, 16, 16), 0.5)
    assert float((compressed(flat, torch.full((1, 1, 1, 1), 50.0)) - flat).abs().max()) < 0.02
