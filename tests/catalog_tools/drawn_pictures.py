"""Pictures for catalogs that tests build."""

from pathlib import Path

import cv2
import numpy as np


def draw(path: Path, seed: int) -> Path:
    """A blocky picture that no other seed draws."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (12, 9, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = cv2.resize(blocks, (180, 240), interpolation=cv2.INTER_NEAREST)
    assert cv2.imwrite(str(path), picture)
    return path
