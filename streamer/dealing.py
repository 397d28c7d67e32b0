"""Which camera goes to which matcher."""

from collections.abc import Mapping, Sequence
from statistics import fmean


def least_loaded(hands: Sequence[Sequence[str]], loads: Mapping[str, float]) -> int:
    """Return the number of the matcher that one more camera goes to: with the least to do so far.

    hands: each matcher's cameras. One without a load counts as the mean of the others.
    """
    known = [loads[camera] for hand in hands for camera in hand if camera in loads]
    usual = fmean(known) if known else 0.0
    costs = [(sum(loads.get(camera, usual) for camera in hand), len(hand)) for hand in hands]
    return costs.index(min(costs))


def deal_out(
    cameras: Sequence[str], n_matchers: int, loads: Mapping[str, float]
) -> list[list[str]]:
    """Return each matcher's cameras, in the order in which they are given; none has no camera.

    loads: what was measured of cameras, those of an earlier run; where none of these cameras has
    one, they are dealt out in turn. n_matchers: at most as many as cameras.

    Else the heaviest camera goes first, to the matcher with the least so far (longest processing
    time first: Graham 1969, at most a third above the best possible). One without a load counts
    as the mean of the others.
    """
    known = [loads[camera] for camera in cameras if camera in loads]
    if not known:
        return [list(cameras[index::n_matchers]) for index in range(n_matchers)]
    usual = fmean(known)
    load_of = {camera: loads.get(camera, usual) for camera in cameras}
    dealt: list[list[str]] = [[] for _ in range(n_matchers)]
    for camera in sorted(cameras, key=lambda name: -load_of[name]):  # stable: ties as given
        # The count second: matchers must not stay empty where loads are 0.
        least = min(dealt, key=lambda hand: (sum(map(load_of.__getitem__, hand)), len(hand)))
        least.append(camera)
    position = {camera: number for number, camera in enumerate(cameras)}
    return [sorted(hand, key=position.__getitem__) for hand in dealt]
