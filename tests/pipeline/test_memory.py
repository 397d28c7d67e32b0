"""What keeps the matcher's memory small: faiss without cuBLAS, pages given back after loading."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

SEARCHES = """
import numpy as np
from pathlib import Path
from pipeline.identify.search import faiss
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
import mmap, sys
from pathlib import Path
from pipeline.library_pages import give_back_pages
def resident_kib():
    (line,) = (t for t in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in t)
    return int(line.split()[1])
with open(sys.argv[1], "rb") as file:
    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
content = sum(mapped[:: mmap.PAGESIZE])
before = resident_kib()
give_back_pages()
print(before - resident_kib())
assert sum(mapped[:: mmap.PAGESIZE]) == content
"""


def run(program: str, *arguments: str, **environment: str) -> str:
    command = [sys.executable, "-c", "import pipeline.offline\n" + program, *arguments]
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
def test_a_faiss_that_cannot_do_without_cublas_gets_it_at_the_second_try() -> None:
    """Symbols that must be there at once, as another build may want them, are not."""
    program = "import os, pipeline.cublas_left_out\nos.RTLD_LAZY = os.RTLD_NOW\n" + SEARCHES
    assert run(program) == "True"


@needs_cuda_faiss
def test_torch_loads_its_own_libraries_after_faiss_did_without() -> None:
    program = """from pipeline.identify.search import faiss
import torch
print(torch.ones(3).sum().item())"""
    assert run(program) == "3.0"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_of_a_mapped_file_are_given_back_and_can_be_read_again(tmp_path: Path) -> None:
    (tmp_path / "library").write_bytes(os.urandom(2**25))
    given_back_kib = int(run(GIVES_BACK, str(tmp_path / "library")))
    assert given_back_kib > 24 * 1024
