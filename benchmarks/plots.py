"""The benchmarks' drawings, each a PNG beside its JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_COLORS = ("#3a6ea5", "#c8553d", "#588b4a", "#8a5a9e", "#b8860b", "#4b4b4b")


@contextmanager
def drawing(path: Path, size_in: tuple[float, float] = (7, 3.4)) -> Iterator[Any]:
    """Give an axis; what is drawn on it is in the file afterwards."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=size_in)
    try:
        yield axis
        figure.tight_layout()
        figure.savefig(path)
    finally:
        pyplot.close(figure)


def draw_stages(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw what a row of a batch takes, a line a network and precision, at most threads."""
    most = max(row["threads"] for row in rows)
    lines: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["threads"] == most:
            shape = "x".join(map(str, row["shape"]))
            name = f"{row['network']} {shape} {row['precision']}"
            lines.setdefault(name, {})[row["batch"]] = row["ms_a_row"]
    with drawing(path, (8, 4.5)) as axis:
        for number, (name, points) in enumerate(lines.items()):
            style = ("-", "--", ":")[number // len(_COLORS) % 3]
            axis.plot(
                *zip(*points.items(), strict=True),
                f"o{style}", label=name, color=_COLORS[number % len(_COLORS)], markersize=3,
            )  # fmt: skip
        axis.set(xlabel="batch", ylabel="ms a row", xscale="log", yscale="log")
        axis.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))


def draw_steps(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw what each step takes by itself, the median, and a thin line to the slowest of twenty."""
    names = [f"{row['step']}, {row['shape']}" for row in rows]
    usual = [row["call_ms"]["p50"] / row["rows"] for row in rows]
    slow = [row["call_ms"].get("p95", row["call_ms"]["p50"]) / row["rows"] for row in rows]
    with drawing(path, (7, 0.5 + 0.27 * len(rows))) as axis:
        axis.barh(names, usual, color=_COLORS[0])
        axis.hlines(names, usual, slow, color=_COLORS[1], linewidth=1.5)
        for name, value in zip(names, usual, strict=True):
            axis.text(value, name, f" {value:.1f}", va="center", fontsize=8)
        axis.invert_yaxis()
        axis.set(xlabel="ms a call, one at a time; line: up to the slowest of 20")


def draw_throughput(runs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw frames a second and efficiency by the number of cameras."""
    names = [str(run["cameras"]) for run in runs]
    with drawing(path) as axis:
        axis.bar(names, [run["frames_a_second"] for run in runs], color=_COLORS[0])
        axis.set(xlabel="cameras, flat out", ylabel="frames a second")
        other = axis.twinx()
        other.plot(names, [run["efficiency"] for run in runs], "o-", color=_COLORS[1])
        other.set(ylabel="efficiency", ylim=(0, 1.1))


def draw_density(runs: Sequence[Mapping[str, Any]], limit_ms: float, path: Path) -> None:
    """Draw the latencies by the number of cameras, with the limit."""
    ordered = sorted(runs, key=lambda run: run["cameras"])
    with drawing(path) as axis:
        for number, key in enumerate(("p50", "p95", "p99")):
            points = [
                (run["cameras"], run["capture_to_event_ms"][key])
                for run in ordered
                if run["capture_to_event_ms"]
            ]
            if points:
                axis.plot(*zip(*points, strict=True), "o-", label=key, color=_COLORS[number])
        axis.axhline(limit_ms, color="black", linestyle=":", label="limit of p99")
        axis.set(xlabel="cameras", ylabel="capture to event, ms", yscale="log")
        axis.legend()


def draw_search(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw one query's time and recall@1 by the number of views."""
    sizes = [row["n_views"] for row in rows]
    with drawing(path) as axis:
        for number, key in enumerate(k for k in rows[0] if k.startswith("one_query_ms_")):
            threads = key.split("_")[3]
            for quantile, style in (("p50", "o-"), ("p99", "o:")):
                label = f"{quantile}, {threads} threads"
                times_ms = [row[key][quantile] for row in rows]
                axis.plot(sizes, times_ms, style, label=label, color=_COLORS[number])
        axis.set(xlabel="views", ylabel="one query, ms", xscale="log", yscale="log")
        axis.legend()
        other = axis.twinx()
        other.plot(sizes, [row["recall_at_1"] for row in rows], "s", color=_COLORS[5])
        other.set(ylabel="recall@1 (squares)", ylim=(0.9, 1.005))


def draw_ring(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the write and the hand-over by the size of the pictures."""
    names = [row["size"] for row in rows]
    with drawing(path) as axis:
        for number, (key, label) in enumerate(
            (("write_ms", "write"), ("hand_over_ms", "write to reader"))
        ):
            for quantile, style in (("p50", "o-"), ("p99", "o:")):
                times_ms = [row[key][quantile] for row in rows]
                text = f"{label}, {quantile}"
                axis.plot(names, times_ms, style, label=text, color=_COLORS[number])
        axis.set(ylabel="ms a frame", ylim=(0, None))
        axis.legend()


def draw_latency(latencies_ms: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw which share of the events is no older than what, a line a size."""
    with drawing(path) as axis:
        for number, (name, found) in enumerate(latencies_ms.items()):
            ordered = sorted(found)
            shares = [(i + 1) / len(ordered) for i in range(len(ordered))]
            axis.step(ordered, shares, where="post", label=name, color=_COLORS[number])
        axis.set(xlabel="last packet sent to event received, ms", ylabel="share of events")
        axis.legend()


def draw_shares(processed: Mapping[str, int], path: Path) -> None:
    """Draw how many frames of each camera were processed, with the mean and a tenth about it."""
    mean = sum(processed.values()) / max(1, len(processed))
    with drawing(path) as axis:
        axis.bar(list(processed), list(processed.values()), color=_COLORS[0])
        axis.axhspan(0.9 * mean, 1.1 * mean, color=_COLORS[1], alpha=0.2, label="mean ± 10 %")
        axis.axhline(mean, color="black", linewidth=0.8)
        axis.set(ylabel="frames processed")
        axis.tick_params(axis="x", labelrotation=60, labelsize=7)
        axis.legend()


def draw_publish(figures: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw the time from hand-over to receipt by the rate."""
    named = {name: rows["received"] for name, rows in figures.items() if rows["received"]}
    with drawing(path) as axis:
        for number, key in enumerate(("p50", "p95", "p99")):
            times_ms = [row[key] for row in named.values()]
            axis.plot(list(named), times_ms, "o-", label=key, color=_COLORS[number])
        axis.set(xlabel="events", ylabel="hand-over to receipt, ms", yscale="log")
        axis.legend()


def draw_peers(summary: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the frames a second of Magpie and its peers."""
    with drawing(path, (6, 3)) as axis:
        bars = axis.barh(
            [row["name"] for row in summary], [row["fps"] for row in summary], color=_COLORS[0]
        )
        axis.bar_label(bars, labels=[f"{row['fps']:.1f}" for row in summary], padding=3)
        axis.invert_yaxis()
        axis.set(xlabel="frames a second of one camera, flat out")
