"""magpie bench: measures Magpie on this machine."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamer.cli.catalog_options import Device, EngineName, read_matcher_options

if TYPE_CHECKING:
    from benchmarks.material import Material

bench_app = typer.Typer(no_args_is_help=True, help="Measure Magpie on this machine.")

# How this very command line is started again as a process of its own.
MAGPIE = (sys.executable, "-c", "from streamer.cli import main; main()")

Out = Annotated[Path, typer.Option(help="Where JSON and drawings go.")]
Made = Annotated[
    Path | None, typer.Option("--material", help="Where made clips and catalogs lie; none: OUT.")
]
Fast = Annotated[bool, typer.Option("--fast", help="A shorter clip.")]
OUT = Path("bench-output")


@bench_app.command("end-to-end")
def bench_end_to_end(
    out: Out = OUT,
    source: Annotated[
        str | None, typer.Option(help="As for `magpie run`; none: the demo's clip.")
    ] = None,
    catalog: Annotated[Path | None, typer.Option(help="None: the demo's catalog.")] = None,
    cameras: Annotated[int, typer.Option(min=1, max=64, help="The source so many times.")] = 1,
    realtime: Annotated[bool, typer.Option(help="Files at their own pace.")] = True,
) -> None:
    """Fps, skips and drops by cause, latency by stage, CPU and memory of each process."""
    from benchmarks.bench_end_to_end import run_benchmark

    run_benchmark(out, MAGPIE, source, catalog, n_cameras=cameras, is_realtime=realtime)


@bench_app.command("publish")
def bench_publish(
    out: Out = OUT,
    seconds: Annotated[float, typer.Option(min=1, help="How long at each rate.")] = 5.0,
) -> None:
    """How long an event takes from the matcher to a subscriber, at 10 to 10,000 a second."""
    from benchmarks.bench_publish import run_benchmark
    from streamer.cli.terminal import say

    say(run_benchmark(out, seconds))


@bench_app.command("stages")
def bench_stages(
    out: Out = OUT,
    material: Made = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="How long each case.")] = 0.3,
    steps: Annotated[bool, typer.Option(help="Also the steps around the networks.")] = True,
    engine: EngineName = None,
    device: Device = None,
    fast: Fast = False,
) -> None:
    """Each network and step alone, by threads, precision, batch and shape."""
    from benchmarks.bench_stages import run_benchmark

    options = read_matcher_options(None, None, engine, device)
    made = _demo(material or out, engine, device, fast)
    run_benchmark(out, options, made, seconds, steps=steps)


def _demo(folder: Path, engine: str | None, device: str | None, fast: bool) -> "Material":
    from benchmarks.material import demo_material
    from catalog_tools.demo.script import FAST_CLIP_S

    seconds = FAST_CLIP_S if fast else None
    return demo_material(folder, MAGPIE, _engine_words(engine, device), seconds)


def _engine_words(engine: str | None, device: str | None) -> list[str]:
    """The options of `catalog build`."""
    words = ["--engine", engine] if engine else []
    return [*words, "--device", device] if device else words


@bench_app.command("material")
def bench_material(
    out: Out = OUT,
    scene: Annotated[bool, typer.Option("--scene", help="Also the scene of 1080p30.")] = False,
    engine: EngineName = None,
    device: Device = None,
    fast: Fast = False,
) -> None:
    """Make the clip and the catalog that the others measure on, for their --material."""
    from streamer.cli.terminal import say

    say(_demo(out, engine, device, fast).clip)
    if scene:
        say(_scene(out, engine, device, 100, 4).clip)


Seconds = Annotated[float, typer.Option(min=1, help="How long each run.")]
Matchers = Annotated[int, typer.Option(min=1, max=64, help="Matcher processes.")]
IsScene = Annotated[
    bool, typer.Option("--scene", help="A made scene of 1080p30 in place of the demo's clip.")
]
Items = Annotated[int, typer.Option(min=4, help="In the scene's catalog.")]
InView = Annotated[int, typer.Option(min=1, max=12, help="Packs in view in the scene.")]


@bench_app.command("throughput")
def bench_throughput(
    out: Out = OUT,
    material: Made = None,
    cameras: Annotated[
        list[int] | None, typer.Option(min=1, max=256, help="Once for each number; default 1.")
    ] = None,
    seconds: Seconds = 12.0,
    matchers: Matchers = 1,
    scene: IsScene = False,
    items: Items = 100,
    in_view: InView = 4,
    engine: EngineName = None,
    device: Device = None,
    fast: Fast = False,
) -> None:
    """Files flat out: frames a second, and how well the cores are used."""
    from benchmarks.bench_throughput import run_benchmark

    options = read_matcher_options(None, None, engine, device)
    folder = material or out
    made = (
        _scene(folder, engine, device, items, in_view)
        if scene
        else _demo(folder, engine, device, fast)
    )
    run_benchmark(out, MAGPIE, options, made, cameras or [1], seconds, matchers)


SETTLE_S = 8.0  # of a still scene: all its items are new at once


@bench_app.command("density")
def bench_density(
    out: Out = OUT,
    material: Made = None,
    start: Annotated[int, typer.Option(min=1, help="Cameras in the first run.")] = 1,
    at_most: Annotated[int, typer.Option(min=1, max=256, help="Cameras in any run.")] = 64,
    p99_ms: Annotated[float, typer.Option(min=1, help="Limit, capture to event.")] = 500.0,
    seconds: Seconds = 12.0,
    within: Annotated[float, typer.Option(min=1, help="No run begins after so many s.")] = 600.0,
    matchers: Matchers = 1,
    items: Items = 100,
    in_view: InView = 4,
    still: Annotated[
        bool, typer.Option("--still", help="A scene in which nothing moves, with the motion gate.")
    ] = False,
    engine: EngineName = None,
    device: Device = None,
) -> None:
    """The most cameras of 1080p30, searched ten times a second, within limits of p99 and drops."""
    from benchmarks.bench_density import Limits, run_benchmark

    options = read_matcher_options(None, None, engine, device)
    made = _scene(material or out, engine, device, items, in_view, still)
    limits = Limits(p99_ms=p99_ms)
    settle_s = SETTLE_S if still else 0.0
    run_benchmark(
        out, MAGPIE, options, made, limits, start, at_most, seconds + settle_s, within, matchers,
        motion_gate=still, settle_s=settle_s,
    )  # fmt: skip


def _scene(
    folder: Path,
    engine: str | None,
    device: str | None,
    items: int,
    in_view: int,
    still: bool = False,
) -> "Material":
    from benchmarks.material import SCENE_S, STILL_SCENE_S, Scene, scene_material

    # A recording that begins anew is no still scene: long enough for any run.
    scene = Scene(
        n_items=items, in_view=in_view, still=still, seconds=STILL_SCENE_S if still else SCENE_S
    )
    return scene_material(folder, MAGPIE, scene, _engine_words(engine, device))


@bench_app.command("search")
def bench_search(
    out: Out = OUT,
    sizes: Annotated[
        list[int] | None, typer.Option("--size", min=100, help="Views; default 1k to 1M.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long single queries.")] = 2.0,
) -> None:
    """The shortlist's search by the catalog's size: time of a query, recall against exact."""
    from benchmarks.bench_search import SIZES, run_benchmark

    run_benchmark(out, sizes or SIZES, seconds)


@bench_app.command("ring")
def bench_ring(
    out: Out = OUT,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long each figure.")] = 3.0,
) -> None:
    """The way from a camera's process to a matcher's: copy, hand-over, frames a second."""
    from benchmarks.bench_ring import run_benchmark

    run_benchmark(out, seconds)


@bench_app.command("latency")
def bench_latency(
    out: Out = OUT,
    material: Made = None,
    seconds: Annotated[float, typer.Option(min=10, help="How long each size.")] = 30.0,
    detect_fps: Annotated[float, typer.Option(min=0, help="Searched frames a second.")] = 10.0,
    height: Annotated[
        list[int] | None, typer.Option(min=240, help="Lines of the pictures; default 720, 1080.")
    ] = None,
    engine: EngineName = None,
    device: Device = None,
) -> None:
    """Real RTSP at 30 fps: from a picture's last packet to a subscriber's receipt of its event."""
    from benchmarks.bench_latency import run_benchmark
    from benchmarks.material import Scene, scene_material

    options = read_matcher_options(None, None, engine, device)
    words = _engine_words(engine, device)
    made = {
        f"{lines}p": scene_material(
            material or out, MAGPIE, Scene(size_wh=(lines * 16 // 9, lines)), words
        )
        for lines in height or (720, 1080)
    }
    run_benchmark(out, MAGPIE, options, made, seconds, detect_fps)


@bench_app.command("overload")
def bench_overload(
    out: Out = OUT,
    material: Made = None,
    full: Annotated[int, typer.Option(min=1, help="Cameras that the machine just serves.")] = 2,
    times: Annotated[int, typer.Option(min=2, help="So many times more.")] = 4,
    seconds: Annotated[float, typer.Option(min=10, help="How long the overload.")] = 60.0,
    matchers: Matchers = 1,
    items: Items = 100,
    in_view: InView = 4,
    engine: EngineName = None,
    device: Device = None,
) -> None:
    """Several times more cameras of 1080p30 than can be served: lateness, memory, fairness."""
    from benchmarks.bench_overload import run_benchmark

    options = read_matcher_options(None, None, engine, device)
    made = _scene(material or out, engine, device, items, in_view)
    run_benchmark(out, MAGPIE, options, made, full, times, seconds, matchers)


@bench_app.command("check")
def bench_check(
    out: Out = OUT, material: Made = None, engine: EngineName = None, device: Device = None
) -> None:
    """Whether the ratios of benchmarks/budgets.toml are kept; exit 1 when one is breached."""
    from benchmarks.bench_check import run_benchmark

    options = read_matcher_options(None, None, engine, device)
    made = _demo(material or out, engine, device, fast=True)
    if not run_benchmark(out, MAGPIE, options, made):
        raise typer.Exit(1)


@bench_app.command("peers")
def bench_peers(
    out: Out = OUT,
    material: Made = None,
    loop: Annotated[
        list[str] | None, typer.Option(help="plain, export, strong; default all.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Each runs once a round.")] = 5,
    seconds: Annotated[float, typer.Option(min=5, help="A loop ends after so long.")] = 60.0,
    engine: EngineName = None,
    device: Device = None,
    fast: Fast = False,
) -> None:
    """Against scripts that do the same work in one loop, on the same weights, catalog and clip."""
    from benchmarks.bench_peers import run_benchmark
    from benchmarks.peer_loops import LOOPS
    from pipeline.errors import ConfigError

    unknown = sorted(set(loop or ()) - set(LOOPS))
    if unknown:
        raise ConfigError.at("--loop", f"expected {', '.join(LOOPS)}", ", ".join(unknown))
    options = read_matcher_options(None, None, engine, device)
    made = _demo(material or out, engine, device, fast)
    run_benchmark(out, MAGPIE, options, made, loop or LOOPS, rounds, seconds)
