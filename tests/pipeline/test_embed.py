from __future__ import annotations

import numpy as np
import pytest

from pipeline.embed import Embedder
from pipeline.options import EmbedOptions
from tests.fake_networks import ColorsEngine


def pictures(n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    sizes = [(int(rng.integers(1, 300)), int(rng.integers(1, 300))) for _ in range(n)]
    return [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in sizes]


@pytest.mark.parametrize(("n", "batches"), [(0, []), (3, [3]), (8, [4, 4]), (9, [4, 4, 1])])
def test_one_vector_a_picture_in_batches(n: int, batches: list[int]) -> None:
    engine = ColorsEngine()
    vectors = Embedder(engine, EmbedOptions(batch=4)).embed(pictures(n))
    assert vectors.shape == (n, 256) and vectors.dtype == np.float32
    assert engine.batches == batches


def test_batch_equals_single() -> None:
    embedder = Embedder(ColorsEngine(), EmbedOptions(batch=4))
    images = pictures(6)
    single = np.concatenate([embedder.embed([image]) for image in images])
    assert np.array_equal(embedder.embed(images), single)


def test_network_sees_red_first() -> None:
    class FirstChannel(ColorsEngine):
        def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
            return (arrays[0].mean(axis=(1, 2)) / 255,)

    red_bgr = np.zeros((40, 30, 3), np.uint8)
    red_bgr[..., 2] = 255
    vector = Embedder(FirstChannel(), EmbedOptions()).embed([red_bgr])[0]
    assert vector.tolist() == [1.0, 0.0, 0.0]


def test_the_input_is_as_large_as_the_network_says() -> None:
    class Shapes(ColorsEngine):
        def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
            shapes.append(arrays[0].shape)
            return super().__call__(*arrays)

    shapes: list[tuple[int, ...]] = []
    embedder = Embedder(Shapes(), EmbedOptions(), side_px=224)
    embedder.embed(pictures(1))
    embedder.embed([])
    assert shapes == [(1, 224, 224, 3), (0, 224, 224, 3)]


def test_a_letterboxed_picture_keeps_its_shape_in_the_middle_of_grey() -> None:
    class Inputs(ColorsEngine):
        def __call__(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
            inputs.append(arrays[0])
            return super().__call__(*arrays)

    inputs: list[np.ndarray] = []
    embedder = Embedder(Inputs(), EmbedOptions(), side_px=64, fit="letterbox")
    embedder.embed([np.full((20, 80, 3), 255, np.uint8)])
    wide = inputs[0][0]
    assert (wide[:24] == 128).all() and (wide[40:] == 128).all()
    assert (wide[24:40] == 255).all()
