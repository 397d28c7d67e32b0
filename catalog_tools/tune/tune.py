"""Fits a catalog to its user's photos, and keeps only what is better: `magpie catalog tune`.

Half of the photos fit, the other half judges. Candidates lie in a folder that goes at the end; the
catalog itself is written once, when one of them is kept, as a new generation.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog_tools.copies import write_copy
from catalog_tools.evaluation.evaluate import NOTHING, check_labels, read_truth
from catalog_tools.evaluation.scores import Labelled
from catalog_tools.train.options import EmbedderOptions
from catalog_tools.tune.candidates import (
    FITTED,
    Bench,
    Candidate,
    Means,
    make_fitted,
    make_unfitted,
)
from catalog_tools.tune.halves import Halves, split_photos
from catalog_tools.tune.verdict import RULE, Verdict, compare
from pipeline.catalog import Catalog, current_generation
from pipeline.catalog_format import catalog_error, generation_identity
from pipeline.catalog_writing import catalog_lock
from pipeline.options import MatcherOptions


@dataclass(frozen=True, slots=True)
class Photos:
    """A folder of photos and what each of them shows."""

    folder: Path
    labels: Sequence[Labelled]


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a tuning found.

    candidates: those that were judged, the catalog as it is first. verdicts: of the others, in
    their order. kept: one of the candidates. generation: the one in use now. weights: the file that
    the configuration must name from now on; None: the same as before.
    """

    directory: Path
    generation_before: int
    generation: int
    halves: Halves
    candidates: tuple[Candidate, ...]
    verdicts: tuple[Verdict, ...]
    kept: Candidate
    weights: Path | None

    @property
    def is_changed(self) -> bool:
        return self.kept is not self.candidates[0]

    @property
    def was_fitted(self) -> bool:
        """Whether the training gave weights that were worth judging."""
        return self.candidates[-1].name == FITTED

    @property
    def rollback_command(self) -> str:
        directory = shlex.quote(str(self.directory))
        return f"magpie catalog rollback {directory} {self.generation_before}"

    def to_json(self) -> dict[str, Any]:
        """Return what tune.json holds."""
        verdicts = dict(zip([c.name for c in self.candidates[1:]], self.verdicts, strict=True))
        return {
            "catalog": self.directory.name,
            "generation_before": self.generation_before,
            "generation": self.generation,
            "kept": self.kept.name,
            "weights": None if self.weights is None else str(self.weights),
            "rule": RULE,
            "fitted": self.was_fitted,
            "candidates": [_record(c, verdicts.get(c.name)) for c in self.candidates],
            "photos": {
                "fitting": [_label(label) for label in self.halves.fitting],
                "judging": [_label(label) for label in self.halves.judging],
            },
        }


def read_photos(folder: Path, truth: Path, catalog: Catalog) -> Photos:
    """Return the labelled photos; ConfigError when the truth breaks a rule, or names others' items.

    truth: a CSV with the columns image and item_id, as for `magpie catalog evaluate`.
    """
    labels = read_truth(truth)
    check_labels(labels, [item.item_id for item in catalog.items], f"truth {truth}")
    return Photos(folder, labels)


def tune_catalog(
    directory: Path,
    photos: Photos,
    options: MatcherOptions,
    training: EmbedderOptions,
    out: Path,
    means: Means,
) -> Tuning:
    """Return what was found; the best candidate by RULE is in use then.

    training: how the embedder is fitted; its folders are chosen here. out: a folder that exists,
    for new weights, if they are kept. ConfigError about the photos, CatalogError when the catalog
    is of other weights than the options', or somebody else changed it meanwhile.
    """
    with means.show("reading photos") as progress:
        halves = split_photos(photos.folder, photos.labels, progress)
    with tempfile.TemporaryDirectory(prefix=".tuning-", dir=out) as work:
        bench = Bench(photos.folder, halves, Path(work), means)
        matcher = means.make_matcher(options)
        catalog = matcher.load_catalog(directory)
        candidates = make_unfitted(bench, catalog, matcher)
        del matcher  # the training wants its memory
        fitted = make_fitted(bench, candidates[0].catalog, options, training)
        candidates += [] if fitted is None else [fitted]
        kept, verdicts = choose(candidates)
        generation, weights = catalog.generation, None
        if kept is not candidates[0]:
            generation, weights = install(kept, catalog, out)
    return Tuning(
        directory,
        catalog.generation,
        generation,
        halves,
        tuple(candidates),
        tuple(verdicts),
        kept,
        weights,
    )


def choose(candidates: Sequence[Candidate]) -> tuple[Candidate, list[Verdict]]:
    """Return the best candidate by RULE, and how each but the first compared with the best before.

    They come in the order of what they ask of the user: new weights must be configured, so they
    must be better than a calibration as well.
    """
    best, verdicts = candidates[0], []
    for candidate in candidates[1:]:
        verdicts.append(compare(best.outcomes, candidate.outcomes))
        if verdicts[-1].is_better:
            best = candidate
    return best, verdicts


def install(kept: Candidate, catalog: Catalog, out: Path) -> tuple[int, Path | None]:
    """Write a candidate as a new generation of the catalog, its weights into `out`; return both.

    CatalogError when the catalog is not what it was when the work began: nothing is changed then.
    """
    directory = catalog.directory
    with catalog_lock(directory):
        if generation_identity(directory, current_generation(directory)) != catalog.identity:
            rule = "was changed while it was being tuned, so nothing was kept"
            raise catalog_error(directory, rule, None, "give the same command again")
        if kept.weights is None:
            return write_copy(kept.catalog, directory), None
        weights = kept.weights.replace(out.resolve() / kept.weights.name)
        try:
            return write_copy(kept.catalog, directory), weights
        except BaseException:
            weights.unlink(missing_ok=True)
            raise


def _label(label: Labelled) -> dict[str, str]:
    return {"image": label.image, "item_id": label.item_id or NOTHING}


def _record(candidate: Candidate, verdict: Verdict | None) -> dict[str, Any]:
    record: dict[str, Any] = {
        "name": candidate.name,
        "embedder_sha256": candidate.catalog.manifest.recipe.embedder_sha256,
        "ms_a_photo": round(candidate.ms_a_photo, 1),
        "photos_exact_right": sum(outcome.exact > 0 for outcome in candidate.outcomes),
        "photos_exact_wrong": sum(outcome.exact < 0 for outcome in candidate.outcomes),
        "figures": candidate.figures,
    }
    if verdict is not None:
        record["verdict"] = {
            "is_better": verdict.is_better,
            "why": verdict.why,
            "exact_better_worse": list(verdict.exact),
            "first_better_worse": list(verdict.first),
        }
    return record
