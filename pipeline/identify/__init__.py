"""What is in view, and how sure: from a crop to judgements, on one road.

Cameras, single pictures, calibration and evaluation walk it with another budget. Only this file
knows the order of the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.embed import Embedder, load_embedder
from pipeline.identify.check import Checker, load_checker
from pipeline.identify.compare import Comparer, load_comparer
from pipeline.identify.glance import glance, may_glance
from pipeline.identify.plan import plan
from pipeline.identify.propose import propose
from pipeline.identify.tuning import CAMERA, Budget
from pipeline.identify.types import Answer, Judged, Look, Proposed
from pipeline.identify.weigh import weigh
from pipeline.options import EngineOptions, MatcherOptions
from pipeline.timing import StageTimer


@dataclass(frozen=True, slots=True)
class Stages:
    """What a look goes through."""

    embedder: Embedder
    checker: Checker
    comparer: Comparer


def load_stages(engine: EngineOptions, options: MatcherOptions) -> Stages:
    """Return the stages that the options name, ready to run; WeightsError or EngineError."""
    return Stages(
        load_embedder(engine, options.embed),
        load_checker(engine, options.verify),
        load_comparer(engine, options.verify),
    )


def identify_tracks(looks: Sequence[Look], stages: Stages, timer: StageTimer) -> list[Answer]:
    """Return what looks at cameras' tracks show: by a glance where one will do."""
    glances = [look for look in looks if look.is_glance and may_glance(look)]
    borne_out = glance(glances, stages.embedder, timer)
    seen = {id(look) for look, does in zip(glances, borne_out, strict=True) if does}
    rest = [look for look in looks if id(look) not in seen]
    found = identify(rest, stages, CAMERA, timer)
    known_of = {id(one.look): known.judgements for one, known in found}
    return [Answer.to(look, known_of.get(id(look)), timer.stage_ms) for look in looks]


def identify(
    looks: Sequence[Look], stages: Stages, budget: Budget, timer: StageTimer
) -> list[tuple[Proposed, Judged]]:
    """Return what was proposed for each look at a region of the budget, and what it shows."""
    proposed = propose(looks, stages.embedder, stages.checker.prepare, budget, timer)
    with timer.stage("verify"):
        judged = weigh(proposed)
        while checks := plan(proposed, judged, budget):
            found = stages.comparer.compare(stages.checker.check(checks))
            judged = weigh(proposed, judged, checks, found)
    return list(zip(proposed, judged, strict=True))
