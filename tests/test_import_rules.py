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
SERVICE = {"fastapi", "starlette", "uvicorn", "prometheus_client", "paho", "urllib3"}
PRIVATE_SOCKET = "streamer/private_socket.py"
ROOMS = {  # top-level package: the folders and files that may import it
    **dict.fromkeys(NETWORKS, ("pipeline/engines/", "catalog_tools/")),
    "faiss": ("pipeline/identify/search.py",),
    **dict.fromkeys(("trackers", "supervision"), ("pipeline/track.py",)),
    "av": ("streamer/sources/", "catalog_tools/"),
    "zmq": ("streamer/publishing/", "streamer/control/", "streamer/query/", PRIVATE_SOCKET),
    "httpcore": ("catalog_tools/fetch.py",),
    **dict.fromkeys(("s3fs", "fsspec"), ("catalog_tools/s3_pictures.py",)),
    "imagehash": ("catalog_tools/duplicates.py",),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "prometheus_client"), ("streamer/web/",)),
    "paho": ("streamer/sinks/mqtt.py",),
    "urllib3": ("streamer/sinks/webhook.py",),
    "yaml": ("streamer/yaml_file.py",),
    "catalog_tools": ("catalog_tools/", "streamer/cli/", "streamer/query/"),
    "benchmarks": ("streamer/cli/",),
    "streamer.sources": ("streamer/",),
    "streamer": ("streamer/", "catalog_tools/demo"),
    "streamer.cli": ("streamer/cli/",),
}
NEVER = [  # folder or file, what it must not import
    ("streamer/sources/", "streamer.publishing"),
    ("streamer/publishing/", "streamer.sources"),
    ("streamer/sources/", "streamer.config"),
    ("streamer/publishing/", "streamer.config"),
    ("streamer/publishing/", "streamer.sinks"),
    ("streamer/sources/", "streamer.sinks"),
    ("streamer/sinks/", "streamer.sources"),
    ("streamer/sinks/", "streamer.config"),
    ("streamer/publishing/", "streamer.control"),
    ("streamer/sources/", "streamer.control"),
    ("streamer/control/", "streamer.publishing"),
    ("streamer/control/", "streamer.sources"),
    *((place, "streamer.web") for place in ("streamer/sources/", "streamer/publishing/")),
]
# Every file of pipeline/, from the ground up: each may import from the rows before its own, and
# from its own row where files share one. What stands alone is a stage: no stage imports another.
GROUND = """__init__ errors types options offline printable timing geometry boxes color fit margin
    folders writable picture_file draw stored_rows library_pages cublas_left_out keypoints weights
    engines learned_keypoints catalog_format catalog_writing catalog"""
IDENTIFY_GROUND = """tuning agreement ratio_test orb_ssim calibration search vote shelf types"""
IDENTIFY_STEPS = "glance propose plan check compare weigh belief"
ROWS = [
    GROUND.split(),
    *([stage] for stage in ("detect", "track", "attend", "crop", "motion", "embed", "panels")),
    [f"identify.{name}" for name in IDENTIFY_GROUND.split()],
    *([f"identify.{name}"] for name in IDENTIFY_STEPS.split()),
    ["identify"],
    ["sightings"],
    ["pictures"],
    ["waiting_room"],
    ["camera"],
    ["matcher"],
]
STAGES = {row[0] for row in ROWS[1:8]} | {f"identify.{step}" for step in IDENTIFY_STEPS.split()}
# What the steps of a look need of the stages before them: vectors of crops, and panels.
ALLOWED = {("identify.glance", "embed"), ("identify.propose", "embed")}


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


def name_of(file: str) -> str:
    """The name of a file, or module, of pipeline/ in ROWS."""
    parts = file.removesuffix(".py").replace("/", ".").removeprefix("pipeline.").split(".")
    if parts[0] == "identify":
        return ".".join(part for part in parts[:2] if part != "__init__")
    return parts[0]


def test_every_file_of_the_pipeline_has_its_row_and_imports_from_those_before_it() -> None:
    row_of = {name: number for number, row in enumerate(ROWS) for name in row}
    found = [(file, module) for file, module in imports() if file.startswith("pipeline/")]
    files = [path.relative_to(ROOT).as_posix() for path in (ROOT / "pipeline").rglob("*.py")]
    assert {name_of(file) for file in files} == set(row_of), "a new file needs its row"
    strays = []
    for file, module in found:
        if not within(module, "pipeline"):
            continue
        one, other = name_of(file), name_of(module)
        other = other if other in row_of else other.split(".")[0]  # a name in identify/__init__
        is_early = row_of[other] > row_of[one]
        is_sideways = {one, other} <= STAGES and one != other and (one, other) not in ALLOWED
        if is_early or is_sideways:
            strays.append(f"{file} imports {module}")
    assert not strays, "\n".join(sorted(set(strays)))


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("streamer.camera_process", {*NETWORKS, "faiss", "zmq", "yaml"}),
        (
            "streamer.daemon",
            {*NETWORKS, "faiss", "av", "cv2", "paho", "urllib3", "fastapi", "uvicorn"},
        ),
        ("streamer.sinks.mqtt", {*NETWORKS, "faiss", "av", "cv2", "numpy", "yaml", "urllib3"}),
        ("streamer.sinks.webhook", {*NETWORKS, "faiss", "av", "cv2", "numpy", "yaml", "paho"}),
        ("streamer.config_file", {*NETWORKS, "faiss", "av", "cv2"}),
        ("streamer.cli.application", {*NETWORKS, "faiss", "av", "cv2"}),
        ("streamer.web.web_process", {*NETWORKS, "faiss", "av", "cv2", "numpy", "PIL", "yaml"}),
        ("streamer.publishing", {*NETWORKS, "faiss", "av", "cv2", "yaml"}),
        ("streamer.query.asking", {*NETWORKS, "faiss", "av", "cv2", "yaml", "PIL", "httpcore"}),
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
