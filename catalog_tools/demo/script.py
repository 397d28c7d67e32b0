"""Who plays in the demo clip, when, and how everyone moves. No pictures here, only seeds and poses.

The script is drawn from `SCRIPT_SEED` alone, so it is the same on every machine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from catalog_tools.synthesize.packs import DEMO_SEED_START, design_pack, natural_size_wh

SCRIPT_SEED = DEMO_SEED_START + 2026
FRAME_SIZE_WH = (1280, 720)
FPS = 25
CLIP_S = 28.0
FAST_CLIP_S = 10.0

FOCAL_PX = 1500.0
ENTER_S = 0.7
CELLS_XY = (
    *((170, 205), (485, 195), (800, 205), (1110, 195)),
    *((170, 520), (485, 530), (800, 520), (1110, 530)),
)

_CATALOG_SEEDS = tuple(
    DEMO_SEED_START + offset for offset in (0, 1, 4, 5, 6, 8, 9, 11, 14, 15, 16, 17, 21)
)
_STRANGER_SEEDS = tuple(DEMO_SEED_START + offset for offset in (101, 102, 103))


@dataclass(frozen=True, slots=True)
class Actor:
    """One printed pack of the clip; `twin` as in packs.render_twin (0: the pack itself)."""

    name: str
    label: str
    seed: int
    twin: int
    in_catalog: bool
    twin_of: str | None = None

    def size_wh(self, long_side_px: int) -> tuple[int, int]:
        """Give the pack's (width, height) px with this longer side."""
        return _size_of(self.seed, long_side_px)


@dataclass(frozen=True, slots=True)
class HandPass:
    """A hand that reaches over an item and back, from when to when in the clip."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Visit:
    """One stay of an actor in the picture. Positions in px of the frame, angles in degrees."""

    actor: Actor
    start_s: float
    end_s: float
    home_xy: tuple[float, float]
    outside_xy: tuple[float, float]
    size_px: float
    roll_deg: tuple[float, float]  # at the start and at the end of the stay
    yaw_deg: float
    pitch_deg: float
    sway_px: float
    phase: float
    is_crossing: bool = False  # passes through the picture, in front of the others
    is_held: bool = False  # fingers stay on its edge
    hand: HandPass | None = None


@dataclass(frozen=True, slots=True)
class Pose:
    """Where an actor's face is: quad (4, 2) float64 px, clockwise from the print's top left."""

    quad: np.ndarray
    yaw_deg: float


@lru_cache(maxsize=256)
def _size_of(seed: int, long_side_px: int) -> tuple[int, int]:
    return natural_size_wh(seed, long_side_px)


def _label_of(seed: int, twin: int) -> str:
    design = design_pack(seed, twin)
    return f"{design.brand} {design.product} {design.flavour}"


def _actor(name: str, seed: int, twin: int, in_catalog: bool, twin_of: str | None = None) -> Actor:
    return Actor(name, _label_of(seed, twin), seed, twin, in_catalog, twin_of)


def list_actors() -> list[Actor]:
    """Give everyone in the clip: fourteen items of the catalog, then five that are not in it.

    Two of the catalog are twins of each other, and two strangers are twins of catalog items:
    one in another colour, one with another flavour, colour and picture.
    """
    actors = [_actor(f"pack-{i:02d}", seed, 0, True) for i, seed in enumerate(_CATALOG_SEEDS, 1)]
    actors.append(_actor("pack-14", _CATALOG_SEEDS[2], 3, True, "pack-03"))
    actors += [_actor(f"stranger-{i}", seed, 0, False) for i, seed in enumerate(_STRANGER_SEEDS, 1)]
    actors.append(_actor("twin-of-pack-05", _CATALOG_SEEDS[4], 2, False, "pack-05"))
    actors.append(_actor("twin-of-pack-09", _CATALOG_SEEDS[8], 3, False, "pack-09"))
    return actors


def _draw_order(actors: list[Actor], rng: np.random.Generator) -> list[Actor]:
    """Everyone once in mixed order, then some of the catalog come back."""
    first = [actors[i] for i in rng.permutation(len(actors))]
    back = [actor for actor in first[:6] if actor.in_catalog]
    return first + back


def _outside_of(home_xy: tuple[float, float], rng: np.random.Generator) -> tuple[float, float]:
    width, height = FRAME_SIZE_WH
    x, y = home_xy
    if rng.random() < 0.35 and x < width * 0.25:
        return -260.0, y
    if rng.random() < 0.35 and x > width * 0.75:
        return width + 260.0, y
    return x + rng.uniform(-60, 60), -260.0 if y < height / 2 else height + 260.0


def write_script(clip_s: float = CLIP_S) -> list[Visit]:
    """Give the visits of the clip, ordered by start; each item's own visits never overlap.

    A cell of the picture holds one resting item at a time; every fifth visit crosses the picture.
    """
    rng = np.random.default_rng(SCRIPT_SEED)
    order = _draw_order(list_actors(), rng)
    cell_free_s = dict.fromkeys(range(len(CELLS_XY)), 0.0)
    actor_free_s: dict[str, float] = {}
    visits: list[Visit] = []
    start_s, step_s = 0.2, (CLIP_S - 4.6) / (len(order) - 1)
    for number, actor in enumerate(order):
        begin_s = max(start_s + number * step_s, actor_free_s.get(actor.name, 0.0))
        stay_s = min(float(rng.uniform(4.2, 6.2)), CLIP_S - 0.3 - begin_s)
        if number % 5 == 4:
            visit = crossing_visit(actor, begin_s, stay_s, rng)
        else:
            free = [cell for cell, free_s in cell_free_s.items() if free_s <= begin_s]
            cell = int(rng.choice(free or [min(cell_free_s, key=lambda c: cell_free_s[c])]))
            visit = resting_visit(actor, begin_s, stay_s, CELLS_XY[cell], number, rng)
            cell_free_s[cell] = visit.end_s
        actor_free_s[actor.name] = visit.end_s + 2.0
        visits.append(visit)
    return [visit for visit in visits if visit.start_s < clip_s - 1.5]


def resting_visit(
    actor: Actor,
    begin_s: float,
    stay_s: float,
    home_xy: tuple[float, float],
    number: int,
    rng: np.random.Generator,
) -> Visit:
    """Give a stay at one place, moving about it; by its number with a real turn, or a hand."""
    roll0, roll1 = rng.uniform(-22, 22, 2)
    if number % 6 == 1:
        roll1 = roll0 + rng.choice([-1, 1]) * rng.uniform(90, 170)  # a real turn
    hand = None
    if number % 3 == 2:
        middle_s = begin_s + stay_s * rng.uniform(0.5, 0.65)
        hand = HandPass(middle_s - 0.8, middle_s + 0.8)
    return Visit(
        actor,
        begin_s,
        begin_s + stay_s,
        home_xy,
        _outside_of(home_xy, rng),
        size_px=float(rng.uniform(235, 300)),
        roll_deg=(float(roll0), float(roll1)),
        yaw_deg=float(rng.uniform(10, 34) * rng.choice([-1, 1])),
        pitch_deg=float(rng.uniform(-16, 16)),
        sway_px=float(rng.uniform(6, 22)),
        phase=float(rng.uniform(0, 2 * math.pi)),
        is_held=number % 4 == 3,
        hand=hand,
    )


def crossing_visit(actor: Actor, begin_s: float, stay_s: float, rng: np.random.Generator) -> Visit:
    """Give a way through the whole picture, before everyone else, in a hand."""
    y = float(rng.uniform(300, 420))
    left, right = (-220.0, y), (FRAME_SIZE_WH[0] + 220.0, y + float(rng.uniform(-60, 60)))
    start_xy, end_xy = (left, right) if rng.random() < 0.5 else (right, left)
    return Visit(
        actor,
        begin_s,
        begin_s + stay_s,
        end_xy,
        start_xy,
        size_px=float(rng.uniform(260, 320)),
        roll_deg=(float(rng.uniform(-15, 15)), float(rng.uniform(-15, 15))),
        yaw_deg=float(rng.uniform(5, 20)),
        pitch_deg=float(rng.uniform(-10, 10)),
        sway_px=14.0,
        phase=float(rng.uniform(0, 2 * math.pi)),
        is_crossing=True,
        is_held=True,
    )


def _smoothstep(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


def pose_at(visit: Visit, time_s: float) -> Pose | None:
    """Give the actor's pose at this time of the clip, or None when it is not on stage."""
    if not visit.start_s <= time_s <= visit.end_s:
        return None
    share = (time_s - visit.start_s) / (visit.end_s - visit.start_s)
    home, outside = np.array(visit.home_xy), np.array(visit.outside_xy)
    if visit.is_crossing:
        centre = outside + (home - outside) * share
    else:
        inside = _smoothstep((time_s - visit.start_s) / ENTER_S) * _smoothstep(
            (visit.end_s - time_s) / ENTER_S
        )
        centre = outside + (home - outside) * inside
    swing = 2 * math.pi * 0.35 * (time_s - visit.start_s) + visit.phase
    centre = centre + visit.sway_px * np.array([math.sin(swing), math.cos(0.8 * swing)])
    roll = visit.roll_deg[0] + (visit.roll_deg[1] - visit.roll_deg[0]) * _smoothstep(share)
    yaw = visit.yaw_deg * math.sin(0.9 * swing)
    pitch = visit.pitch_deg * math.cos(0.7 * swing)
    size = visit.size_px * (1 + 0.08 * math.sin(0.6 * swing + 1))
    return Pose(_project(visit.actor, size, centre, roll, yaw, pitch), yaw)


def _project(
    actor: Actor, size_px: float, centre: np.ndarray, roll: float, yaw: float, pitch: float
) -> np.ndarray:
    """Give the face's corners as a pinhole camera sees them: (4, 2) float64 px."""
    width, height = actor.size_wh(1000)
    half = np.array([width, height]) * size_px / 2000
    corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * [*half, 1]
    a, b, c = np.radians([roll, yaw, pitch])
    about_z = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    about_y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    about_x = np.array([[1, 0, 0], [0, math.cos(c), -math.sin(c)], [0, math.sin(c), math.cos(c)]])
    turned = corners @ (about_x @ about_y @ about_z).T
    depth = FOCAL_PX / (FOCAL_PX + turned[:, 2:])
    return np.asarray(turned[:, :2] * depth + centre)
