"""What keeps the matcher's memory small: faiss without cuBLAS, pages given back after loading."""

import importlib.metadata
import os
import subprocess
import sys

import pytest

SEARCHES = """
import numpy as np
from pathlib import Path
from pipeline.search import faiss
vectors = np.eye(64, dtype=np.float32).repeat(4, 0)
for kind in ("Flat", "IVF4,SQfp16"):
    index = faiss.index_factory(64, kind, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    similarity, rows = index.search(vectors[:3], 2)
    assert (rows // 4 == 0).all(), rows
print("nvidia/cublas" in Path("/proc/self/maps").read_text())
"""

GIVES_BACK = """
from pathlib import Path
import cv2, openvino
from pipeline.library_pages import give_back_pages
def private_kib():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: int(value) for name, value, *_ in (line.split() for line in lines)}
    return sizes["Private_Clean:"] + sizes["Private_Dirty:"]
before = private_kib()
give_back_pages()
print(before - private_kib())
assert cv2.getNumThreads() and openvino.Core().available_devices
"""


def run(program: str, **environment: str) -> str:
    command = [sys.executable, "-c", "import pipeline.offline\n" + program]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def has_cuda_faiss() -> bool:
    try:
        importlib.metadata.version("faiss-gpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


needs_cuda_faiss = pytest.mark.skipif(not has_cuda_faiss(), reason="faiss-gpu is not installed")


@needs_cuda_faiss
def test_faiss_searches_and_trains_without_cublas() -> None:
    assert run(SEARCHES) == "False"


@needs_cuda_faiss
def test_faiss_loads_cublas_where_leaving_it_out_is_not_safe() -> None:
    # An empty LD_BIND_NOW binds nothing at once; it is the sign that somebody uses the variable.
    assert run(SEARCHES, LD_BIND_NOW="") == "True"


@needs_cuda_faiss
def test_torch_loads_its_own_libraries_after_faiss_did_without() -> None:
    program = "from pipeline.search import faiss\nimport torch\nprint(torch.ones(3).sum().item())"
    assert run(program) == "3.0"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_given_back_are_megabytes_and_libraries_still_work() -> None:
    assert int(run(GIVES_BACK)) > 5 * 1024
