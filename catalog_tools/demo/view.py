"""What the demo shows on the terminal: events as they come, then the summary and the verdict."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from catalog_tools.demo.check import CheckReport
from catalog_tools.demo.truth import Truth

_TIER_STYLES = {"exact": "green", "very_similar": "yellow", "similar": "red"}
_MAX_FAULTS = 20


class LiveView:
    """Shows the open sightings on a terminal; a line for each `appeared` and `left` elsewhere."""

    def __init__(self, console: Console, truth: Truth) -> None:
        self._console = console
        self._fps = truth.fps
        self._open: dict[str, dict[str, Any]] = {}
        self._n_events = 0
        self._live: Live | None = None

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live = Live(self._table(), console=self._console, refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, event: dict[str, Any]) -> None:
        """Take one event in."""
        if event["type"] not in ("appeared", "updated", "left"):
            return
        self._n_events += 1
        if event["type"] == "left":
            self._open.pop(event["sighting_id"], None)
        else:
            self._open[event["sighting_id"]] = event
        if self._live is not None:
            self._live.update(self._table())
        elif event["type"] != "updated":
            self._console.print(self._line(event), highlight=False, soft_wrap=True)

    def _line(self, event: dict[str, Any]) -> str:
        second = event["frame_number"] / self._fps
        text = f"{second:6.2f} s  {event['type']:8}  {event['item_id']:10} {event['label']}"
        if event["type"] == "left":
            return f"{text}  ({event['reason']})"
        return f"{text}  {event['tier']} {event['probability']:.2f}, {event['latency_ms']:.0f} ms"

    def _table(self) -> Table:
        title = f"{len(self._open)} in view, {self._n_events} events"
        table = Table(title=title, title_justify="left", box=None, expand=False)
        for heading in ("item", "label", "tier", "prob", "simil", "inliers", "since", "latency"):
            table.add_column(heading, no_wrap=True)
        for event in sorted(self._open.values(), key=lambda event: event["item_id"]):
            style = _TIER_STYLES[event["tier"]]
            table.add_row(
                event["item_id"], event["label"], f"[{style}]{event['tier']}[/]",
                f"{event['probability']:.2f}", f"{event['similarity']:.2f}",
                str(event["inliers"]), f"{event['frame_number'] / self._fps:.1f} s",
                f"{event['latency_ms']:.0f} ms",
            )  # fmt: skip
        return table


def print_summary(console: Console, summary: dict[str, Any]) -> None:
    """Print the daemon's own account of the run."""
    table = Table(title="the run", title_justify="left", box=None, show_header=False)
    for name, camera in summary["cameras"].items():
        counters = camera["counters"]
        skipped, dropped = (sum(counters[key].values()) for key in ("skipped", "dropped"))
        frames = f"{counters['decoded']} decoded = {counters['processed']} processed"
        table.add_row(name, f"{frames} + {skipped} skipped + {dropped} dropped")
        table.add_row("", f"{camera['fps']:.1f} frames a second")
    events = ", ".join(f"{count} {kind}" for kind, count in summary["events"].items())
    table.add_row("events", events or "none")
    for stage, figures in summary["latency"].items():
        percentiles = " / ".join(f"{figures[key]:.1f}" for key in ("p50_ms", "p95_ms", "p99_ms"))
        table.add_row(stage, f"{percentiles} ms (p50 / p95 / p99)")
    console.print(table)


def print_verdict(console: Console, report: CheckReport, n_lost: int) -> None:
    """Print each target with what was found, and every fault by name."""
    table = Table(title="against the truth", title_justify="left", box=None, show_header=False)
    targets = [*report.targets(), ("events lost on the wire", str(n_lost), "0", n_lost == 0)]
    for what, found, wanted, held in targets:
        mark = "[green]held[/]" if held else "[red]missed[/]"
        table.add_row(what, found, f"target {wanted}", mark)
    table.add_row("sightings", f"{report.n_found} of {report.n_true_sightings} found", "", "")
    table.add_row("announced again", str(report.n_repeated), "", "")
    console.print(table)
    for fault in report.faults[:_MAX_FAULTS]:
        console.print(f"  - {fault}", highlight=False, markup=False)
    if len(report.faults) > _MAX_FAULTS:
        console.print(f"  … and {len(report.faults) - _MAX_FAULTS} more in report.json")
