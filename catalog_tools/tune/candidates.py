"""What a tuned catalog could be: as it is, calibrated, or fitted and calibrated."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog_tools.build import embed_anew
from catalog_tools.copies import link_generation
from catalog_tools.evaluation.calibrate import calibrate_catalog
from catalog_tools.evaluation.evaluate import ask_photos
from catalog_tools.evaluation.samples import samples_of
from catalog_tools.evaluation.scores import score_photos
from catalog_tools.train.options import EmbedderOptions
from catalog_tools.tune.halves import Halves
from catalog_tools.tune.verdict import Outcome
from pipeline.catalog import Catalog
from pipeline.matcher import Matcher
from pipeline.options import MatcherOptions
from pipeline.weights import sha256_of

AS_IT_IS, CALIBRATED, FITTED = "as it is", "calibrated", "fitted and calibrated"
TOP_K = 5

Progress = Callable[[int, int], None]
Show = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True, slots=True)
class Means:
    """What does the heavy work.

    make_matcher: the matcher of these options, with no catalog yet. fit: the embedder's training;
    None when it gained nothing. show: how far a step is, by its title.
    """

    make_matcher: Callable[[MatcherOptions], Matcher]
    fit: Callable[[EmbedderOptions], Path | None]
    show: Show


@dataclass(frozen=True, slots=True)
class Candidate:
    """A catalog that was judged.

    catalog: in a folder of its own. weights: the embedder's, when they are new. figures: as
    `score_photos` gives them. outcomes: one a photo. ms_a_photo: of the whole, reading it too.
    """

    name: str
    catalog: Catalog
    weights: Path | None
    figures: dict[str, Any]
    outcomes: tuple[Outcome, ...]
    ms_a_photo: float


@dataclass(frozen=True, slots=True)
class Bench:
    """Where candidates are made and judged. work: a folder that goes when all is done."""

    photos: Path
    halves: Halves
    work: Path
    means: Means

    def judge(
        self, name: str, directory: Path, matcher: Matcher, weights: Path | None = None
    ) -> Candidate:
        """Ask a catalog about the photos that nothing was fitted on."""
        labels = self.halves.judging
        catalog = matcher.load_catalog(directory)
        n_done = 0
        with self.means.show(f"judging: {name}") as progress:

            def step() -> None:
                nonlocal n_done
                n_done += 1
                progress(n_done, len(labels))

            begun_s = time.perf_counter()
            photos = ask_photos(self.photos, labels, catalog, matcher, TOP_K, step)
            ms_a_photo = (time.perf_counter() - begun_s) * 1000 / len(labels)
        outcomes = tuple(Outcome.of(photo) for photo in photos)
        figures = score_photos(photos, TOP_K)
        return Candidate(name, catalog, weights, figures, outcomes, ms_a_photo)

    def calibrate(self, directory: Path, matcher: Matcher) -> None:
        """Fit a catalog's probabilities to the photos to fit on."""
        labels = self.halves.fitting
        with self.means.show("calibrating") as progress:
            samples = samples_of(self.photos, labels)
            calibrate_catalog(directory, matcher, samples, len(labels), progress=progress)


def make_unfitted(bench: Bench, catalog: Catalog, matcher: Matcher) -> list[Candidate]:
    """Return the catalog as it is, and calibrated; both as links to its generation.

    Calibrated first: what compiles at the first pictures slows neither of the measured times.
    """
    names = (AS_IT_IS, CALIBRATED)
    copies = {name: bench.work / name.replace(" ", "-") for name in names}
    for copy in copies.values():
        link_generation(catalog.directory, catalog.generation, copy)
    bench.calibrate(copies[CALIBRATED], matcher)
    return [bench.judge(name, copies[name], matcher) for name in names]


def make_fitted(
    bench: Bench, catalog: Catalog, options: MatcherOptions, training: EmbedderOptions
) -> Candidate | None:
    """Return the catalog of newly fitted weights, calibrated; None when training gained nothing.

    training: but for the folders, which are the bench's.
    """
    out = bench.work / "training"
    turns = len(catalog.manifest.recipe.turns_deg) > 1
    chosen = {"out": out, "catalog": catalog.directory, "turns": turns, "resume": False}
    trained = bench.means.fit(training.model_copy(update=chosen))
    if trained is None:
        return None
    # Each result has a name of its own: an older generation may need the weights of its day.
    name = f"{trained.stem}-{sha256_of(trained)[:8]}{trained.suffix}"
    weights = trained.replace(trained.with_name(name))
    embed = options.embed.model_copy(update={"weights": weights})
    matcher = bench.means.make_matcher(options.model_copy(update={"embed": embed}))
    copy = bench.work / "fitted"
    with bench.means.show("describing pictures") as progress:
        embed_anew(catalog, copy, matcher.stages.embedder, progress=progress)
    bench.calibrate(copy, matcher)
    return bench.judge(FITTED, copy, matcher, weights)
