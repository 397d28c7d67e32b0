"""Plain pictures on a plate, a card or a sheet: found by the corners of their border."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog_tools.build import build_catalog
from catalog_tools.synthesize.packs import render_pack
from pipeline.catalog import Catalog
from pipeline.color import frame_from_bgr
from pipeline.options import DetectOptions, MatcherOptions, VerifyOptions
from pipeline.panels import PanelFinder, find_quadrilaterals, join_panels, panel_of
from pipeline.types import Detections, Phase
from tests.fake_networks import EMBEDDER_SHA256, make_networks
from tests.pipeline.matcher_rig import make_matcher

SIDE_PX = 200
CORNERS = np.array([[0, 0], [SIDE_PX, 0], [SIDE_PX, SIDE_PX], [0, SIDE_PX]], np.float32)
PLACE = np.array([[300, 120], [395, 145], [370, 240], [280, 215]], np.float32)  # of the plate


def draw_flag() -> np.ndarray:
    """A dark flag on white, unlike itself in any other turn: (SIDE_PX, SIDE_PX, 3) uint8."""
    picture = np.full((SIDE_PX, SIDE_PX, 3), 255, np.uint8)
    cv2.rectangle(picture, (40, 30), (60, 170), (30, 30, 30), -1)
    cv2.fillPoly(picture, [np.array([[60, 30], [160, 60], [60, 95]], np.int32)], (30, 30, 30))
    return picture


def draw_ring() -> np.ndarray:
    """A white ring on black that touches the picture's sides."""
    picture = np.full((SIDE_PX, SIDE_PX, 3), 20, np.uint8)
    cv2.circle(picture, (100, 100), 85, (250, 250, 250), 25)
    cv2.circle(picture, (20, 20), 12, (250, 250, 250), -1)
    return picture


def draw_scene(picture: np.ndarray, place: np.ndarray = PLACE) -> np.ndarray:
    """The picture as a plate with a dark frame round it, askew on a soft ground, blurred, noisy."""
    noise = np.random.default_rng(3)
    ground = noise.integers(70, 150, (9, 16, 3), np.uint8)
    scene = cv2.resize(ground, (640, 360), interpolation=cv2.INTER_CUBIC)
    framed = cv2.copyMakeBorder(picture, 50, 50, 50, 50, cv2.BORDER_CONSTANT, value=(20, 20, 20))
    to_scene = cv2.getPerspectiveTransform(CORNERS + 50, place)
    cv2.warpPerspective(framed, to_scene, (640, 360), scene, borderMode=cv2.BORDER_TRANSPARENT)
    blurred = cv2.GaussianBlur(scene, (0, 0), 0.8).astype(np.int16)
    return (blurred + noise.normal(0, 3, scene.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of a flag, a ring and a pack."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "images").mkdir()
    drawn = {"flag": draw_flag(), "pack": render_pack(1, (220, 300)), "ring": draw_ring()}
    for name, picture in drawn.items():
        cv2.imwrite(str(folder / "images" / f"{name}.png"), picture)
    build_catalog(folder / "images", folder / "catalog", make_networks())
    return folder / "catalog"


@pytest.fixture(scope="module")
def finder(directory: Path) -> PanelFinder:
    return PanelFinder(Catalog.load(directory, EMBEDDER_SHA256))


def luma(scene: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(scene, cv2.COLOR_BGR2GRAY)


@pytest.mark.parametrize("turn", range(4))
def test_a_plate_is_found_with_its_turn(finder: PanelFinder, turn: int) -> None:
    """The catalog's flag was trimmed to its print: so is the outline on the plate."""
    panels = finder.find(luma(draw_scene(draw_flag(), np.roll(PLACE, turn, axis=0))))
    assert [panel.view_indices for panel in panels] == [(0,)]
    trimmed = np.array([[40, 30], [161, 30], [161, 171], [40, 171]], np.float32)
    to_scene = cv2.getPerspectiveTransform(CORNERS, np.roll(PLACE, turn, axis=0))
    expected = cv2.perspectiveTransform(trimmed[None], to_scene)[0]
    assert np.abs(panels[0].outline - expected).max() < 4


def test_a_print_of_the_colour_of_its_frame_is_found_by_what_lies_in_the_frame(
    finder: PanelFinder,
) -> None:
    panels = finder.find(luma(draw_scene(draw_ring())))
    assert [panel.view_indices for panel in panels] == [(2,)]
    assert panel_of(np.array([270, 110, 405, 250], np.float32), panels) is panels[0]


def test_other_plates_and_packs_are_no_panels(finder: PanelFinder) -> None:
    triangle = np.full((SIDE_PX, SIDE_PX, 3), 255, np.uint8)
    cv2.fillPoly(triangle, [np.array([[20, 180], [180, 180], [100, 20]], np.int32)], (30, 30, 30))
    mirrored = np.ascontiguousarray(draw_flag()[:, ::-1])
    blank = np.full((SIDE_PX, SIDE_PX, 3), 255, np.uint8)
    for picture in (triangle, mirrored, blank, render_pack(1, (SIDE_PX, SIDE_PX))):
        assert finder.find(luma(draw_scene(picture))) == []


def draw_shade(levels: int) -> np.ndarray:
    """What light does to a blank wall: brighter towards one corner, brightest beside it."""
    at = np.linspace(0, 1, SIDE_PX)
    lit = np.exp(-((at[:, None] - 0.2) ** 2 + (at[None] - 0.1) ** 2))
    return np.repeat((250 - levels * (1 - lit))[..., None], 3, axis=2).astype(np.uint8)


@pytest.mark.parametrize("levels", [120, 200])
def test_a_shade_on_a_blank_plate_is_like_no_picture_of_a_shaded_wall(
    levels: int, tmp_path: Path
) -> None:
    """Every plate has light on it: of 2,000 pool pictures the plain ones, skies and walls, were
    found in a third of the shop photos, and some told `exact`.
    """
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "wall.png"), draw_shade(120))
    cv2.imwrite(str(tmp_path / "images" / "flag.png"), draw_flag())
    build_catalog(tmp_path / "images", tmp_path / "catalog", make_networks())
    finder = PanelFinder(Catalog.load(tmp_path / "catalog", EMBEDDER_SHA256))
    assert finder.find(luma(draw_scene(draw_shade(levels)))) == []
    lit_flag = draw_flag() * (draw_shade(60) / 255.0)
    assert len(finder.find(luma(draw_scene(lit_flag.astype(np.uint8))))) == 1


def test_flat_and_tiny_pictures_have_no_borders(finder: PanelFinder) -> None:
    for size in ((360, 640), (4, 4), (60, 20)):
        assert find_quadrilaterals(np.full(size, 90, np.uint8)) == []
        assert finder.find(np.full(size, 90, np.uint8)) == []


@pytest.mark.parametrize("seed", range(6))
def test_noise_stripes_and_slivers_are_no_panels(finder: PanelFinder, seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (240, 320), np.uint8)
    stripes = np.where(np.arange(320) // rng.integers(2, 30) % 2, 30, 220).astype(np.uint8)
    slivers = np.full((240, 320), 200, np.uint8)
    for x in range(10, 300, 12):
        cv2.line(slivers, (x, 10), (x + int(rng.integers(5, 20)), 230), 20, 1)
    for picture in (noise, np.tile(stripes, (240, 1)), slivers):
        for outline in find_quadrilaterals(picture):
            assert outline.shape == (4, 2) and cv2.contourArea(outline) >= 128
        assert finder.find(picture) == []


def test_a_large_frame_gives_outlines_in_its_own_pixels(finder: PanelFinder) -> None:
    scene = cv2.resize(draw_scene(draw_ring()), (1920, 1080), interpolation=cv2.INTER_CUBIC)
    (panel,) = finder.find(luma(scene))
    assert np.abs(panel.outline.mean(axis=0) - 3 * PLACE.mean(axis=0)).max() < 9


def test_panels_join_the_detections_as_boxes(finder: PanelFinder) -> None:
    panels = finder.find(luma(draw_scene(draw_ring())))
    joined = join_panels(Detections.empty(), panels, (640, 360))
    assert len(joined) == 1 and joined.score[0] == pytest.approx(panels[0].likeness)
    assert panel_of(joined.xyxy[0], panels) is panels[0]
    assert join_panels(joined, [], (640, 360)) is joined


@pytest.mark.parametrize("is_on", [True, False])
def test_a_plain_picture_is_told_in_the_first_frame_unless_panels_are_off(
    directory: Path, is_on: bool
) -> None:
    """The network finds no box here, and the flag has too few keypoints for a homography."""
    detect = DetectOptions(whole_frame=False, panels=is_on)
    options = MatcherOptions(detect=detect, verify=VerifyOptions(method="rootsift"))
    matcher = make_matcher({"door": directory}, options)
    frame = frame_from_bgr(draw_scene(draw_flag()), camera="door")
    told = [(s.phase, s.match.item_id) for s in matcher.match([frame])]
    assert told == ([(Phase.APPEARED, "flag")] if is_on else [])


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("turns", [False, True])
def test_a_plain_picture_is_found_in_the_middle_of_a_photo(
    directory: Path, tmp_path: Path, turns: bool, turn: int
) -> None:
    """Also where the catalog holds each picture in four turns."""
    if turns:
        build_catalog(
            directory.parent / "images", tmp_path / "turned", make_networks(), turns=turns
        )
        directory = tmp_path / "turned"
    options = MatcherOptions(verify=VerifyOptions(method="rootsift"))
    matcher = make_matcher({"door": directory}, options)
    catalog = matcher.catalogs["door"]
    place = np.roll(PLACE, turn, axis=0) - PLACE.mean(axis=0) + (320, 180)
    (result,) = matcher.match_pictures([draw_scene(draw_flag(), place.astype(np.float32))], catalog)
    assert [match.item_id for match in result.matches] == ["flag"]


def test_signs_of_one_shape_are_told_by_their_colour(tmp_path: Path) -> None:
    """Grey thumbnails hardly tell them apart: each is checked."""
    signs = {name: draw_flag() for name in ("blue", "red")}
    signs["blue"][signs["blue"][..., 0] < 128] = (160, 40, 20)
    signs["red"][signs["red"][..., 0] < 128] = (20, 20, 130)
    (tmp_path / "images").mkdir()
    for name, picture in signs.items():
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), picture)
    build_catalog(tmp_path / "images", tmp_path / "catalog", make_networks())
    options = MatcherOptions(verify=VerifyOptions(method="rootsift"))
    for name, picture in signs.items():
        matcher = make_matcher({"door": tmp_path / "catalog"}, options)
        frame = frame_from_bgr(draw_scene(picture), camera="door")
        assert [s.match.item_id for s in matcher.match([frame])] == [name]
