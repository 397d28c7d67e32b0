"""The whole matcher with the shipped weights on CUDA, held against the same on the CPU."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.material import Scene, draw_scene, packs_at, write_pictures
from catalog_tools.build import build_catalog
from catalog_tools.networks import load_networks
from pipeline.catalog import Catalog
from pipeline.color import planes_from_bgr
from pipeline.engines import count_cuda_devices
from pipeline.matcher import create_matcher
from pipeline.options import EmbedOptions, EngineOptions, MatcherOptions
from pipeline.types import U8, ColorRange, Frame, Phase

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not count_cuda_devices(), reason="no CUDA device"),
]
CPU = EngineOptions(engine="torch", device="cpu", threads=2)
CUDA = EngineOptions(device="cuda")
FPS, SAME_S = 5, 0.5
SCENE = Scene(size_wh=(1280, 720), fps=FPS, seconds=6.0, in_view=3, n_items=9)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"), SCENE.n_items)


@pytest.fixture(scope="module")
def images() -> list[U8]:
    """The scene's frames: packs that come and go."""
    return list(draw_scene(SCENE))


def build(pictures: Path, out: Path, engine: EngineOptions) -> Path:
    build_catalog(pictures, out, load_networks(engine, EmbedOptions()))
    return out


def told(images: list[U8], catalog: Path, engine: EngineOptions) -> list[tuple[str, str, float]]:
    """Return what appeared and left: (phase, item, s)."""
    matcher = create_matcher(MatcherOptions(engine=engine, lockstep=True), {"door": catalog})
    sightings = []
    for number, image in enumerate(images):
        y, u, v = planes_from_bgr(image)
        at_ns = round(number * 1e9 / FPS) + 1
        frame = Frame(
            "door", number, at_ns, at_ns, y, u, v,
            range=ColorRange.FULL, clock="file", media_ns=at_ns - 1,
        )  # fmt: skip
        sightings += matcher.match([frame])
    sightings += matcher.reset_camera("door")
    return [
        (str(s.phase), str(s.match.item_id), s.frame_number / FPS)
        for s in sightings
        if s.phase in (Phase.APPEARED, Phase.LEFT)
    ]


def test_a_catalog_built_on_cuda_describes_pictures_as_one_built_on_the_cpu(
    pictures: Path, tmp_path: Path
) -> None:
    found = [
        Catalog.load(build(pictures, tmp_path / name, engine), None).embeddings
        for name, engine in (("cpu", CPU), ("cuda", CUDA))
    ]
    assert found[0].shape == found[1].shape and len(found[0]) == SCENE.n_items
    assert np.sum(found[0] * found[1], axis=1).min() > 0.9995


def test_a_clip_on_cuda_tells_what_it_tells_on_the_cpu(
    pictures: Path, images: list[U8], tmp_path: Path
) -> None:
    catalog = build(pictures, tmp_path / "catalog", CPU)
    expected = told(images, catalog, CPU)
    found = told(images, catalog, CUDA)
    in_view = {f"pack-{n:05d}" for i in range(len(images)) for n, _ in packs_at(SCENE, i / FPS)}
    assert {item for _, item, _ in expected} == in_view
    assert sorted((p, i) for p, i, _ in found) == sorted((p, i) for p, i, _ in expected)
    for phase, item, at_s in found:
        times_s = [t for p, i, t in expected if (p, i) == (phase, item)]
        assert min(abs(at_s - t) for t in times_s) <= SAME_S, (phase, item)


def test_pictures_are_found_in_the_catalog_on_cuda(
    pictures: Path, images: list[U8], tmp_path: Path
) -> None:
    directory = build(pictures, tmp_path / "catalog", CUDA)
    matcher = create_matcher(MatcherOptions(engine=CUDA), {})
    catalog = matcher.load_catalog(directory)
    number, quad = packs_at(SCENE, 0.0)[0]
    (x0, y0), (x1, y1) = quad.min(0).astype(int), quad.max(0).astype(int)
    cut = images[0][y0:y1, x0:x1]
    results = matcher.match_pictures([cut, images[0]], catalog)
    assert results[0].ranked[0].item_id == f"pack-{number:05d}"
    shown = {f"pack-{n:05d}" for n, _ in packs_at(SCENE, 0.0)}
    assert {str(match.item_id) for match in results[1].matches} == shown
