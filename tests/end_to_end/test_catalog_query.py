"""`magpie catalog build` and `query` on real photos with the shipped weights, as users call it."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

MAGPIE = [sys.executable, "-c", "from streamer.cli import main; main()", "catalog"]
FIELDS = {
    "item_id": str,
    "label": str,
    "tier": str,
    "probability": float,
    "similarity": float,
    "inliers": int,
    "box_xyxy": list,
    "angle_deg": float,
    "percent": float,
    "outline": list,
    "picture": dict,
}


def run_magpie(*words: object, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*MAGPIE, *map(str, words)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=Path(__file__).parent,
        check=False,
    )


@pytest.mark.slow
def test_real_photos_give_a_line_each_in_the_given_order(shared_data: Path, tmp_path: Path) -> None:
    grocery = shared_data / "eval" / "grocery"
    built = run_magpie("build", grocery / "catalog", "--out", tmp_path / "grocery")
    assert built.returncode == 0, built.stderr
    assert "31 items, 31 pictures, 0 files left out" in built.stdout
    photos = sorted(str(path) for path in (grocery / "queries").glob("*/*_001.jpg"))[:12]
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    photos[5:5] = [str(tmp_path / "broken.jpg"), str(tmp_path / "missing.jpg")]
    asked = run_magpie("query", tmp_path / "grocery", *photos[:8], "--json", "--images-from", "-",
                       stdin="\n".join(photos[8:]))  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    lines = [json.loads(line) for line in asked.stdout.splitlines()]
    assert [line["image"] for line in lines] == photos
    assert lines[5] == {"image": photos[5], "error": "is no picture of a known format"}
    assert lines[6] == {"image": photos[6], "error": "no such file"}
    answered = lines[:5] + lines[7:]
    for line in answered:
        assert len(line["ranked"]) == 5
        probabilities = [item["probability"] for item in line["ranked"]]
        assert all(a >= b - 0.02 for a, b in pairwise(probabilities)), "but for ties"
        for match in line["matches"]:
            assert {name: type(value) for name, value in match.items()} == FIELDS
    right = sum(
        Path(line["image"]).parent.name in [item["item_id"] for item in line["ranked"]]
        for line in answered
    )
    assert right >= len(answered) // 2, f"{right} of {len(answered)} among the best five"
    foreign = run_magpie("query", tmp_path / "grocery", photos[0], "--embedder", __file__)
    assert foreign.returncode == 2 and "Traceback" not in foreign.stderr
