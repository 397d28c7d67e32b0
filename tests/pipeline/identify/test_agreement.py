"""Agreement of aligned pictures: what lowers it, and what must not."""

import cv2
import numpy as np
import pytest

from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack, render_twin
from pipeline.geometry import warp_picture
from pipeline.identify.agreement import ONLY_THERE, Agreement, NearTwin, Placed, measure_apart
from pipeline.types import ItemId

WH = (210, 310)
SAME = np.eye(3)


def pack(seed: int = 1) -> np.ndarray:
    return render_pack(DEMO_SEED_START + seed, WH)


def measure(crop: np.ndarray, view: np.ndarray, homography: np.ndarray) -> tuple[float, float]:
    """Agreement and coverage."""
    aligned = Agreement(Placed(crop, view, homography, WH, WH))
    return aligned.everywhere(), aligned.coverage


def agreement(crop: np.ndarray, view: np.ndarray) -> float:
    return measure(crop, view, SAME)[0]


def test_a_picture_agrees_with_itself_and_lies_inside_itself() -> None:
    value, coverage = measure(pack(), pack(), SAME)
    assert value > 0.98 and coverage == 1.0


def test_other_light_costs_little() -> None:
    darker = (pack().astype(np.float32) * 0.5 + 20).clip(0, 255)
    warm = (darker * np.array([0.8, 1.0, 1.15])).clip(0, 255).astype(np.uint8)
    assert agreement(warm, pack()) > 0.8


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_twin_agrees_less_than_the_pack_and_more_than_another(seed: int) -> None:
    photo = cv2.GaussianBlur(pack(seed), (0, 0), 1.0)
    same = agreement(photo, pack(seed))
    twin = agreement(photo, render_twin(DEMO_SEED_START + seed, 1, WH))
    other = agreement(photo, pack(seed + 20))
    assert same > twin + 0.01
    assert twin > other + 0.2
    assert other < 0.3


def test_another_colour_of_the_same_print_agrees_less() -> None:
    colours = cv2.cvtColor(pack(), cv2.COLOR_BGR2HSV)
    colours[..., 0] = (colours[..., 0].astype(int) + 60) % 180
    assert agreement(cv2.cvtColor(colours, cv2.COLOR_HSV2BGR), pack()) < 0.6


def test_pictures_of_other_sizes_give_the_same_answer() -> None:
    truth = np.array([[0.7, -0.2, 60], [0.2, 0.7, 10], [0.0002, 0, 1]])
    crop, _ = warp_picture(pack(), np.linalg.inv(truth), WH)
    whole, coverage = measure(crop, pack(), truth)
    larger = cv2.resize(crop, (WH[0] * 3, WH[1] * 3), interpolation=cv2.INTER_LINEAR)
    smaller = cv2.resize(pack(), (140, 207), interpolation=cv2.INTER_AREA)
    other, other_coverage = measure(larger, smaller, truth)
    assert whole > 0.8
    assert other == pytest.approx(whole, abs=0.06)
    assert other_coverage == pytest.approx(coverage, abs=0.02)


def test_coverage_is_the_share_of_the_view_inside_the_crop() -> None:
    half_out = np.array([[1.0, 0, WH[0] / 2], [0, 1, 0], [0, 0, 1]])
    crop, _ = warp_picture(pack(), np.linalg.inv(half_out), WH)
    value, coverage = measure(crop, pack(), half_out)
    assert coverage == pytest.approx(0.5, abs=0.02)
    assert value > 0.9  # what lies outside says nothing
    gone = np.array([[1.0, 0, WH[0] * 2], [0, 1, 0], [0, 0, 1]])
    assert measure(crop, pack(), gone) == (0.0, 0.0)


def test_an_emblem_that_only_the_near_twin_lacks_does_not_make_another_pack_the_view() -> None:
    view, other = pack(1), pack(2)
    with_emblem, other_with_emblem = (emblazoned(picture) for picture in (view, other))
    twin = near_twin(of=with_emblem, laid=view)
    of_other = Agreement(placed(other_with_emblem, with_emblem))
    of_view = Agreement(placed(cv2.GaussianBlur(with_emblem, (0, 0), 1.5), with_emblem))
    assert of_other.beside(twin) <= of_other.everywhere() + ONLY_THERE < 0.5
    assert of_view.beside(twin) > 0.7


def emblazoned(picture: np.ndarray) -> np.ndarray:
    """The picture with an emblem, and ground around it, in its middle."""
    height, width = picture.shape[:2]
    middle = (width // 2, height // 2)
    shown = cv2.circle(picture.copy(), middle, width // 4, (240, 240, 240), -1)
    for radius, color in ((width // 6, (30, 30, 200)), (width // 12, (40, 160, 40))):
        cv2.circle(shown, middle, radius, color, -1)
    return np.asarray(shown, np.uint8)


def near_twin(of: np.ndarray, laid: np.ndarray) -> NearTwin:
    """A picture as the near-twin of another: they differ where their pixels do."""
    apart = np.abs(of.astype(int) - laid).max(axis=2) > 0
    difference = cv2.resize(apart.astype(np.uint8) * 255, (32, 32), interpolation=cv2.INTER_AREA)
    laid_over = placed(laid, of).lay_to_measure()
    places = np.asarray(difference, np.uint8)
    return NearTwin(ItemId("twin"), laid_over, places, 0.5, measure_apart(laid_over, places))


def placed(crop: np.ndarray, view: np.ndarray) -> Placed:
    size_wh = (view.shape[1], view.shape[0])
    return Placed(crop, view, np.eye(3), size_wh, size_wh)


def test_a_grey_crop_leaves_the_views_colours_unseen() -> None:
    view = render_pack(7, (160, 200))
    grey = cv2.cvtColor(cv2.cvtColor(view, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    pale = (0.5 * view + 60).astype(np.uint8)
    size = (160, 200)

    def unseen(crop: np.ndarray, of: np.ndarray) -> float:
        return Agreement(Placed(crop, of, np.eye(3), size, size)).colour_unseen

    assert unseen(grey, view) > 0.9
    assert unseen(view, view) == unseen(pale, view) == 0.0
    assert unseen(grey, grey) == 0.0, "nothing is missed of a view that has no colour"
