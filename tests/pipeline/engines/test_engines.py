from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from pipeline.engines import (
    Engine,
    batch_size,
    choose_engine,
    count_cuda_devices,
    load_engine,
    split_batch,
)
from pipeline.engines.engine_cache import converted_network, network_file
from pipeline.errors import EngineError, WeightsError
from pipeline.options import EngineOptions

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small embedder with random weights."""
    import torch

    from pipeline.engines.torch_embedder import EmbedderSpec, build_embedder
    from pipeline.engines.torch_networks import save_weights, spec_json

    torch.manual_seed(0)
    spec = EmbedderSpec(backbone="resnet10t", dim=32)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    metadata = {
        "kind": "embedder",
        "architecture": "resnet10t",
        "spec": spec_json(spec),
        "input_size_wh": "[128, 128]",
        "licence": "test",
    }
    save_weights(path, build_embedder(spec).state_dict(), metadata)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAGPIE_CACHE", str(cache))


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 128, 128, 3), np.uint8)


def test_openvino_and_torch_give_the_same_vectors(weights: Path) -> None:
    openvino = load_engine(weights, EngineOptions(engine="openvino", precision="f32"))
    torch = load_engine(weights, EngineOptions(engine="torch", device="cpu"))
    assert (openvino.name, openvino.device) == ("openvino", "cpu")
    assert (torch.name, torch.device) == ("torch", "cpu")
    for n in (0, 1, 3):
        (first,), (second,) = openvino(images(n)), torch(images(n))
        assert first.shape == second.shape == (n, 32) and first.dtype == np.float32
        assert np.abs(first - second).max(initial=0) < 2e-3


def test_batch_equals_single(weights: Path) -> None:
    for options in (EngineOptions(engine="openvino"), EngineOptions(engine="torch", device="cpu")):
        engine = load_engine(weights, options)
        rows = images(4)
        single = np.concatenate([engine(rows[i : i + 1])[0] for i in range(4)])
        assert np.abs(engine(rows)[0] - single).max() < 1e-5


@pytest.mark.parametrize("n_rows", [1, 3])  # compiled for one shape, and for any
def test_threads_that_call_at_once_get_each_their_own_answers(weights: Path, n_rows: int) -> None:
    engine = load_engine(weights, EngineOptions(device="cpu", threads=1, calls_at_once=2))
    assert engine.calls_at_once == 2
    rng = np.random.default_rng(0)
    asked = [rng.integers(0, 256, (n_rows, 128, 128, 3), np.uint8) for _ in range(12)]
    alone = [engine(rows)[0] for rows in asked]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(4):
            together = list(pool.map(lambda rows: engine(rows)[0], asked))
            for one, other in zip(alone, together, strict=True):
                np.testing.assert_array_equal(one, other)


def test_outputs_are_the_callers_own(weights: Path) -> None:
    engine = load_engine(weights, EngineOptions(engine="openvino"))
    first = engine(images(2))[0]
    kept = first.copy()
    engine(images(2)[::-1].copy())
    assert np.array_equal(first, kept)


SIGNAL_AFTER_TWO_ENGINES = """
import signal, sys
from pathlib import Path
from pipeline.engines import load_engine
from pipeline.options import EngineOptions

told = []
signal.signal(signal.SIGUSR1, lambda number, frame: told.append(number))
engines = [load_engine(Path(sys.argv[1]), EngineOptions(engine="openvino")) for _ in range(2)]
while engines:
    engines.pop(0)
signal.raise_signal(signal.SIGUSR1)
assert told == [signal.SIGUSR1]
"""


def test_a_signal_after_engines_have_come_and_gone_is_handled(weights: Path) -> None:
    """OpenVINO gave back a signal stack that it had freed: Ctrl-C after an evaluation crashed."""
    command = [sys.executable, "-c", SIGNAL_AFTER_TWO_ENGINES, str(weights)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_several_that_ask_at_once_convert_once(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MAGPIE_CACHE", str(tmp_path))
    with caplog.at_level("INFO"), ThreadPoolExecutor(3) as pool:
        paths = set(pool.map(lambda _: converted_network(weights), range(3)))
    assert len(paths) == 1 and paths.pop().is_file()
    assert sum("once" in record.message for record in caplog.records) == 1
    left = [p.name for p in (tmp_path / "engines").iterdir()]
    assert len(left) == 2, f"the network and its lock, nothing half-made: {left}"


def test_openvino_process_has_nothing_of_torch(weights: Path) -> None:
    converted_network(weights)
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from pipeline.engines import load_engine; from pipeline.options import EngineOptions\n"
        f"engine = load_engine(Path({str(weights)!r}), EngineOptions(engine='openvino'))\n"
        "engine(np.zeros((1, 128, 128, 3), np.uint8))\n"
        "import pipeline.matcher\n"
        "heavy = {'torch', 'torchvision', 'ultralytics', 'kornia', 'timm'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (EngineOptions(device="tpu"), "expected auto, cpu, cuda or cuda:N, got 'tpu'"),
        (EngineOptions(engine="openvino", device="cuda"), "runs on the CPU, got 'cuda'; set"),
        (EngineOptions(device="cuda:99"), r"this machine has \d+ CUDA devices, got 'cuda:99'; set"),
    ],
)
def test_what_cannot_be_had_is_said(options: EngineOptions, match: str) -> None:
    with pytest.raises(EngineError, match=match):
        choose_engine(options)


def test_auto_takes_what_is_there() -> None:
    has_cuda = count_cuda_devices() > 0
    expected = ("torch", "cuda:0") if has_cuda else ("openvino", "cpu")
    assert choose_engine(EngineOptions()) == expected
    assert choose_engine(EngineOptions(device="cpu")) == ("openvino", "cpu")
    assert choose_engine(EngineOptions(engine="torch", device="cpu")) == ("torch", "cpu")


def test_hidden_devices_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CUDA_VISIBLE_DEVICES", "")
    assert count_cuda_devices() == 0


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives(weights: Path) -> None:
    if count_cuda_devices() == 0:
        pytest.skip("no CUDA device")
    cpu = load_engine(weights, EngineOptions(engine="torch", device="cpu"))
    cuda = load_engine(weights, EngineOptions(device="cuda"))
    assert cuda.device == "cuda:0"
    assert np.abs(cpu(images(3))[0] - cuda(images(3))[0]).max() < 2e-3


def test_cache_that_cannot_be_written_is_said(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MAGPIE_CACHE", str(tmp_path / "file"))
    with pytest.raises(EngineError, match=r"engine cache: must be a folder .*MAGPIE_CACHE"):
        converted_network(weights)


def test_without_a_cache_networks_are_converted_for_each_start_and_that_is_said(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MAGPIE_CACHE", str(tmp_path / "file"))
    engine = load_engine(weights, EngineOptions(engine="openvino"))
    assert len(engine(images(2))[0]) == 2
    assert "MAGPIE_CACHE; until then each start converts" in caplog.text
    with network_file(weights) as network:
        assert network.is_file()
    assert not network.exists()


def test_weights_that_do_not_fit_their_header_are_said(tmp_path: Path, weights: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(weights.read_bytes().replace(b"resnet10t", b"resnet18x"))
    with pytest.raises(WeightsError, match="tensors and header must fit each other"):
        load_engine(broken, EngineOptions(engine="openvino"))
    with pytest.raises(WeightsError):
        load_engine(tmp_path / "none.safetensors", EngineOptions(engine="openvino"))


@pytest.mark.parametrize(("n", "expected"), [(0, []), (3, [3]), (4, [4]), (9, [4, 4, 1])])
def test_batches_are_split(n: int, expected: list[int]) -> None:
    assert [s.stop - s.start for s in split_batch(n, 4)] == expected


@pytest.mark.parametrize(
    ("device", "asked", "expected"), [("cpu", 0, 2), ("cuda:1", 0, 64), ("cpu", 5, 5)]
)
def test_a_network_call_has_the_rows_that_suit_its_device(
    device: str, asked: int, expected: int
) -> None:
    engine = SimpleNamespace(name="torch", device=device)
    assert batch_size(cast(Engine, engine), asked, cpu=2, gpu=64) == expected


def test_a_network_compiled_for_one_shape_gives_the_same_answers(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline.engines import openvino_engine

    pictures = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), np.uint8)
    free = load_engine(weights, EngineOptions(engine="openvino", precision="f32"))
    monkeypatch.setitem(openvino_engine.SHAPES_OF, "embedder", 1)
    fixed = load_engine(weights, EngineOptions(engine="openvino", precision="f32"))
    for rows in (pictures[:1], pictures[1:2], pictures, pictures[:0], pictures[2:]):
        (expected,), (found,) = free(rows), fixed(rows)
        assert found.shape == expected.shape == (len(rows), 32)
        assert np.allclose(found, expected, atol=1e-5)
