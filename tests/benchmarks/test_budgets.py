"""The budgets fail on a breach, on a figure without one, and on one without a figure."""

from pathlib import Path

import pytest

from benchmarks.alone import Alone
from benchmarks.bench_check import GROUPS, Measure, Setting, _latency, check
from benchmarks.budgets import Budget, better, breached, judge, read_budgets
from benchmarks.daemon_run import RunResult
from benchmarks.material import Material
from pipeline.errors import ConfigError
from pipeline.options import MatcherOptions

SETTING = Setting(Path(), (), MatcherOptions(), Material(Path(), Path(), 0))
KEPT = {
    "efficiency": 0.9, "lost_flat_out": 0.0, "two_lanes": 2.0, "look": 2.0, "coasting": 0.01,
    "latency": 1.5, "approximate_search": 0.1, "approximate_recall": 1.0, "ring_write": 1.5,
    "stalled_subscriber": 1.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("least", "most", "value", "is_kept"),
    [
        (0.5, None, 0.5, True),
        (0.5, None, 0.49, False),
        (None, 3.0, 3.0, True),
        (None, 3.0, 3.01, False),
        (0.9, 1.1, 1.0, True),
        (0.9, 1.1, 1.2, False),
        (0.5, None, float("nan"), False),
        (None, 3.0, float("nan"), False),
    ],
)
def test_limits(least: float | None, most: float | None, value: float, is_kept: bool) -> None:
    assert Budget("a", "a ratio", least, most).is_kept(value) is is_kept


def test_the_shipped_budgets_know_every_figure_and_no_other() -> None:
    assert set(read_budgets()) == set(KEPT)
    assert breached(judge(read_budgets(), KEPT)) == []


def test_a_figure_without_a_budget_and_a_budget_without_a_figure_fail() -> None:
    budgets = {"a": Budget("a", "a ratio", least=1.0)}
    verdicts = {verdict.name: verdict.trouble for verdict in judge(budgets, {"b": 1.0})}
    assert verdicts == {"a": "was not measured", "b": "has no budget"}


@pytest.mark.parametrize(
    "text",
    ["[a]\nleast = 1", "[a]\nsays = 'x'", "[a]\nsays = 'x'\nmost = 1\nmots = 2", "a = 1"],
)
def test_a_row_that_says_too_little_or_too_much_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "budgets.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"budgets\.toml \[a\]: expected"):
        read_budgets(tmp_path / "budgets.toml")


def groups_that_give(*tries: dict[str, float]) -> tuple[dict[str, Measure], list[int]]:
    """One group; each call gives the next try. And how often it was called."""
    calls: list[int] = []

    def measure(setting: Setting) -> dict[str, float]:
        calls.append(1)
        return tries[len(calls) - 1]

    return {"all": measure}, calls


def test_what_is_kept_is_measured_once() -> None:
    groups, calls = groups_that_give(KEPT)
    verdicts, _ = check(groups, SETTING)
    assert breached(verdicts) == [] and len(calls) == 1


def test_a_breach_is_measured_once_more_and_the_better_figure_counts() -> None:
    slow = KEPT | {"efficiency": 0.01, "latency": 2.9}
    groups, calls = groups_that_give(slow, KEPT | {"latency": 99.0})
    verdicts, tries = check(groups, SETTING)
    assert breached(verdicts) == [] and len(calls) == 2
    assert tries["all"][0] == slow
    assert {v.name: v.value for v in verdicts}["latency"] == 2.9


def test_a_breach_that_stays_fails_by_name() -> None:
    slow = KEPT | {"efficiency": 0.01, "ring_write": 50.0}
    groups, _ = groups_that_give(slow, slow)
    verdicts, _ = check(groups, SETTING)
    assert breached(verdicts) == ["efficiency", "ring_write"]


def test_the_better_of_two_figures_is_on_the_budget_s_right_side() -> None:
    assert better(Budget("a", "", least=1.0), 1.0, 2.0) == 2.0
    assert better(Budget("a", "", most=1.0), 1.0, 2.0) == 1.0


def test_latency_is_held_against_what_other_programs_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    alone = Alone(decode_ms=1.0, search_ms=20.0, coast_ms=0.1, look_ms=50.0, stages={})
    events = [{"type": "appeared", "latency_ms": 140.0}]
    assert _latency(RunResult({}, events, {}), alone) == pytest.approx(2.0)
    assert _latency(RunResult({}, events, {}, others_cores=1.0), alone) == pytest.approx(1.0)
    silent = _latency(RunResult({}, [], {}), alone)
    assert not read_budgets()["latency"].is_kept(silent)


def test_the_groups_have_names_that_people_read() -> None:
    assert list(GROUPS) == ["runs", "search", "ring", "publish"]
