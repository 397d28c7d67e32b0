"""/metrics: what it tells of a state, and that the dashboard uses no other names."""

import json
import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from streamer.web.metric_lines import metrics_text

DASHBOARD = Path(__file__).resolve().parents[3] / "docs" / "grafana.json"
CAMERA = {
    "state": "running",
    "counters": {
        "decoded": 100,
        "processed": 80,
        "skipped": {"between": 15},
        "dropped": {"overrun": 5},
        "pending": 0,
    },
    "fps": 8.0,
    "events": {"appeared": 3, "left": 2},
    "matcher": "matcher.0",
    "load": 0.25,
}
STAGE = {"n": 4, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "sum_ms": 5.0}
STATE: dict[str, Any] = {
    "last_seq": 7,
    "oldest_seq": 1,
    "open_sightings": [{}],
    "workers": {"matcher.0": {"counters": {"looks_waiting": 2, "looks_done": 9}}},
    "summary": {
        "seconds": 12.5,
        "cameras": {"door": CAMERA},
        "latency": {"detect": {**STAGE, "buckets": {"1": 1, "10": 4}}, "publish": STAGE},
        "restarts": {"camera.door": 2},
        "trouble": [],
    },
}


def samples(state: dict[str, Any] | None) -> dict[str, float]:
    """Return every sample of a scrape, by its name and labels."""
    text = metrics_text(state, {"door": 0.0}, 3).decode()
    return {
        f"{one.name}{json.dumps(one.labels, sort_keys=True) if one.labels else ''}": one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def test_a_scrape_tells_what_the_summary_holds() -> None:
    found = samples(STATE)
    assert found["magpie_up"] == 1 and found["magpie_journal_ok"] == 1
    assert found['magpie_frames_dropped_total{"camera": "door", "cause": "overrun"}'] == 5
    assert found['magpie_events_total{"camera": "door", "type": "appeared"}'] == 3
    assert found['magpie_looks_waiting{"worker": "matcher.0"}'] == 2
    assert found['magpie_restarts_total{"worker": "camera.door"}'] == 2
    assert found['magpie_stage_seconds_bucket{"le": "0.001", "stage": "detect"}'] == 1
    assert found['magpie_stage_seconds_bucket{"le": "+Inf", "stage": "detect"}'] == 4
    assert found['magpie_stage_seconds_sum{"stage": "detect"}'] == 0.005
    assert found['magpie_latency_seconds{"quantile": "0.99", "stage": "publish"}'] == 0.003


def test_without_a_daemon_a_scrape_says_so() -> None:
    found = samples(None)
    assert found["magpie_up"] == 0 and found["magpie_event_streams"] == 3


def test_the_dashboard_uses_only_names_that_are_told() -> None:
    known = {name.partition("{")[0] for name in samples(STATE)}
    dashboard = json.loads(DASHBOARD.read_text())
    used = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"magpie_\w+", target["expr"])
    }
    assert used and used <= known, used - known
    most = known - {"magpie_stage_seconds_count", "magpie_stage_seconds_sum", "magpie_build_info"}
    assert len(used) > 0.7 * len(most)
