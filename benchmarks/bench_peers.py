"""How much faster Magpie is than scripts that do the same work: `magpie bench peers`.

The loops of peer_loops.py and the real daemon read one clip flat out, in turn, several rounds, on
the same weights and catalog. Told: frames a second, Magpie's over each peer's (the median over the
rounds), and how far their answers are Magpie's: (camera, item, appeared within half a second), as
far as a loop came into the clip. Prints a table, writes JSON, draws the frames a second.

What differs by nature: plain and export search every frame and identify every box in it, as such
scripts do; Magpie and the strong loop search ten frames a second of the clip's. `searched a second`
leaves that out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.answers import answers_of_events, compare_answers
from benchmarks.daemon_run import RunOptions, run_daemon
from benchmarks.harness import write_result
from benchmarks.material import Material
from benchmarks.peer_loops import CAMERA, LOOPS, LoopResult, run_loop
from benchmarks.plots import draw_peers
from pipeline.options import MatcherOptions

MAGPIE = "magpie"


def run_benchmark(
    out: Path,
    magpie: Sequence[str],
    options: MatcherOptions,
    material: Material,
    loops: Sequence[str] = LOOPS,
    rounds: int = 5,
    at_most_s: float = 60.0,
    fps: float = 25.0,
) -> Path:
    """Run each once a round; return the JSON's path. fps: the clip's own. at_most_s: a loop."""
    rows: list[dict[str, Any]] = []
    for number in range(rounds):
        ours = _run_magpie(magpie, options, material, fps)
        found = [ours]
        for name in loops:
            found.append(run_loop(name, material.clip, material.catalog, fps, at_most_s))
        rows += [row_of(result, ours, number) for result in found]
    summary = summarise(rows, loops)
    config = {
        "clip": material.clip.name,
        "n_items": material.n_items,
        "rounds": rounds,
        "seconds_a_loop": at_most_s,
        "engine": options.engine.model_dump(),
    }
    path = write_result(out, "peers", config, {"summary": summary, "runs": rows})
    print_summary(summary)
    draw_peers(summary, path.with_suffix(".png"))
    print(path)
    return path


def _run_magpie(
    magpie: Sequence[str], options: MatcherOptions, material: Material, fps: float
) -> LoopResult:
    """Run the daemon on the clip once, in a loop's terms."""
    run = RunOptions(
        {CAMERA: str(material.clip)}, material.catalog, matcher=options.model_dump(mode="json")
    )
    with tempfile.TemporaryDirectory(prefix="magpie-bench-") as folder:
        result = run_daemon(Path(folder), magpie, run)
    camera = result.summary["cameras"][CAMERA]
    processed = int(camera["counters"]["processed"])
    return LoopResult(
        MAGPIE,
        processed,
        result.stage_count("wait"),
        result.stage_count("embed"),
        processed / camera["fps"],
        processed / fps,
        tuple(answers_of_events(result.events, fps)),
    )


def row_of(result: LoopResult, ours: LoopResult, number: int) -> dict[str, Any]:
    """Return one run's figures; answers are held against Magpie's of the same round.

    What appeared in the last half second that a loop saw may lie beyond it for the other.
    """
    end_s = min(result.covered_s, ours.covered_s) - 0.5
    theirs, mine = (
        [answer for answer in one.answers if answer.appeared_s <= end_s] for one in (result, ours)
    )
    compared = compare_answers(mine, theirs)
    return {
        "name": result.name,
        "round": number,
        "frames": result.n_frames,
        "fps": round(result.fps, 2),
        "searched_a_second": round(result.n_searched / result.seconds, 2),
        "identified_a_second": round(result.n_identified / result.seconds, 2),
        "ratio": round(ours.fps / result.fps, 3),
        "same_answers": compared.same,
        "only_magpie": [f"{a.item_id} {a.appeared_s:.2f}" for a in compared.only_first],
        "only_peer": [f"{a.item_id} {a.appeared_s:.2f}" for a in compared.only_second],
    }


def summarise(rows: Sequence[dict[str, Any]], loops: Sequence[str]) -> list[dict[str, Any]]:
    """Return the medians over the rounds, Magpie first."""
    summary = []
    for name in (MAGPIE, *loops):
        own = [row for row in rows if row["name"] == name]
        keys = ("fps", "searched_a_second", "identified_a_second", "ratio")
        summary.append(
            {
                "name": name,
                "rounds": len(own),
                **{key: round(median(row[key] for row in own), 3) for key in keys},
                **{
                    key: sum(count_of(row[key]) for row in own)
                    for key in ("same_answers", "only_magpie", "only_peer")
                },
            }
        )
    return summary


def count_of(value: int | list[str]) -> int:
    """A count as it is, a list by its length."""
    return value if isinstance(value, int) else len(value)


def print_summary(summary: Sequence[dict[str, Any]]) -> None:
    """Print a line a peer."""
    table = Table(
        "", "frames/s", "searched/s", "identified/s", "magpie is", "same answers", "only magpie",
        "only peer",
    )  # fmt: skip
    for row in summary:
        table.add_row(
            row["name"],
            f"{row['fps']:.1f}",
            f"{row['searched_a_second']:.1f}",
            f"{row['identified_a_second']:.1f}",
            f"{row['ratio']:.2f}x",
            *(str(row[key]) for key in ("same_answers", "only_magpie", "only_peer")),
        )
    Console(width=110).print(table)
