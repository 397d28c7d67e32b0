"""Trainings end by the clock, go on where they stopped, and hand over weights that load."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from catalog_tools.train.batches_ahead import Clock, made_ahead
from catalog_tools.train.comparer import train_comparer
from catalog_tools.train.detector import (
    DetectorRecipe,
    begin_detector,
    measure_boxes,
    train_detector,
)
from catalog_tools.train.detector_batches import DetectorBatches
from catalog_tools.train.embedder import (
    EmbedderRecipe,
    begin_embedder,
    embed,
    settle_normalisation,
    train_embedder,
)
from catalog_tools.train.embedder_batches import EmbedderBatches
from catalog_tools.train.keypoints import train_keypoints
from catalog_tools.train.loop import Recipe, restore, train
from catalog_tools.train.matcher import train_matcher
from catalog_tools.train.options import (
    ComparerOptions,
    DetectorOptions,
    EmbedderOptions,
    KeypointsOptions,
    MatcherOptions,
    TrainOptions,
)
from catalog_tools.train.run import TrainingRun
from pipeline.engines import count_cuda_devices
from pipeline.engines.torch_embedder import EmbedderSpec, build_embedder
from pipeline.engines.torch_networks import (
    load_network,
    read_weights,
    save_weights,
    spec_json,
)
from pipeline.errors import ConfigError, WeightsError


@pytest.fixture
def small_pool(tmp_path: Path) -> Path:
    """Sixty random pictures of two sources."""
    rng = np.random.default_rng(0)
    for source in ("boofcv", "things"):
        (tmp_path / "pool" / source).mkdir(parents=True)
        for number in range(30):
            noise = cv2.resize(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8), (96, 72))
            cv2.imwrite(str(tmp_path / "pool" / source / f"{number}.png"), noise)
    return tmp_path / "pool"


def test_batches_made_ahead_come_in_order_from_the_first_step() -> None:
    made = made_ahead(lambda step: step * step, 3)
    assert [next(made) for _ in range(5)] == [9, 16, 25, 36, 49]
    made.close()


def test_error_while_making_a_batch_reaches_the_training() -> None:
    def make(step: int) -> int:
        if step == 2:
            raise ValueError("no such pack")
        return step

    made = made_ahead(make, 0)
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(ValueError, match="no such pack"):
        next(made)


def test_learning_rate_rises_then_falls(tmp_path: Path) -> None:
    run = TrainingRun("x", TrainOptions(pool=tmp_path, out=tmp_path, minutes=1e9))
    first = run.learning_rate(1.0)
    run.step = 1000
    assert first == pytest.approx(0.01) and run.learning_rate(1.0) == pytest.approx(1.0)
    over = TrainingRun("x", TrainOptions(pool=tmp_path, out=tmp_path, minutes=1e-12))
    over.step = 1000
    assert over.progress() == 1 and over.learning_rate(1.0) == pytest.approx(0.01)


def test_damaged_checkpoint_is_said(tmp_path: Path) -> None:
    run = TrainingRun("x", TrainOptions(pool=tmp_path, out=tmp_path, minutes=1))
    run.checkpoint_path.write_bytes(b"half")
    with pytest.raises(ConfigError, match=r"must be whole.*remove it"):
        run.load()


def test_measured_recall_and_precision_count_each_item_once() -> None:
    class TwoBoxes(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            rows = torch.tensor(
                [[0.0, 0, 10, 10, 0.9, 0], [0, 0, 10, 9, 0.8, 0], [0, 0, 5, 5, 0.1, 0]]
            )
            return rows[None]

    picture = np.zeros((32, 32, 3), np.uint8)
    truth = np.array([(0, 0, 10, 10), (20, 20, 30, 30)], np.float32)
    assert measure_boxes(TwoBoxes(), [picture], [truth]) == (0.5, 0.5)
    assert measure_boxes(TwoBoxes(), [picture], [truth], [np.array([0, 0])]) == (0.5, 0.5)
    assert measure_boxes(TwoBoxes(), [picture], [truth], [np.array([1, 0])]) == (0.0, 0.0)


class Counting(Recipe[int]):
    """Learns nothing; counts what the loop asks of it."""

    def __init__(self) -> None:
        layer = torch.nn.Linear(1, 1)
        super().__init__(layer, torch.optim.AdamW(layer.parameters()), 0.5)
        self.batches, self.rates = list[int](), list[float]()
        self.checks = 0

    def step(self, batch: int, progress: float) -> dict[str, float]:
        self.batches.append(batch)
        self.rates.append(self.optimizer.param_groups[0]["lr"])
        self.learn(self.network(torch.ones(1, 1)).sum(), 1.0)
        return {"loss": float(batch)}

    def check(self) -> dict[str, float]:
        self.checks += 1
        return {"recall": 0.5}


def run_counting(out: Path, minutes: float) -> tuple[TrainingRun, Counting]:
    run = TrainingRun("x", TrainOptions(pool=out, out=out, minutes=minutes, batch=2))
    recipe = Counting()
    restore(run, recipe, run.load())
    train(run, recipe, made_ahead(lambda step: step, run.step))
    return run, recipe


def test_loop_goes_on_at_the_step_and_time_where_it_stopped(tmp_path: Path) -> None:
    """1. train a moment; 2. train longer in the same folder. Result: next step, figures kept."""
    first, one = run_counting(tmp_path, 0.002)
    assert one.checks == 1 and one.batches == list(range(first.step))
    assert max(one.rates) < 0.5
    second, two = run_counting(tmp_path, 0.004)
    assert two.batches[0] == first.step and second.step > first.step
    assert second.elapsed_s() >= 0.004 * 60
    assert [row["step"] for row in second.figures if "recall" in row] == [first.step, second.step]
    assert second.draw_curve().is_file()


def test_split_results_are_gone_on_from(tmp_path: Path) -> None:
    first, recipe = run_counting(tmp_path, 0.001)
    first.save(recipe.state() | {"much": torch.zeros(400_000)})
    whole_bytes = first.checkpoint_path.stat().st_size
    options = TrainOptions(pool=tmp_path, out=tmp_path, minutes=1, split_mb=1)
    run = TrainingRun("x", options)
    weights = tmp_path / "small.safetensors"
    weights.write_bytes(b"small")
    run.split(weights)
    assert weights.is_file() and not run.checkpoint_path.exists()
    parts = [p for p in tmp_path.glob("x.checkpoint.pt.*") if p.suffix != ".parts"]
    assert len(parts) == 2 and sum(p.stat().st_size for p in parts) == whole_bytes
    state = run.load()
    assert state is not None and run.step == first.step


def test_checkpoint_of_another_network_is_said(tmp_path: Path) -> None:
    run_counting(tmp_path, 0.0001)
    other = Counting()
    other.network = torch.nn.Linear(2, 2)
    run = TrainingRun("x", TrainOptions(pool=tmp_path, out=tmp_path, minutes=1))
    with pytest.raises(ConfigError, match=r"must fit the options.*--fresh"):
        restore(run, other, run.load())


def test_photographs_get_vectors_that_differ_once_the_normalisation_has_settled_on_them() -> None:
    torch.manual_seed(0)
    network = build_embedder(EmbedderSpec(input_side_px=32))
    rng = np.random.default_rng(0)
    photos = [rng.integers(90, 160, (24, 40, 3)).astype(np.uint8) for _ in range(48)]

    def shared() -> float:
        return float(np.linalg.norm(embed(network, resized).mean(0)))

    resized = [cv2.resize(photo, (32, 32)) for photo in photos]
    before = shared()
    settle_normalisation(network, photos)
    assert before > 0.9 and shared() < 0.3
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize(
    ("backbone", "side", "told"),
    [("resnet34", None, "--backbone: the weights begun with have resnet18"), (None, 64, "")],
)
def test_embedder_begins_with_the_weights_and_their_spec(
    backbone: str | None, side: int | None, told: str, tmp_path: Path
) -> None:
    start = tmp_path / "mine.safetensors"
    network = build_embedder(EmbedderSpec(input_side_px=32))
    header = {"kind": "embedder", "architecture": "resnet18", "spec": spec_json(network.spec)}
    save_weights(start, network.state_dict(), header | {"input_size_wh": "32x32", "licence": "x"})
    options = EmbedderOptions(
        pool=tmp_path, out=tmp_path, minutes=1, start=start, backbone=backbone, side=side
    )
    if told:
        with pytest.raises(ConfigError, match=told):
            begin_embedder(options)
        return
    begun = begin_embedder(options)
    assert begun.spec == EmbedderSpec(input_side_px=64)
    expected = network.projection.weight.half().float()
    torch.testing.assert_close(begun.projection.weight, expected)
    with pytest.raises(WeightsError, match="must be weights of the detector"):
        begin_detector(start, ("item",))


def test_recipes_learn_in_bfloat16_as_on_a_gpu(small_pool: Path, tmp_path: Path) -> None:
    """Types that do not fit each other under autocast show on any device."""
    rng = np.random.default_rng(0)
    given = {"pool": small_pool, "out": tmp_path, "minutes": 1}
    embedder_options, clock = EmbedderOptions(**given), Clock(0.0, 0.0, 1e12)
    embedder_batches = EmbedderBatches(embedder_options, 64, clock)
    embedder = EmbedderRecipe(begin_embedder(embedder_options), embedder_batches, embedder_options)
    detector_batches = DetectorBatches(DetectorOptions(**given), clock)
    detector = DetectorRecipe(begin_detector(None, ("item",)), detector_batches, 1e-3, 2)
    images = rng.integers(0, 255, (4, 3, 64, 64)).astype(np.uint8)
    nothing = np.zeros((0, 5), np.float32)
    boxes = [np.array([[5, 5, 40, 50, 0], [30, 20, 60, 60, 0]], np.float32), *[nothing] * 3]
    with torch.autocast("cpu", torch.bfloat16):
        losses = embedder.step((images, np.array([0, 1, 0, 1])), 0.5)
        losses |= detector.step((images, boxes), 0.5) | detector.step((images, [nothing] * 4), 0.5)
    assert all(np.isfinite(list(losses.values())))
    networks = (embedder.network, detector.network)
    assert all(p.isfinite().all() for network in networks for p in network.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train_network", "kind", "shape"),
    [
        (train_embedder, EmbedderOptions, (1, 256)),
        (train_detector, DetectorOptions, (1, 300, 6)),
        (train_comparer, ComparerOptions, (1,)),
    ],
)
def test_training_stops_resumes_and_hands_over_weights(
    train_network: Callable[..., Path],
    kind: type[TrainOptions],
    shape: tuple[int, ...],
    small_pool: Path,
    tmp_path: Path,
) -> None:
    """1. train for a moment; 2. train longer on the same folder. Result: it goes on, and loads."""
    options = kind(pool=small_pool, out=tmp_path / "out", minutes=0.0001, batch=4, check_count=2)
    first = train_network(options)
    steps = int(read_weights(first)[0]["steps"])
    assert steps >= 1
    again = train_network(options.model_copy(update={"minutes": 0.0002}))
    metadata, _ = read_weights(again)
    assert int(metadata["steps"]) > steps
    assert "--minutes" in metadata["trained_with"] and metadata["licence"] == "AGPL-3.0-or-later"
    pictures = [torch.rand(1, 3, 128, 128)]
    if kind is ComparerOptions:
        laid = [torch.rand(1, 3, 128, 128), torch.ones(1, 1, 128, 128)]
        pictures += [*laid, *laid]  # a crop, and a near-twin
    with torch.inference_mode():
        assert load_network(again)(*pictures).shape == shape
    assert len(list(options.out.glob("*.png"))) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not count_cuda_devices(), reason="needs a CUDA device")
def test_a_step_on_cuda_learns_what_it_is_shown(small_pool: Path, tmp_path: Path) -> None:
    """The embedder's loss on one batch, shown again and again, falls."""
    rng = np.random.default_rng(0)
    options = EmbedderOptions(pool=small_pool, out=tmp_path, minutes=1, device="cuda")
    batches = EmbedderBatches(options, 64, Clock(0.0, 0.0, 1e12))
    torch.manual_seed(0)
    recipe = EmbedderRecipe(begin_embedder(options).to("cuda"), batches, options)
    assert recipe.device.type == "cuda"
    images = rng.integers(0, 255, (8, 3, 64, 64)).astype(np.uint8)
    labels = np.array([0, 1, 2, 3, 0, 1, 2, 3])
    losses = [recipe.step((images, labels), 0.5)["loss"] for _ in range(12)]
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert all(p.isfinite().all() and p.is_cuda for p in recipe.network.parameters())


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not count_cuda_devices(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    ("train_network", "kind"),
    [
        (train_embedder, EmbedderOptions),
        (train_detector, DetectorOptions),
        (train_matcher, MatcherOptions),
        (train_comparer, ComparerOptions),
        (train_keypoints, KeypointsOptions),
    ],
)
def test_training_on_cuda_with_processes_goes_on_and_hands_over_weights(
    train_network: Callable[..., Path], kind: type[TrainOptions], small_pool: Path, tmp_path: Path
) -> None:
    options = kind(
        pool=small_pool,
        out=tmp_path,
        minutes=0.05,
        batch=8,
        check_count=2,
        device="cuda",
        workers=2,
    )
    steps = int(read_weights(train_network(options))[0]["steps"])
    longer = train_network(options.model_copy(update={"minutes": 0.1}))
    metadata, state = read_weights(longer)
    assert int(metadata["steps"]) > steps
    assert all(torch.isfinite(t).all() for t in state.values() if t.is_floating_point())
