"""Where networks run. Stages see `engine(*arrays) -> arrays`; nothing else of a framework.

`load_engine` gives the torch engine (CPU or CUDA) or the OpenVINO engine (the default on a CPU,
which imports nothing of torch). Importing this package loads neither.
"""

from __future__ import annotations

import ctypes
import logging
import os
import platform
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from pipeline.errors import EngineError
from pipeline.options import EngineOptions

Array = NDArray[Any]

TAKE_PICTURES = ("detector", "embedder")  # kinds whose input is (B, h, w, 3) uint8 RGB

log = logging.getLogger(__name__)


class Engine(Protocol):
    """A network on a device.

    name: "openvino" or "torch". device: "cpu", "cuda:0", … calls_at_once: by as many threads.
    """

    name: str
    device: str
    calls_at_once: int

    def __call__(self, *arrays: Array) -> tuple[Array, ...]:
        """Run the network; the first axis of every array is the batch, which may be empty.

        Networks of TAKE_PICTURES are given bytes: the engine makes them 0..1, planes first.
        """
        ...


def load_engine(weights: Path, options: EngineOptions) -> Engine:
    """Return the network of a weights file, ready to run where the options say.

    Raises EngineError when the asked engine or device is not there, WeightsError when the file
    is not what it should be. The first use of a file with OpenVINO converts it once (seconds).
    """
    name, device = choose_engine(options)
    if name == "openvino":
        from pipeline.engines.openvino_engine import OpenVinoEngine

        engine: Engine = OpenVinoEngine(weights, options)
    else:
        from pipeline.engines.torch_engine import TorchEngine

        engine = TorchEngine(weights, options, device)
    log.info("%s runs on %s, %s", weights.name, engine.name, engine.device)
    return engine


def choose_engine(options: EngineOptions) -> tuple[str, str]:
    """Return (engine, device) for what was asked; EngineError when they are not to be had."""
    asked = options.device
    wants_cuda = asked == "cuda" or asked.startswith("cuda:")
    if not wants_cuda and asked not in ("auto", "cpu"):
        raise EngineError.at("engine.device", "expected auto, cpu, cuda or cuda:N", asked)
    if wants_cuda and options.engine == "openvino":
        raise EngineError.at(
            "engine.device",
            "the openvino engine runs on the CPU",
            asked,
            "set engine.engine to torch or auto",
        )
    if wants_cuda:
        n_devices = count_cuda_devices()
        index = asked.partition(":")[2] or "0"
        if not index.isdecimal() or int(index) >= n_devices:
            raise EngineError.at(
                "engine.device",
                f"this machine has {n_devices} CUDA devices",
                asked,
                "set it to auto or cpu, or install the NVIDIA driver",
            )
        return "torch", f"cuda:{index}"
    if asked == "auto" and options.engine != "openvino" and count_cuda_devices() > 0:
        return "torch", "cuda:0"
    return ("torch" if options.engine == "torch" else "openvino"), "cpu"


def count_cuda_devices() -> int:
    """Return how many CUDA devices the driver offers, without loading torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return 0
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def hardware_precision() -> str:
    """Return "bf16" where this CPU computes in it, else "f32" (emulated bf16 is 15x slower)."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "f32"
    flags = set(text.split())
    wanted = {"avx512_bf16", "amx_bf16"} if platform.machine() == "x86_64" else {"bf16"}
    return "bf16" if flags & wanted else "f32"


def batch_size(engine: Engine, asked: int, cpu: int, gpu: int) -> int:
    """Return the rows of a network call that were asked for; 0: what suits the device.

    On a CPU a large batch costs memory and saves little time: pairs one by one take 2 ms more
    each than in twos, and 15 MB less.
    """
    return asked or (gpu if engine.device.startswith("cuda") else cpu)


def split_batch(n_rows: int, largest: int) -> list[slice]:
    """Return slices that cut n_rows into pieces of at most `largest` rows."""
    return [slice(start, min(start + largest, n_rows)) for start in range(0, n_rows, largest)]
