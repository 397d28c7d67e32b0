"""The parts that scripts are made of which do Magpie's work in one loop: the peers' parts.

As such a script's author would write them, on the same weights and catalog: a crop is embedded,
faiss gives the nearest pictures, LightGlue checks the first of them, and inliers decide.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import faiss
import numpy as np

from pipeline.catalog import Catalog
from pipeline.engines.engine_cache import converted_network
from pipeline.fit import FITS
from pipeline.identify.check import pair_by_assignment, run_lightglue
from pipeline.keypoints import KeypointExtractor
from pipeline.options import VerifyOptions
from pipeline.types import F32, U8
from pipeline.weights import find_weights, read_spec

Network = Callable[..., tuple[Any, ...]]
CANDIDATES = 3  # pictures that LightGlue checks a crop against
MIN_INLIERS = 15
_MIN_SIDE_PX = 24


class CropIdentifier:
    """Tells which item a crop shows: embed, search, LightGlue, homography."""

    def __init__(self, catalog: Catalog, embed: Network, lightglue: Network) -> None:
        self._catalog, self._embed, self._lightglue = catalog, embed, lightglue
        self._options = VerifyOptions()
        self._extractor = KeypointExtractor(self._options)
        self._index = faiss.IndexFlatIP(catalog.embeddings.shape[1])
        self._index.add(np.ascontiguousarray(catalog.embeddings))
        self._views: dict[int, Any] = {}
        self._side_px, fit = embedder_input()
        self._to_square = FITS[fit]

    def identify(self, crop_bgr: U8) -> str | None:
        """Return the item, or None. crop_bgr: (h, w, 3) uint8."""
        if min(crop_bgr.shape[:2]) < _MIN_SIDE_PX:
            return None
        small = self._to_square(crop_bgr, self._side_px)
        planes = np.ascontiguousarray(small[:, :, ::-1].transpose(2, 0, 1)[None], np.float32)
        vector = np.asarray(self._embed(planes / np.float32(255))[0], np.float32)
        _, rows = self._index.search(vector, CANDIDATES)
        keypoints = self._extractor.extract(crop_bgr)
        if len(keypoints) < 4:
            return None
        inliers = {int(row): self._inliers(int(row), keypoints) for row in rows[0] if row >= 0}
        best = max(inliers, key=lambda row: inliers[row])
        if inliers[best] < MIN_INLIERS:
            return None
        return str(self._catalog.items[int(self._catalog.view_item[best])].item_id)

    def _inliers(self, row: int, keypoints: Any) -> int:
        if row not in self._views:
            self._views[row] = self._catalog.keypoints(row)
        view = self._views[row]
        if len(view) < 4:
            return 0
        options = self._options
        (assignment,) = run_lightglue(self._lightglue, [(view, keypoints)], options.max_keypoints)
        rows, columns = pair_by_assignment(assignment, options.min_assignment)
        if len(rows) < 4:
            return 0
        view_xy, crop_xy = view.xy_scale_ori[rows, :2], keypoints.xy_scale_ori[columns, :2]
        _, inside = cv2.findHomography(view_xy, crop_xy, cv2.USAC_MAGSAC, 4.0)
        return 0 if inside is None else int(inside.sum())


def embedder_input() -> tuple[int, str]:
    """Return the side of the shipped embedder's input, px, and how a crop is fitted into it."""
    spec = read_spec(find_weights("embedder"))
    return int(spec["input_side_px"]), str(spec.get("fit", "stretch"))


def torch_network(kind: Any) -> Network:
    """Return a network of the shipped weights, run by plain torch."""
    import torch

    from pipeline.engines.torch_networks import load_network

    network = load_network(find_weights(kind))

    def call(*arrays: F32) -> tuple[Any, ...]:
        with torch.inference_mode():
            return (network(*(torch.from_numpy(array) for array in arrays)).numpy(),)

    return call


def static_network(kind: Any, *shapes: tuple[int, ...], precision: str = "f32") -> Network:
    """Return a network compiled by OpenVINO for these shapes of its inputs, on all cores."""
    import openvino

    core = openvino.Core()
    model = core.read_model(converted_network(find_weights(kind)))
    model.reshape(dict(zip(model.inputs, map(list, shapes), strict=True)))
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": len(os.sched_getaffinity(0)),
            "INFERENCE_PRECISION_HINT": precision,
        },
    )

    def call(*arrays: F32) -> tuple[Any, ...]:
        results = compiled([np.ascontiguousarray(array) for array in arrays])
        return tuple(np.array(results[output]) for output in compiled.outputs)

    return call


def yolo_of_shipped_weights(folder: Path, exported_to: tuple[int, int] | None = None) -> Any:
    """Return ultralytics' own model with the shipped detector's weights.

    exported_to: (height, width) px of the OpenVINO network that ultralytics exports; None: torch.
    """
    import pipeline.offline  # noqa: F401  (before ultralytics)

    _stand_in_for_lap()
    import torch
    from ultralytics import YOLO

    from pipeline.engines.torch_networks import load_network

    network: Any = load_network(find_weights("detector")).network
    head = network.model[-1]
    head.export = False  # ultralytics sets it where it exports
    network.names = {0: "item"}
    network.args = {"task": "detect", "imgsz": 640, "model": "yolo26n.yaml"}
    network.task = "detect"
    checkpoint = folder / "peer.pt"
    torch.save({"model": network, "train_args": dict(network.args), "epoch": -1}, checkpoint)
    model = YOLO(str(checkpoint))
    if exported_to is None:
        return model
    exported = model.export(format="openvino", imgsz=list(exported_to), verbose=False)
    return YOLO(str(exported), task="detect")


def _stand_in_for_lap() -> None:
    """Let ultralytics' tracker run where its package `lap` is missing: scipy pairs as it does."""
    try:
        import lap  # noqa: F401
    except ImportError:
        from scipy.optimize import linear_sum_assignment

        def lapjv(
            cost: Any, extend_cost: bool = True, cost_limit: float = np.inf
        ) -> tuple[float, Any, Any]:
            limited = np.where(cost > cost_limit, 1e6, cost)
            rows, columns = linear_sum_assignment(limited)
            x, y = np.full(cost.shape[0], -1), np.full(cost.shape[1], -1)
            keep = cost[rows, columns] <= cost_limit
            x[rows[keep]], y[columns[keep]] = columns[keep], rows[keep]
            return float(cost[rows[keep], columns[keep]].sum()), x, y

        module = ModuleType("lap")
        module.lapjv, module.__version__ = lapjv, "0.5.12"  # type: ignore[attr-defined]
        sys.modules["lap"] = module
