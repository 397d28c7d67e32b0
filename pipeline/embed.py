"""A global description of a picture: one unit vector, near for pictures of the same item."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.engines import Engine, batch_size, load_engine, split_batch
from pipeline.errors import WeightsError
from pipeline.fit import FITS
from pipeline.options import EmbedOptions, EngineOptions
from pipeline.types import F32, U8
from pipeline.weights import find_weights, read_metadata, read_spec, sha256_of

SIDE_PX = 128  # of the input of networks whose header does not say


class Embedder:
    """Describes pictures by the embedding network.

    weights_sha256: what a catalog is bound to; embeddings of other weights do not compare.
    name: the weights' name, for people. side_px: of the network's input. fit: how a picture becomes
    its square: "stretch", or "letterbox" (whole, in the middle of grey).
    """

    def __init__(
        self,
        engine: Engine,
        options: EmbedOptions,
        weights_sha256: str = "",
        name: str = "",
        side_px: int = SIDE_PX,
        fit: str = "stretch",
    ) -> None:
        self._engine = engine
        self._side_px, self._to_square = side_px, FITS[fit]
        self._batch = batch_size(engine, options.batch, cpu=4, gpu=64)
        self.weights_sha256 = weights_sha256
        self.name = name

    @property
    def looks_at_once(self) -> int:
        """How many crops to describe in one go: on a CPU one, so that it is known soon."""
        return 16 if self._engine.device.startswith("cuda") else 1

    @property
    def calls_at_once(self) -> int:
        """How many threads may ask at once."""
        return self._engine.calls_at_once

    def embed(self, images_bgr: Sequence[U8]) -> F32:
        """Return one vector a picture: (N, D) float32, unit length.

        images_bgr: each (h, w, 3) uint8 BGR of any size, at least a pixel.
        """
        parts = []
        for piece in split_batch(len(images_bgr), self._batch):
            squares = [self._to_square(image, self._side_px) for image in images_bgr[piece]]
            parts.append(self._engine(np.stack(squares)[..., ::-1])[0])
        if not parts:
            return self._engine(np.zeros((0, self._side_px, self._side_px, 3), np.uint8))[0]
        return np.concatenate(parts).astype(np.float32, copy=False)


def load_embedder(engine: EngineOptions, options: EmbedOptions) -> Embedder:
    """Return the embedder that the options name, ready to run; WeightsError or EngineError."""
    weights = find_weights("embedder", options.weights)
    name = read_metadata(weights).get("name", weights.stem)
    spec = read_spec(weights)
    fit = str(spec.get("fit", "stretch"))
    if fit not in FITS:
        rule = f"fit must be one of {', '.join(FITS)}"
        raise WeightsError.at(f"weights '{weights}'", rule, fit, "they are of a newer Magpie")
    side_px, network = int(spec.get("input_side_px", SIDE_PX)), load_engine(weights, engine)
    return Embedder(network, options, sha256_of(weights), name, side_px, fit)
