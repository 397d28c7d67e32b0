"""A tuning for people: one page, and a folder with the same as JSON and as a picture."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from catalog_tools.evaluation.pictures import new_axis, save_figure
from catalog_tools.tune.candidates import AS_IT_IS, Candidate
from catalog_tools.tune.tune import Tuning
from catalog_tools.tune.verdict import RULE, Verdict
from pipeline.picture_file import write_result
from pipeline.printable import json_text, printable

COLUMNS = (
    "candidate",
    "top-1",
    "exact: precision at recall",
    "wrong exact",
    "very_similar and better",
    "ms a photo",
    "photos better, worse",
)


def write_report(tuning: Tuning, out: Path) -> list[Path]:
    """Write tune.json and tune.png, precision against recall of each candidate; return them."""
    text = json_text(tuning.to_json(), indent=1) + "\n"
    write_result(out / "tune.json", text.encode(), "--out")
    draw_candidates(tuning.candidates, out / "tune.png")
    return [out / "tune.json", out / "tune.png"]


def print_page(tuning: Tuning, console: Console, config: Path | None = None) -> None:
    """Print the candidates as a table, then what was decided and what it asks of the user.

    config: the file that new weights must be named in; None: the user has none yet.
    """
    table = Table(*COLUMNS)
    for row in table_rows(tuning):
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)
    for line in decision(tuning, config):
        console.print(Text(printable(line)), soft_wrap=True)


def table_rows(tuning: Tuning) -> list[tuple[str, ...]]:
    """Return a row a candidate, as COLUMNS says; counts are of photos."""
    verdicts = [None, *tuning.verdicts]
    return [_row(c, v) for c, v in zip(tuning.candidates, verdicts, strict=True)]


def _row(candidate: Candidate, verdict: Verdict | None) -> tuple[str, ...]:
    figures = candidate.figures
    n_wrong = sum(outcome.exact < 0 for outcome in candidate.outcomes)
    return (
        candidate.name,
        _percent(figures["top_1"]),
        _tier(figures["tiers"]["exact"]),
        str(n_wrong),
        _tier(figures["tiers"]["very_similar"]),
        f"{candidate.ms_a_photo:.0f}",
        "" if verdict is None else _changes(verdict),
    )


def _changes(verdict: Verdict) -> str:
    (better, worse), (risen, fallen) = verdict.exact, verdict.first
    return f"exact {better}, {worse}; top-1 {risen}, {fallen}"


def decision(tuning: Tuning, config: Path | None = None) -> Iterator[str]:
    """Yield the lines below the table: on what it rests, what was kept, and how to use it."""
    halves = tuning.halves
    yield (
        f"Judged on {len(halves.judging)} photos, fitted on {len(halves.fitting)} others. "
        f"The rule: {RULE}."
    )
    if not tuning.was_fitted:
        yield (
            "The training found the catalog's items no better than the weights begun with, so it "
            "is no candidate."
        )
    for candidate, verdict in zip(tuning.candidates[1:], tuning.verdicts, strict=True):
        judged = "better" if verdict.is_better else "not better"
        yield f"{candidate.name}: {judged} than the best before it, {verdict.why}."
    if not tuning.is_changed:
        yield f"Nothing is better than what was: {tuning.directory} is unchanged."
        return
    yield (
        f"Kept: {tuning.kept.name}. {tuning.directory}: generation {tuning.generation} in use; "
        f"back to what was: {tuning.rollback_command}"
    )
    if tuning.weights is not None:
        named = "my.yaml" if config is None else str(config)
        yield "The catalog is bound to new weights. Name them wherever it is used:"
        yield f"# {named}"
        yield f"matcher: {{embed: {{weights: {json.dumps(str(tuning.weights))}}}}}"
        yield (
            f"and start `magpie run --config {shlex.quote(named)}` anew; a daemon that runs goes "
            "on with the old generation."
        )


def draw_candidates(candidates: Iterable[Candidate], path: Path) -> None:
    """Write each candidate's precision against recall at the photos' centres, tiers marked."""
    figure, axis = new_axis("recall", "precision")
    for candidate in candidates:
        rows = candidate.figures["curves"]["published"]
        recall, precision = ([row[name] for row in rows] for name in ("recall", "precision"))
        dashes = "--" if candidate.name == AS_IT_IS else "-"
        (line,) = axis.step(recall, precision, dashes, where="post", label=candidate.name)
        for tier, marker in (("exact", "o"), ("very_similar", "s")):
            found = candidate.figures["tiers"][tier]
            if found["precision"] is not None:
                at = found["recall"], found["precision"]
                axis.plot(*at, marker, color=line.get_color(), markersize=5)
    axis.set_title("o exact   ■ very_similar and better", fontsize=9)
    axis.legend(loc="lower left")
    save_figure(figure, path)


def _tier(found: Mapping[str, Any]) -> str:
    return f"{_percent(found['precision'])} at {_percent(found['recall'])}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
