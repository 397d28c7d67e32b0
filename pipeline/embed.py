"""A global description of a picture: one unit vector, near for pictures of the same item."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from pipeline.engines import Engine, batch_size, load_engine, split_batch
from pipeline.options import EmbedOptions, EngineOptions
from pipeline.types import F32, U8
from pipeline.weights import find_weights, read_metadata, read_spec, sha256_of

SIDE_PX = 128  # the shipped network's input, a square that the picture is stretched to


class Embedder:
    """Describes pictures by the embedding network.

    weights_sha256: what a catalog is bound to; embeddings of other weights do not compare.
    name: the weights' name, for people. side_px: of the network's input.
    """

    def __init__(
        self,
        engine: Engine,
        options: EmbedOptions,
        weights_sha256: str = "",
        name: str = "",
        side_px: int = SIDE_PX,
    ) -> None:
        self._engine = engine
        self._side_px = side_px
        self._batch = batch_size(engine, options.batch, cpu=4, gpu=64)
        self.weights_sha256 = weights_sha256
        self.name = name

    @property
    def looks_at_once(self) -> int:
        """How many crops to describe in one go: on a CPU one, so that it is known soon."""
        return 16 if self._engine.device.startswith("cuda") else 1

    def embed(self, images_bgr: Sequence[U8]) -> F32:
        """Return one vector a picture: (N, D) float32, unit length.

        images_bgr: each (h, w, 3) uint8 BGR of any size, at least a pixel.
        """
        parts = []
        for piece in split_batch(len(images_bgr), self._batch):
            inputs = np.stack([_to_input(image, self._side_px) for image in images_bgr[piece]])
            parts.append(self._engine(inputs)[0])
        if not parts:
            return self._engine(np.zeros((0, 3, self._side_px, self._side_px), np.float32))[0]
        return np.concatenate(parts).astype(np.float32, copy=False)


def load_embedder(engine: EngineOptions, options: EmbedOptions) -> Embedder:
    """Return the embedder that the options name, ready to run; WeightsError or EngineError."""
    weights = find_weights("embedder", options.weights)
    name = read_metadata(weights).get("name", weights.stem)
    side_px = int(read_spec(weights).get("input_side_px", SIDE_PX))
    return Embedder(load_engine(weights, engine), options, sha256_of(weights), name, side_px)


def _to_input(image_bgr: U8, side_px: int) -> F32:
    """The picture stretched to the square: (3, side, side) float32 RGB 0..1."""
    height, width = image_bgr.shape[:2]
    # Area averaging shrinks without the moiré that printed text would leave.
    shrinks = height >= side_px and width >= side_px
    small = cv2.resize(
        image_bgr,
        (side_px, side_px),
        interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
    )
    return np.ascontiguousarray(small[:, :, ::-1].transpose(2, 0, 1), np.float32) / np.float32(255)
