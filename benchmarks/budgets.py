"""The budgets: what a figure may be at least or at most, and what a check makes of figures."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError

BUDGETS = Path(__file__).resolve().parent / "budgets.toml"
_KEYS = {"says", "least", "most"}


@dataclass(frozen=True, slots=True)
class Budget:
    """One promise. says: what the figure is. least, most: its limits; None: none on this side."""

    name: str
    says: str
    least: float | None = None
    most: float | None = None

    def is_kept(self, value: float) -> bool:
        """Whether a figure lies within the limits; NaN does not."""
        is_enough = self.least is None or value >= self.least
        return is_enough and (self.most is None or value <= self.most) and value == value

    @property
    def limit(self) -> str:
        """The limits in words."""
        parts = [f"≥ {self.least:g}"] if self.least is not None else []
        return " and ".join([*parts, f"≤ {self.most:g}"] if self.most is not None else parts)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a figure came to. value: None: not measured. trouble: "" when the budget is kept."""

    name: str
    value: float | None
    limit: str
    says: str
    trouble: str = ""


def read_budgets(path: Path = BUDGETS) -> dict[str, Budget]:
    """Return the budgets by name; ConfigError for a row that says nothing, or too much."""
    budgets = {}
    for name, row in tomllib.loads(path.read_text()).items():
        where = f"{path.name} [{name}]"
        if not isinstance(row, dict) or "says" not in row or not set(row) <= _KEYS:
            got = ", ".join(row) if isinstance(row, dict) else row
            raise ConfigError.at(where, "expected says, and least, most or both", got)
        if len(row) == 1:
            raise ConfigError.at(where, "expected a limit: least, most or both", "none")
        budgets[name] = Budget(name, **row)
    return budgets


def judge(budgets: Mapping[str, Budget], figures: Mapping[str, float]) -> list[Verdict]:
    """Return a verdict a budget, in their order, then one for each figure that has none."""
    verdicts = []
    for name, budget in budgets.items():
        value = figures.get(name)
        trouble = ""
        if value is None:
            trouble = "was not measured"
        elif not budget.is_kept(value):
            trouble = "breached"
        verdicts.append(Verdict(name, value, budget.limit, budget.says, trouble))
    for name in figures.keys() - budgets.keys():
        verdicts.append(Verdict(name, figures[name], "", "", "has no budget"))
    return verdicts


def better(budget: Budget | None, first: float, second: float) -> float:
    """Return the figure that is further on the right side of the budget."""
    if budget is None or budget.least is not None:
        return max(first, second)
    return min(first, second)


def breached(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the names of what is not kept."""
    return [verdict.name for verdict in verdicts if verdict.trouble]
