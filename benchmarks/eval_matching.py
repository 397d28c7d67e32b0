"""Does LightGlue find more geometry than the ratio test on the same keypoints? And other keypoints?

    python -m benchmarks.eval_matching [--pairs N] [--data FOLDER]
    python -m benchmarks.eval_matching --method xfeat+lighterglue

By the ratio test and as mutual nearest always, by LightGlue where --method names one.

Held-out pairs: pictures that no training saw (packs of unused seeds; the evaluation sets' catalogs)
under known homographies, photographed badly and partly hidden, as in training. Real pairs: FOLDER's
evd/1, evd/2, evd/h (1 -> 2), and box/box.png in box/box_in_scene.png, whose homography is fitted to
many keypoints at full size. MAGSAC fits both methods' correspondences. The error is that of the
view's corners, mean of four, px where the longer side has `keypoint_side_px`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from benchmarks.eval_setup import (
    OUT,
    Data,
    Out,
    Threads,
    find_data,
    finish,
    options_of,
    percent,
    run_command,
    share,
    told,
)
from catalog_tools.synthesize.packs import DEMO_SEED_START, render_pack
from catalog_tools.train.pairs import Draw, make_pair
from pipeline.engines import load_engine
from pipeline.errors import ConfigError
from pipeline.geometry import corners_of, fit_homography, project_points
from pipeline.identify.check import MATCHER_OF, pair_by_assignment, run_lightglue
from pipeline.identify.ratio_test import pair_by_ratio
from pipeline.keypoints import Extractor, KeypointExtractor, to_gray
from pipeline.learned_keypoints import extractor_maker
from pipeline.options import EngineOptions, Method, VerifyOptions
from pipeline.types import F64, U8, Keypoints
from pipeline.weights import find_weights

HELD_OUT_SEED = DEMO_SEED_START + 500_000
CATALOGS = ("grocery", "shelf", "video")
GOOD_PX = 5.0
REFERENCE = VerifyOptions(max_keypoints=2048, keypoint_side_px=1024)

Correspond = Callable[[Keypoints, Keypoints], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, slots=True)
class Case:
    """A view, a scene that shows it, and the true homography view px -> scene px."""

    kind: str
    name: str
    view: Keypoints
    scene: Keypoints
    homography: F64


def main(
    data: Data = None,
    out: Out = OUT,
    pairs: Annotated[int, typer.Option(min=1, help="Held-out ones.")] = 300,
    seed: int = 0,
    keypoints: Annotated[int, typer.Option(min=32, max=2048)] = VerifyOptions().max_keypoints,
    side: Annotated[int, typer.Option(min=64, max=2048)] = VerifyOptions().keypoint_side_px,
    weights: Annotated[Path | None, typer.Option(help="Other LightGlue weights.")] = None,
    method: Annotated[Method, typer.Option(help="As verify.method.")] = "rootsift+lightglue",
    keypoint_weights: Annotated[Path | None, typer.Option(help="Of aliked or xfeat.")] = None,
    threads: Threads = 0,
) -> None:
    """Fit each pair by both methods, compare the corners."""
    data = find_data("matching", data)
    options = VerifyOptions(
        max_keypoints=keypoints,
        keypoint_side_px=side,
        weights=weights,
        method=method,
        keypoint_weights=keypoint_weights,
    )
    engine_options = options_of(threads).engine
    extractor = Timed(extractor_maker(engine_options, options)())
    methods: dict[str, Correspond] = {"ratio": pair_by_ratio, "mutual": pair_mutual}
    if options.is_paired_by_network:
        methods = {"lightglue": _by_lightglue(engine_options, options), **methods}
    cases = [*make_cases(pairs, seed, extractor, read_catalogs(data.parent))]
    cases += [*read_evd(data / "evd", extractor), *read_box(data / "box", extractor)]
    errors: dict[str, list[tuple[Case, float]]] = {}
    spent_ms: dict[str, float] = {}
    for name, correspond in methods.items():
        start_s = time.perf_counter()
        errors[name] = [
            (case, corner_error(case, correspond, options)) for case in told(cases, "pairs")
        ]
        spent_ms[name] = 1e3 * (time.perf_counter() - start_s) / max(1, len(cases))
    figures = score_errors(errors) | {"ms_a_pair": {n: round(v, 1) for n, v in spent_ms.items()}}
    figures["keypoints_ms_a_picture"] = round(extractor.mean_ms(), 1)
    config = {
        "pairs": pairs, "seed": seed, "keypoints": keypoints, "side": side, "good_px": GOOD_PX,
        "weights": weights.name if weights else None, "method": method,
        "keypoint_weights": keypoint_weights.name if keypoint_weights else None,
    }  # fmt: skip
    finish(out, "matching", config, figures, table_rows(figures))


class Timed:
    """An extractor whose time is taken."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor
        self.descriptor_dim = extractor.descriptor_dim
        self._spent_s: list[float] = []

    @property
    def name(self) -> str:
        return self._extractor.name

    def extract(self, image_bgr: U8) -> Keypoints:
        start_s = time.perf_counter()
        keypoints = self._extractor.extract(image_bgr)
        self._spent_s.append(time.perf_counter() - start_s)
        return keypoints

    def mean_ms(self) -> float:
        return 1e3 * float(np.mean(self._spent_s))


def _by_lightglue(engine_options: EngineOptions, options: VerifyOptions) -> Correspond:
    default = MATCHER_OF.get(options.keypoints, "")
    engine = load_engine(find_weights("matcher", options.weights, default), engine_options)

    def correspond(view: Keypoints, scene: Keypoints) -> tuple[np.ndarray, np.ndarray]:
        assignment = run_lightglue(engine, [(view, scene)], options.max_keypoints)[0]
        return pair_by_assignment(assignment, options.min_assignment)

    return correspond


def pair_mutual(first: Keypoints, second: Keypoints) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of mutual nearest descriptors, what learned keypoints are matched by."""
    nearness = first.descriptors @ second.descriptors.T
    columns = nearness.argmax(1)
    rows = np.flatnonzero(nearness.argmax(0)[columns] == np.arange(len(columns)))
    return rows, columns[rows]


def read_catalogs(folder: Path) -> list[U8]:
    """Return the evaluation sets' catalog pictures, gray, at most 400 px; none where none lie."""
    pictures = []
    for path in sorted(p for name in CATALOGS for p in (folder / name / "catalog").glob("*.*")):
        gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if gray is not None:
            factor = min(1.0, 400 / max(gray.shape))
            small = cv2.resize(gray, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            pictures.append(np.asarray(small, np.uint8))
    return pictures


def make_cases(n: int, seed: int, extractor: Extractor, pictures: Sequence[U8]) -> Iterator[Case]:
    """Give n pairs of pictures that no training saw, with their homographies."""
    draw = held_out_drawer(pictures)
    number = 0
    while n > 0:
        pair = make_pair(np.random.default_rng([HELD_OUT_SEED, seed, number]), draw, extractor)
        number += 1
        if pair.homography is None:
            continue  # bent round a can: no homography describes it
        yield Case("held-out", f"pair-{number}", pair.view, pair.scene, pair.homography)
        n -= 1


def held_out_drawer(pictures: Sequence[U8]) -> Draw:
    """Return what draws a pack of an unused seed, or in half of the cases one of the pictures."""

    def draw(rng: np.random.Generator) -> U8:
        if len(pictures) and rng.random() < 0.5:
            return pictures[int(rng.integers(len(pictures)))]
        return to_gray(render_pack(HELD_OUT_SEED + int(rng.integers(100_000))))

    return draw


def read_evd(folder: Path, extractor: Extractor) -> Iterator[Case]:
    """Give the real pairs with a homography file."""
    for path in sorted((folder / "h").glob("*.txt")):
        name = path.stem
        first, second = (_read(folder / side / f"{name}.jpg") for side in ("1", "2"))
        homography = np.loadtxt(path, dtype=np.float64)
        yield Case("evd", name, extractor.extract(first), extractor.extract(second), homography)


def read_box(folder: Path, extractor: Extractor) -> Iterator[Case]:
    """Give OpenCV's box and scene, with a homography fitted at full size."""
    if not folder.is_dir():
        return
    view, scene = _read(folder / "box.png"), _read(folder / "box_in_scene.png")
    thorough = KeypointExtractor(REFERENCE)
    found = thorough.extract(view), thorough.extract(scene)
    rows, columns = pair_by_ratio(*found)
    view_xy, scene_xy = found[0].xy_scale_ori[rows, :2], found[1].xy_scale_ori[columns, :2]
    homography, agrees = fit_homography(view_xy, scene_xy, 2.0)
    if homography is None or agrees.sum() < 30:
        raise ConfigError.at("box", "must give a sure homography", f"{agrees.sum()} inliers")
    yield Case("box", "box", extractor.extract(view), extractor.extract(scene), homography)


def _read(path: Path) -> U8:
    gray = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if gray is None:
        raise ConfigError.at(f"picture {path.name}", "must be readable")
    return np.asarray(gray, np.uint8)


def corner_error(case: Case, correspond: Correspond, options: VerifyOptions) -> float:
    """Return how far the view's corners lie from where they should, px; infinite without a fit."""
    if min(len(case.view), len(case.scene)) < 4:
        return float("inf")
    rows, columns = correspond(case.view, case.scene)
    scale = options.keypoint_side_px / max(case.scene.image_size_wh)
    view_xy, scene_xy = case.view.xy_scale_ori[rows, :2], case.scene.xy_scale_ori[columns, :2]
    homography, _ = fit_homography(view_xy, scene_xy, options.inlier_px / scale)
    if homography is None:
        return float("inf")
    corners = corners_of(case.view.image_size_wh)
    off = project_points(homography, corners) - project_points(case.homography, corners)
    error = float(np.linalg.norm(off, axis=1).mean() * scale)
    return error if np.isfinite(error) else float("inf")


def score_errors(errors: Mapping[str, Sequence[tuple[Case, float]]]) -> dict[str, Any]:
    """Return, for each kind of pairs and method, the shares of pairs below some errors."""
    kinds = list(dict.fromkeys(case.kind for found in errors.values() for case, _ in found))
    figures: dict[str, Any] = {}
    for kind in kinds:
        figures[kind] = {}
        for method, found in errors.items():
            own = [error for case, error in found if case.kind == kind]
            finite = [error for error in own if np.isfinite(error)]
            figures[kind][method] = {
                "n_pairs": len(own),
                **{f"below_{px:g}_px": _below(own, px) for px in (3, GOOD_PX, 10)},
                "median_px": round(float(np.median(own)), 2)
                if len(finite) > len(own) / 2
                else None,
            }
    if "lightglue" not in errors:
        return figures
    real = [kind for kind in kinds if kind != "held-out"]
    figures["gain_points"] = {
        name: _gain(errors, kinds) for name, kinds in (("held-out", ["held-out"]), ("real", real))
    }
    return figures


def _below(errors: Sequence[float], px: float) -> float:
    return share(sum(error < px for error in errors), len(errors))


def _gain(errors: Mapping[str, Sequence[tuple[Case, float]]], kinds: Sequence[str]) -> float | None:
    """LightGlue's share of good pairs minus the ratio test's, in points of 100."""
    shares = [
        _below([error for case, error in errors[method] if case.kind in kinds], GOOD_PX)
        for method in ("lightglue", "ratio")
    ]
    is_empty = not any(case.kind in kinds for case, _ in errors["ratio"])
    return None if is_empty else round(100 * (shares[0] - shares[1]), 2)


def table_rows(figures: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the rows: what, figure, what it is made of."""
    rows = []
    for kind, by_method in figures.items():
        if kind in ("gain_points", "ms_a_pair", "keypoints_ms_a_picture"):
            continue
        for method, found in by_method.items():
            below = percent(found[f"below_{GOOD_PX:g}_px"])
            of = f"{found['n_pairs']} pairs, median {found['median_px']} px"
            rows.append((f"{kind}, {method}: below {GOOD_PX:g} px", below, of))
    for kind, points in figures.get("gain_points", {}).items():
        if points is not None:
            rows.append((f"{kind}: LightGlue's gain", f"{points:+.1f} points", ""))
    ms = ", ".join(f"{name} {value} ms" for name, value in figures["ms_a_pair"].items())
    rows.append(("keypoints of a picture", f"{figures['keypoints_ms_a_picture']} ms", ""))
    return [*rows, ("a pair, fit included", ms, "")]


if __name__ == "__main__":
    run_command(main)
