"""Which pictures of a clip are worth being views of its item: sharp ones that show something new.

What the numbers were set by: clips of 16 made boxes that turn once, each then looked for from 12
other angles among 216 items, by its vector alone (`python -m benchmarks.eval_enrolment`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.types import F32, F64

# On 16 other boxes the right item was the nearest in 0.86 with 4 views, 0.96 with 6, 0.99 with 8
# and 16. Each costs 0.1 MB and its share of every search.
MAX_VIEWS = 12
# 1 - cosine. At 0.1, 0.15, 0.2, 0.25, 0.3 an item had 12.0, 10.3, 8.3, 7.1, 5.8 views and was found
# in 0.995, 1.0, 0.990, 0.984, 0.958. Pictures 0.1 s apart of a turn in 10 s differ by 0.04.
MIN_DISTANCE = 0.2
MIN_MOMENT_S = 0.3  # a turn in 10 s goes on by 11 degrees
MAX_MOMENTS = 100  # pictures that are held in memory at once, 2.7 MB each at most
# Beside the median: sharp pictures of one clip are up to 0.07 above it, and motion by 5 px of 640
# adds 0.16.
MORE_BLUR = 0.1
MIDDLE_SHARE = 1 / 3  # of the clip's time: the first view is no hand that puts the item there


def moment_s(length_s: float) -> float:
    """Return how long a moment is, of which the sharpest picture may become a view, s."""
    return max(MIN_MOMENT_S, length_s / MAX_MOMENTS)


def leave_blurred_out(blur: Sequence[float]) -> list[int]:
    """Return which pictures are not blurred beside the clip's others. blur: 0 sharp .. 1."""
    limit = float(np.median(blur)) + MORE_BLUR
    return [number for number, value in enumerate(blur) if value <= limit]


def choose_views(
    embeddings: F32,
    times_s: Sequence[float],
    blur: Sequence[float],
    min_distance: float = MIN_DISTANCE,
) -> list[int]:
    """Return which pictures to keep, in the order they were chosen: at least one.

    embeddings: (N, D) float32 unit vectors. times_s, blur: (N,) each, by time. The first is the
    sharpest of the clip's middle; each further one is the farthest from all before it.
    """
    chosen = [_sharpest_near_the_middle(np.asarray(times_s), np.asarray(blur))]
    distance: F32 = 1 - embeddings @ embeddings[chosen[0]]
    while len(chosen) < MAX_VIEWS:
        farthest = int(distance.argmax())
        if distance[farthest] < min_distance:
            break
        chosen.append(farthest)
        distance = np.minimum(distance, 1 - embeddings @ embeddings[farthest])
    return chosen


def _sharpest_near_the_middle(times_s: F64, blur: F64) -> int:
    off_middle = np.abs(times_s - (times_s[0] + times_s[-1]) / 2)
    reach_s = max((times_s[-1] - times_s[0]) * MIDDLE_SHARE / 2, float(off_middle.min()))
    near = np.flatnonzero(off_middle <= reach_s)
    return int(near[blur[near].argmin()])
