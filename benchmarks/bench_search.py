"""How fast and how exact the shortlist's search is by the catalog's size: `magpie bench search`.

Drawn unit vectors of 256 numbers that lie as embeddings do: near a space of fewer directions, in
families. Asked are listed vectors as a camera would give them, a little beside. Recall@1 is held
against the exact search. Prints a table, writes JSON and draws both by size.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.harness import percentiles, write_result
from benchmarks.plots import draw_search
from pipeline.identify.search import Searcher, build_index
from pipeline.options import SearchOptions
from pipeline.types import F32, ItemId

SIZES = (1_000, 10_000, 100_000, 1_000_000)
DIM = 256
_LATENT, _FAMILY = 48, 8  # directions; vectors in a family
_N_QUERIES = 400
_CHUNK = 100_000


def run_benchmark(out: Path, sizes: Sequence[int] = SIZES, seconds: float = 2.0) -> Path:
    """Measure each size for `seconds` by single queries; return the JSON's path."""
    rows = []
    for size in sizes:
        rows.append(_measure(size, seconds))
        print_rows(rows[-1:])
    config = {"dim": DIM, "sizes": list(sizes), "exact_up_to": SearchOptions().exact_up_to_views}
    path = write_result(out, "search", config, {"sizes": rows})
    draw_search(rows, path.with_suffix(".png"))
    print(path)
    return path


def draw_vectors(n: int, seed: int = 0) -> F32:
    """Return (n, DIM) float32 unit vectors in families of siblings."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((DIM, _LATENT)))[0].astype(np.float32)
    vectors = np.empty((n, DIM), np.float32)
    for start in range(0, n, _CHUNK):
        rows = min(_CHUNK, n - start)
        families = rng.standard_normal((-(-rows // _FAMILY), _LATENT), np.float32)
        own = rng.standard_normal((rows, _LATENT), np.float32)
        latent = np.repeat(families, _FAMILY, axis=0)[:rows] + np.float32(0.6) * own
        part = latent @ directions.T
        part += np.float32(0.15) * rng.standard_normal((rows, DIM), np.float32)
        vectors[start : start + rows] = part / np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def ask_beside(vectors: F32, n: int, seed: int = 1) -> F32:
    """Return (n, DIM) float32 unit vectors a little beside listed ones."""
    rng = np.random.default_rng(seed)
    asked = vectors[rng.integers(0, len(vectors), n)]
    asked = asked + np.float32(0.45) * rng.standard_normal(asked.shape, np.float32) / DIM**0.5
    return np.asarray(asked / np.linalg.norm(asked, axis=1, keepdims=True), np.float32)


def recall_at_1(found: Sequence[Any], vectors: F32, queries: F32) -> float:
    """Return the share of queries whose first is the exact search's.

    found: a shortlist a query. vectors: (V, D) and queries: (N, D) float32 unit vectors.
    """
    best = np.full(len(queries), -2.0, np.float32)
    nearest = np.zeros(len(queries), np.int64)
    for start in range(0, len(vectors), _CHUNK):
        cosine = queries @ vectors[start : start + _CHUNK].T
        rows = cosine.argmax(1)
        values = cosine[np.arange(len(queries)), rows]
        is_better = values > best
        best[is_better], nearest[is_better] = values[is_better], rows[is_better] + start
    hits = [bool(s) and s[0].view_index == n for s, n in zip(found, nearest, strict=True)]
    return float(np.mean(hits))


def _measure(size: int, seconds: float) -> dict[str, Any]:
    vectors = draw_vectors(size)
    queries = ask_beside(vectors, _N_QUERIES)
    began_s = time.perf_counter()
    index = build_index(vectors, SearchOptions())
    build_s = time.perf_counter() - began_s
    item_ids = [ItemId(str(number)) for number in range(size)]
    view_item = np.arange(size, dtype=np.int32)
    searcher = Searcher(index, view_item, item_ids, SearchOptions())
    row: dict[str, Any] = {
        "n_views": size,
        "index": type(index).__name__,
        "build_s": round(build_s, 2),
        "recall_at_1": round(recall_at_1(searcher.search(queries), vectors, queries), 4),
    }
    n_cores = len(os.sched_getaffinity(0))
    for n_threads in dict.fromkeys((1, n_cores)):
        on_threads = Searcher(index, view_item, item_ids, SearchOptions(threads=n_threads))
        row[f"one_query_ms_{n_threads}_threads"] = percentiles(
            query_times_ms(on_threads, queries, seconds)
        )
    return row


def query_times_ms(searcher: Searcher, queries: F32, seconds: float) -> list[float]:
    """Return what single queries take, ms; each is another one."""
    times_ms: list[float] = []
    end_s = time.perf_counter() + seconds
    while len(times_ms) < 20 or (time.perf_counter() < end_s and len(times_ms) < 5_000):
        query = queries[len(times_ms) % len(queries)][None]
        began_s = time.perf_counter()
        searcher.search(query)
        times_ms.append((time.perf_counter() - began_s) * 1e3)
    return times_ms


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Print a line a size."""
    table = Table("views", "index", "build s", "recall@1", "threads", "p50 ms", "p99 ms")
    for row in rows:
        for key in [key for key in row if key.startswith("one_query_ms_")]:
            table.add_row(
                f"{row['n_views']:,}",
                row["index"],
                f"{row['build_s']:.1f}",
                f"{row['recall_at_1']:.4f}",
                key.split("_")[3],
                f"{row[key]['p50']:.3f}",
                f"{row[key]['p99']:.3f}",
            )
    Console(width=110).print(table)
