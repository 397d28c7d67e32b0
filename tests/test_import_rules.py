"""Who may import whom: catalog_tools → pipeline ← streamer; one heavy dependency, one room."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NETWORKS = {"torch", "torchvision", "ultralytics", "kornia", "timm", "openvino", "nncf"}
ROOMS = {  # top-level package: the folders and files that may import it
    **dict.fromkeys(NETWORKS, ("pipeline/engines/", "catalog_tools/")),
    "faiss": ("pipeline/identify/search.py",),
    **dict.fromkeys(("trackers", "supervision"), ("pipeline/track.py",)),
    "av": ("streamer/sources/", "catalog_tools/"),
    "zmq": ("streamer/publishing/",),
    "yaml": ("streamer/yaml_file.py",),
    "catalog_tools": ("catalog_tools/", "streamer/cli/"),
    "benchmarks": ("streamer/cli/",),
    "streamer.sources": ("streamer/",),
    "streamer": ("streamer/", "catalog_tools/demo"),
    "streamer.cli": ("streamer/cli/",),
}
STAGES = (
    *("detect", "track", "crop", "embed"),
    *("identify.search", "identify.check", "identify.weigh", "identify.belief"),
)
NEVER = [  # folder or file, what it must not import
    ("streamer/sources/", "streamer.publishing"),
    ("streamer/publishing/", "streamer.sources"),
    ("streamer/sources/", "streamer.config"),
    ("streamer/publishing/", "streamer.config"),
    *(
        (f"pipeline/{a.replace('.', '/')}.py", f"pipeline.{b}")
        for a in STAGES
        for b in (*STAGES, "matcher")
        if a != b
    ),
]


def imports() -> Iterator[tuple[str, str]]:
    """Yield each file and each module that it imports, wherever in the file."""
    for package in ("pipeline", "streamer", "catalog_tools", "benchmarks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                file = path.relative_to(ROOT).as_posix()
                if isinstance(node, ast.Import):
                    yield from ((file, alias.name) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    yield from ((file, f"{node.module}.{alias.name}") for alias in node.names)


def within(module: str, name: str) -> bool:
    return module == name or module.startswith(f"{name}.")


def test_each_dependency_stays_in_its_room() -> None:
    found = list(imports())
    assert len(found) > 300
    strays = [
        f"{file} imports {module}"
        for file, module in found
        for name, rooms in ROOMS.items()
        if within(module, name) and not file.startswith((*rooms, "benchmarks/"))
    ]
    strays += [
        f"{file} imports {module}"
        for file, module in found
        for place, name in NEVER
        if file.startswith(place) and within(module, name)
    ]
    assert not strays, "\n".join(sorted(set(strays)))


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("streamer.camera_process", {*NETWORKS, "faiss", "zmq", "yaml"}),
        ("streamer.daemon", {*NETWORKS, "faiss", "av", "cv2"}),
        ("streamer.config_file", {*NETWORKS, "faiss", "av", "cv2"}),
        ("streamer.cli.application", {*NETWORKS, "faiss", "av", "cv2"}),
        ("streamer.publishing", {*NETWORKS, "faiss", "av", "cv2", "yaml"}),
        ("pipeline.matcher", {*NETWORKS, "av", "zmq", "matplotlib"}),
        ("streamer.matcher_process", {*NETWORKS, "av", "matplotlib"}),
    ],
)
def test_process_loads_nothing_heavy_that_it_does_not_need(
    module: str, forbidden: set[str]
) -> None:
    code = f"import {module}, json, sys; print(json.dumps(list(sys.modules)))"
    output = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, timeout=60
    ).stdout
    assert not forbidden & set(json.loads(output))
