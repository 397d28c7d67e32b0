"""Trainings end by the clock, go on where they stopped, and hand over weights that load."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from catalog_tools.pool import LabelledPicture
from catalog_tools.train_detector import measure_boxes, real_scene, train_detector
from catalog_tools.train_embedder import camera_view, clean_view, train_embedder
from catalog_tools.training import TrainingRun, check_options, made_ahead
from pipeline.engines.torch_networks import load_network, read_weights
from pipeline.errors import ConfigError


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


@pytest.mark.parametrize(("key", "value"), [("minutes", 0), ("threads", 0), ("seed", -1)])
def test_wrong_option_is_named(key: str, value: int, tmp_path: Path) -> None:
    given = {"pool": tmp_path, "out": tmp_path, "minutes": 1.0, key: value}
    with pytest.raises(ConfigError, match=f"--{key}: .*got '{value}'"):
        check_options(**given)


def test_learning_rate_rises_then_falls(tmp_path: Path) -> None:
    run = TrainingRun("x", check_options(pool=tmp_path, out=tmp_path, minutes=1e9))
    first = run.learning_rate(1.0)
    run.step = 1000
    assert first == pytest.approx(0.01) and run.learning_rate(1.0) == pytest.approx(1.0)
    over = TrainingRun("x", check_options(pool=tmp_path, out=tmp_path, minutes=1e-12))
    over.step = 1000
    assert over.progress() == 1 and over.learning_rate(1.0) == pytest.approx(0.01)


def test_damaged_checkpoint_is_said(tmp_path: Path) -> None:
    run = TrainingRun("x", check_options(pool=tmp_path, out=tmp_path, minutes=1))
    run.checkpoint_path.write_bytes(b"half")
    with pytest.raises(ConfigError, match=r"must be whole.*remove it"):
        run.load()


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


def test_real_scene_moves_boxes_with_the_pixels() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[20:60, 50:150] = 255
    share = np.array([[0.25, 0.2, 0.75, 0.6]], np.float32)
    labelled = LabelledPicture(bytes(cv2.imencode(".png", image)[1]), share)
    for seed in range(8):
        out, boxes = real_scene(np.random.default_rng(seed), labelled, (160, 96))
        assert out.shape == (96, 160, 3)
        assert len(boxes) == 1
        for x0, y0, x1, y1 in boxes.round().astype(int):
            inside = out[y0 + 3 : y1 - 3, x0 + 3 : x1 - 3]
            assert inside.mean() > 130, seed
            out[y0:y1, x0:x1] = 0
            assert (out > 190).mean() < 0.03, seed


def test_measured_recall_and_precision_count_each_item_once() -> None:
    import torch

    class TwoBoxes(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            rows = torch.tensor(
                [[0.0, 0, 10, 10, 0.9, 0], [0, 0, 10, 9, 0.8, 0], [0, 0, 5, 5, 0.1, 0]]
            )
            return rows[None]

    picture = np.zeros((32, 32, 3), np.uint8)
    truth = np.array([(0, 0, 10, 10), (20, 20, 30, 30)], np.float32)
    assert measure_boxes(TwoBoxes(), [picture], [truth]) == (0.5, 0.5)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("train", "shape"), [(train_embedder, (1, 256)), (train_detector, (1, 300, 6))]
)
def test_training_stops_resumes_and_hands_over_weights(
    train: Callable[..., Path], shape: tuple[int, ...], small_pool: Path, tmp_path: Path
) -> None:
    """1. train for a moment; 2. train longer on the same folder. Result: it goes on, and loads."""
    import torch

    out = tmp_path / "out"
    first = train(small_pool, out, minutes=0.0001, batch=4, check_count=2)
    steps = int(read_weights(first)[0]["steps"])
    assert steps >= 1
    again = train(small_pool, out, minutes=0.0002, batch=4, check_count=2)
    metadata, _ = read_weights(again)
    assert int(metadata["steps"]) > steps
    assert "--minutes" in metadata["trained_with"] and metadata["licence"] == "AGPL-3.0-or-later"
    with torch.inference_mode():
        assert load_network(again)(torch.rand(1, 3, 128, 128)).shape == shape
    assert len(list(out.glob("*.png"))) == 1
