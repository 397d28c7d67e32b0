"""The shipped networks on CUDA: what the CPU gives, in full and in half precision, from any thread.

`cpu` stands beside each: the half precisions are tested there as well, where torch has them.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from benchmarks.network_cases import draw_inputs, shapes_of
from pipeline.engines import count_cuda_devices
from pipeline.engines.torch_engine import TorchEngine
from pipeline.options import EngineOptions
from pipeline.types import F32
from pipeline.weights import SHIPPED_DIR, SHIPPED_NAMES, Kind, find_weights

KINDS: tuple[Kind, ...] = ("detector", "embedder", "matcher", "comparer")
DEVICES = [
    "cpu",
    pytest.param("cuda:0", marks=pytest.mark.gpu),
]

pytestmark = pytest.mark.skipif(
    not all((SHIPPED_DIR / f"{SHIPPED_NAMES[kind]}.safetensors").is_file() for kind in KINDS),
    reason="the shipped weights are not in weights/",
)


@pytest.fixture(autouse=True)
def need_device(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("gpu") and not count_cuda_devices():
        pytest.skip("no CUDA device")


def engine_of(kind: Kind, device: str, precision: str | None) -> TorchEngine:
    return TorchEngine(find_weights(kind), EngineOptions(threads=1), device, precision)


def difference(kind: Kind, found: Sequence[F32], expected: Sequence[F32]) -> float:
    """The greatest difference of what counts: px of the surest box, a vector's way from another,
    a probability, a log-odds.
    """
    (a,), (b,) = found, expected
    if kind == "detector":
        return max(
            float(np.abs(one[:1] - other[:1]).max()) for one, other in zip(a, b, strict=True)
        )
    if kind == "embedder":
        return float(np.linalg.norm(a - b, axis=1).max())
    return float(np.abs(a - b).max())


EXACT = {"detector": 0.05, "embedder": 2e-3, "matcher": 2e-3, "comparer": 0.02}


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 5])
def test_f32_on_cuda_gives_what_the_cpu_gives(kind: Kind, batch: int) -> None:
    for shape in shapes_of(kind):
        inputs = draw_inputs(kind, batch, shape)
        expected = engine_of(kind, "cpu", "f32")(*inputs)
        found = engine_of(kind, "cuda:0", "f32")(*inputs)
        assert found[0].shape == expected[0].shape and found[0].dtype == np.float32
        assert difference(kind, found, expected) < EXACT[kind]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("kind", "precision", "limit"),
    [
        ("detector", "f16", 0.5),
        ("detector", "bf16", 2.0),
        ("embedder", "f16", 0.02),
        ("embedder", "bf16", 0.1),
    ],
)
def test_half_precision_stays_near_f32(
    device: str, kind: Kind, precision: str, limit: float
) -> None:
    inputs = draw_inputs(kind, 2, shapes_of(kind)[0])
    expected = engine_of(kind, device, "f32")(*inputs)
    found = engine_of(kind, device, precision)(*inputs)
    assert found[0].dtype == np.float32
    assert 0 < difference(kind, found, expected) < limit
    if kind == "embedder":
        assert np.abs(np.linalg.norm(found[0], axis=1) - 1).max() < 1e-5


@pytest.mark.gpu
def test_on_cuda_detector_and_embedder_compute_in_half_floats_unless_f32_is_asked() -> None:
    automatic = {kind: TorchEngine(find_weights(kind), EngineOptions(), "cuda:0") for kind in KINDS}
    found = {kind: engine.precision for kind, engine in automatic.items()}
    assert found == {"detector": "f16", "embedder": "f16", "matcher": "f32", "comparer": "f32"}
    asked = TorchEngine(find_weights("embedder"), EngineOptions(precision="f32"), "cuda:0")
    assert asked.precision == "f32"


@pytest.mark.parametrize("device", DEVICES)
def test_an_empty_batch_gives_an_empty_answer(device: str) -> None:
    for kind in KINDS:
        inputs = draw_inputs(kind, 1, shapes_of(kind)[0])
        (one,) = engine_of(kind, device, None)(*inputs)
        (none,) = engine_of(kind, device, None)(*(array[:0] for array in inputs))
        assert none.shape == (0, *one.shape[1:])


@pytest.mark.parametrize("device", DEVICES)
def test_two_threads_get_what_each_asked_for(device: str) -> None:
    """The lanes call at once; on CUDA each network has a stream of its own."""
    embedder = engine_of("embedder", device, None)
    comparer = engine_of("comparer", device, None)
    asked = [draw_inputs("embedder", 3, shapes_of("embedder")[0], seed) for seed in range(4)]
    laid = [draw_inputs("comparer", 2, (160, 160), seed) for seed in range(4)]
    expected = [embedder(*one)[0] for one in asked], [comparer(*one)[0] for one in laid]
    assert np.abs(expected[0][0] - expected[0][1]).max() > 1e-3
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lambda: [embedder(*one)[0] for one in asked * 3])
        second = pool.submit(lambda: [comparer(*one)[0] for one in laid * 3])
        found = first.result(), second.result()
    for lane in (0, 1):
        for number, rows in enumerate(found[lane]):
            assert np.abs(rows - expected[lane][number % 4]).max() < 5e-3
