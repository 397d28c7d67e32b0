from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import CatalogError
from pipeline.identify.search import Searcher, build_index, read_index, write_index
from pipeline.options import SearchOptions
from pipeline.types import F32, ItemId


def unit(rng: np.random.Generator, n: int, dim: int = 64) -> F32:
    rows = rng.standard_normal((n, dim), dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def rows() -> F32:
    return unit(np.random.default_rng(0), 600)


def searcher(rows: F32, view_item: np.ndarray, options: SearchOptions) -> Searcher:
    ids = [ItemId(f"item {i}") for i in range(int(view_item.max()) + 1)]
    return Searcher(build_index(rows, options), view_item.astype(np.int32), ids, options)


def test_shortlist_is_each_items_best_view_as_a_naive_search_finds_it(rows: F32) -> None:
    rng = np.random.default_rng(1)
    view_item = rng.integers(0, 150, len(rows))
    queries = unit(rng, 7)
    found = searcher(rows, view_item, SearchOptions(k=9)).search(queries)
    for query, shortlist in zip(queries, found, strict=True):
        cosine = rows @ query
        best = {item: cosine[view_item == item].max() for item in set(view_item.tolist())}
        expected = sorted(best, key=lambda item: -best[item])[:9]
        assert [c.item_id for c in shortlist] == [f"item {i}" for i in expected]
        for proposal in shortlist:
            assert proposal.similarity == pytest.approx(cosine[proposal.view_index], abs=1e-5)


def test_one_item_with_many_views_does_not_crowd_out_the_others(rows: F32) -> None:
    view_item = np.r_[np.zeros(590, int), np.arange(1, 11)]
    shortlist = searcher(rows, view_item, SearchOptions(k=5)).search(rows[:1])[0]
    assert len({c.item_id for c in shortlist}) == 5 and shortlist[0].item_id == "item 0"


def test_fewer_items_than_asked_gives_all(rows: F32) -> None:
    view_item = np.arange(600) % 3
    assert len(searcher(rows, view_item, SearchOptions()).search(rows[:1])[0]) == 3


def test_nothing_asked_is_nothing_found(rows: F32) -> None:
    assert searcher(rows, np.arange(600), SearchOptions()).search(rows[:0]) == []


def test_approximate_index_finds_near_copies() -> None:
    rng = np.random.default_rng(2)
    rows = unit(rng, 4000)
    noisy = rows[::40] + 0.03 * rng.standard_normal((100, 64), dtype=np.float32)
    noisy /= np.linalg.norm(noisy, axis=1, keepdims=True)
    options = SearchOptions(exact_up_to_views=1000)
    found = searcher(rows, np.arange(4000), options).search(noisy)
    hits = [s[0].item_id == f"item {40 * i}" for i, s in enumerate(found)]
    assert np.mean(hits) >= 0.97


@pytest.mark.parametrize("exact_up_to_views", [100_000, 100])
def test_index_comes_back_from_its_file(rows: F32, tmp_path: Path, exact_up_to_views: int) -> None:
    path = tmp_path / "index.faiss"
    index = build_index(rows, SearchOptions(exact_up_to_views=exact_up_to_views))
    write_index(index, path)
    again = read_index(path, *rows.shape)
    assert np.array_equal(index.search(rows[:9], 5)[1], again.search(rows[:9], 5)[1])


def test_damaged_and_foreign_index_is_refused(rows: F32, tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    write_index(build_index(rows, SearchOptions()), path)
    with pytest.raises(CatalogError, match="expected 700 rows of 64 numbers, got '600 of 64'; "):
        read_index(path, 700, 64)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CatalogError, match="expected a whole faiss index"):
        read_index(path, 600, 64)


def test_a_full_disk_is_an_error_and_not_half_an_index(
    rows: F32, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OSError, match="No space left"):
        write_index(build_index(rows[:100], SearchOptions()), Path("/dev/full"))
    assert capfd.readouterr() == ("", "")


def test_an_index_lies_in_a_folder_of_another_encoding(tmp_path: Path, rows: F32) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    write_index(build_index(rows, SearchOptions()), folder / "index.faiss")
    assert read_index(folder / "index.faiss", len(rows), rows.shape[1]).ntotal == len(rows)
    with pytest.raises(CatalogError, match=r"caf.udce9.missing'?: expected a whole faiss index"):
        read_index(folder / "missing", 1, 1)


def test_half_floats_find_what_whole_ones_find(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    rows = unit(rng, 3000)
    queries = rows[::50] + 0.05 * rng.standard_normal((60, 64), dtype=np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    items = np.arange(len(rows))
    whole = searcher(rows, items, SearchOptions(k=1)).search(queries)
    monkeypatch.setattr("pipeline.identify.search.FULL_PRECISION_VIEWS", 100)
    halves = searcher(rows, items, SearchOptions(k=1)).search(queries)
    assert [found[0].item_id for found in halves] == [found[0].item_id for found in whole]
    assert halves[0][0].similarity == pytest.approx(whole[0][0].similarity, abs=1e-3)


THREADS_AFTER = """
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from pipeline.identify.search import Searcher, build_index, faiss
from pipeline.options import SearchOptions
from pipeline.types import ItemId

def threads_after(asked):
    rows, options = np.eye(8, dtype=np.float32), SearchOptions(threads=asked)
    ids = [ItemId(str(i)) for i in range(8)]
    searcher = Searcher(build_index(rows, options), np.arange(8, dtype=np.int32), ids, options)
    searcher.search(rows[:1])
    return faiss.omp_get_max_threads()

for asked in (1, 2, 1):
    with ThreadPoolExecutor(1) as other:
        print(other.submit(threads_after, asked).result())
"""


def test_a_search_uses_the_threads_that_are_asked_for_in_whichever_thread_it_runs() -> None:
    """In a process of its own: once torch is loaded beside it, faiss sets the threads of one OpenMP
    runtime and may be told of another's.
    """
    done = subprocess.run(
        [sys.executable, "-c", THREADS_AFTER],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["1", "2", "1"]
