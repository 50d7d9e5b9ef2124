"""Samples into ratios, and ratios into docs/benchmarks.md."""

import dataclasses
import statistics

from measurement import Sample
from rows import Figure, Row

Samples = dict[str, list[Sample]]  # a measurement's, one a round

SCALES = {"MB": 1e6, "MB/s": 1e6, "M weights/s": 1e6, "GFLOP/s": 1e9}


@dataclasses.dataclass(frozen=True)
class Side:
    """One side's values, one a round, in the row's unit; `failure` says why there are none."""

    values: list[float]
    failure: str | None = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    row: Row
    ours: Side
    theirs: Side | None

    @property
    def decisive(self) -> list[float]:
        """What the bound is of: the ratios of each round, or our figure where there is no other side."""
        if not self.theirs:
            return self.ours.values
        if self.ours.failure or self.theirs.failure:
            return []
        return [ours / theirs for ours, theirs in zip(self.ours.values, self.theirs.values, strict=True)]

    @property
    def is_met(self) -> bool | None:
        if not self.decisive or self.row.bound is None:
            return None
        # A bound on a ratio or a share has no unit, one on a figure has the row's.
        bound = self.row.bound if self.row.theirs else self.row.bound / SCALES.get(self.row.unit, 1)
        value = statistics.median(self.decisive)
        return value >= bound if self.row.at_least else value <= bound


def outcome(row: Row, samples: Samples) -> Outcome:
    theirs = side(row.theirs, row.unit, samples) if row.theirs else None
    return Outcome(row, side(row.ours, row.unit, samples), theirs)


def side(figure: Figure, unit: str, samples: Samples) -> Side:
    values: list[float] = []
    for sample in samples[figure.measurement]:
        value = sample.figures.get(figure.key)
        if sample.failure:
            return Side([], sample.failure)
        if not isinstance(value, (int, float)):
            return Side([], f"printed no {figure.key}")
        values.append(value / SCALES.get(unit, 1))
    return Side(values)


def number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(values: list[float]) -> str:
    """The median, and the least and the most where there are more than one."""
    if not values:
        return ""
    text = number(statistics.median(values))
    return text if len(values) == 1 else f"{text} ({number(min(values))}–{number(max(values))})"


def ratio_spread(values: list[float]) -> str:
    """As `spread`, to the thousandth: step times are compared to half a percent."""
    if not values:
        return ""
    text = f"{statistics.median(values):.3f} ×"
    return text if len(values) == 1 else f"{text} ({min(values):.3f}–{max(values):.3f})"


def target(row: Row) -> str:
    if row.bound is None:
        return ""
    sign = "≥" if row.at_least else "≤"
    if row.theirs:
        return f"{sign} {row.bound:g} ×"
    return f"{sign} {number(row.bound / SCALES.get(row.unit, 1))} {row.unit}".strip()


def cell(side: Side | None) -> str:
    if side and side.failure:
        return "failed: " + side.failure.replace("|", "\\|")
    return spread(side.values) if side else ""


def line(result: Outcome) -> str:
    row = result.row
    title = f"{row.title}, {row.unit}" if row.unit else row.title
    met = {True: "yes", False: "**no**", None: ""}[result.is_met]
    ratio = ratio_spread(result.decisive) if row.theirs else ""
    cells = [title, cell(result.ours), cell(result.theirs), ratio, target(row), met]
    return f"| {' | '.join(cells)} |"


def markdown(outcomes: list[Outcome], samples: Samples, machine: dict[str, str], rounds: int) -> str:
    parts = [
        "# Lorikeet beside its peers",
        "Written by `make compare`; [Benchmarks/README.md](../Benchmarks/README.md) says how it measures.",
        "\n".join(f"- {name}: {value}" for name, value in machine.items()),
        f"Medians of {rounds} rounds, least and most in parentheses. The two sides of a row ran in turn; its ratio "
        "is ours / theirs, taken in each round.",
        disturbance(samples),
    ]
    for section in dict.fromkeys(result.row.section for result in outcomes):
        parts.append(f"## {section}")
        table = ["| | Lorikeet | peer | ratio | target | met |", "|---|---|---|---|---|---|"]
        table += [line(result) for result in outcomes if result.row.section == section]
        parts.append("\n".join(table))
    return "\n\n".join(parts) + "\n"


def disturbance(samples: Samples) -> str:
    others = [sample.others for taken in samples.values() for sample in taken if not sample.failure]
    if not others:
        return "No sample was taken."
    return (
        f"Other processes took {statistics.median(others):.2f} of a processor while a sample was taken "
        f"({min(others):.2f}–{max(others):.2f})."
    )
