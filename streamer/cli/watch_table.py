"""The live table of `magpie watch`: open sightings above, cameras and workers below."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.printable import printable
from streamer.cli.terminal import cells

_DRAW_S = 0.25
_LEFT_SHOWN = 6
_STYLE_BY_TIER = {"exact": "green", "very_similar": "yellow", "similar": "cyan"}


class WatchTable:
    """Takes events and draws how things stand."""

    def __init__(self, endpoint: str, state: Mapping[str, Any] | None = None) -> None:
        """state: what the daemon answered to {"state": true}, for a start that is not empty."""
        self._endpoint = endpoint
        self._open: dict[str, dict[str, Any]] = {}
        self._left: deque[dict[str, Any]] = deque(maxlen=_LEFT_SHOWN)
        self._states: dict[str, dict[str, Any]] = {}
        self._last_seq = 0
        self._drawn_s = 0.0
        if state is not None:
            self._last_seq = int(state["last_seq"])
            for event in (*state["cameras"].values(), *state["workers"].values()):
                self._states[event["process"]] = event
            self._open = {event["sighting_id"]: event for event in state["open_sightings"]}

    def take(self, event: dict[str, Any]) -> None:
        """Take one event in."""
        self._last_seq = max(self._last_seq, int(event["seq"]))
        if event["type"] == "status":
            self._states[event["process"]] = event
        elif event["type"] == "left":
            self._open.pop(event["sighting_id"], None)
            self._left.appendleft(event)
        else:
            self._open[event["sighting_id"]] = event

    def is_due(self) -> bool:
        """Whether a burst of events has gone undrawn for long enough."""
        return time.monotonic() - self._drawn_s > _DRAW_S

    def draw(self, is_silent: bool) -> RenderableType:
        """Return the picture of now."""
        self._drawn_s = time.monotonic()
        head = Text(f"{printable(self._endpoint)}  event {self._last_seq}  ", style="bold")
        if is_silent:
            head.append("no daemon is heard", style="bold red")
        return Group(head, self._sightings(), self._workers())

    def _sightings(self) -> Table:
        table = Table(expand=True)
        for name in ("camera", "item", "label", "tier", "probability", "inliers", "what", "ago"):
            table.add_column(name)
        for event in (*self._open.values(), *self._left):
            has_left = event["type"] == "left"
            style = "dim" if has_left else _STYLE_BY_TIER[event["tier"]]
            shown = [
                event["camera"],
                event["item_id"],
                event["label"],
                event["tier"],
                f"{event['probability']:.3f}",
                str(event["inliers"]),
                f"left: {event['reason']}" if has_left else event["type"],
                _age(event["time"]["published"]),
            ]
            table.add_row(*cells(*shown), style=style)
        return table

    def _workers(self) -> Table:
        table = Table(expand=True, box=None)
        for name in ("worker", "state", "counters", "reason"):
            table.add_column(name)
        for process, event in sorted(self._states.items()):
            counters = " ".join(f"{name}={_short(n)}" for name, n in event["counters"].items())
            table.add_row(*cells(process, event["state"], counters, event["reason"] or ""))
        return table


def _short(number: float) -> str:
    return f"{number:.1f}" if isinstance(number, float) else str(number)


def _age(published: str) -> str:
    seconds = (datetime.now(UTC) - datetime.fromisoformat(published)).total_seconds()
    return f"{max(0.0, seconds):.0f} s"
