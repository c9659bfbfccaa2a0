"""Measurements in words: a table, ratios to a baseline, JSON and CSV.

Repeats of one point are one row: the mean of each figure, and the half width of its interval of 95 % (Student's t), or
the range that was seen where there is no such interval (`mmsim.timed.statistics`).  A
ratio is the geometric mean of the ratios seed by seed, with Student's t over their logarithms.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from mmsim.errors import UserError
from mmsim.report.table import GAP, plain
from mmsim.timed import Ended
from mmsim.timed.statistics import Interval, mean_interval, ratio_interval
from mmsim.timed.workloads import Measurement

Key = tuple[str, int]

WIDTH: Final = 120

SHOWN: Final = (
    "throughput 1/s",
    "refused /op",
    "held pages max",
    "line moves /op",
    "lock wait ns/op",
    "TLB shootdowns /op",
)
"""The figures of the table, with the percentiles of the latencies; JSON and CSV have them all."""

WORTH_TELLING = 0.01
"""Moves of a line per operation, below which it is left out."""


def grouped(measurements: Iterable[Measurement]) -> dict[Key, list[Measurement]]:
    """The repeats of each (strategy, number of CPUs), by seed."""
    groups: dict[Key, list[Measurement]] = {}
    for one in measurements:
        groups.setdefault((one.strategy, one.cpus), []).append(one)
    for repeats in groups.values():
        repeats.sort(key=lambda one: one.seed)
    return groups


def intervals(repeats: Sequence[Measurement]) -> dict[str, Interval]:
    """Each figure over the repeats; a figure that some repeat lacks is left out."""
    figures = [one.figures() for one in repeats]
    names = [name for name in figures[0] if all(name in one for one in figures)]
    return {name: mean_interval([one[name] for one in figures]) for name in names}


def ratios(repeats: Sequence[Measurement], base: Sequence[Measurement]) -> dict[str, Interval]:
    """Each figure over that of the baseline under the same seeds; what would divide by nothing is left out."""
    theirs = {one.seed: one.figures() for one in base}
    pairs = [(one.figures(), theirs[one.seed]) for one in repeats if one.seed in theirs]
    if not pairs:
        msg = "the baseline was not measured under any of the same seeds, so there is nothing to compare with"
        raise UserError(msg)
    found = {}
    for name in pairs[0][0]:
        if all(name in mine and name in other for mine, other in pairs):
            try:
                found[name] = ratio_interval(
                    [mine[name] for mine, _ in pairs], [other[name] for _, other in pairs], name
                )
            except UserError:
                continue  # a table has a dash there
    return found


def number(value: float) -> str:
    """Four digits, with a unit's letter for the large ones."""
    for factor, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:.4g}{letter}"
    return f"{value:.3g}"


def shown(interval: Interval | None) -> str:
    """`12.3k ±4%`, `12.3k` where a single run cannot tell or all are alike, `-` where there is none.

    `0.333 (0 to 1)` is the range that was seen, where the runs scatter too much for an interval.
    """
    if interval is None:
        return "-"
    if interval.seen is not None:
        return f"{number(interval.middle)} ({number(interval.seen[0])} to {number(interval.seen[1])})"
    if interval.low is None or interval.high is None or interval.low == interval.high or not interval.middle:
        return number(interval.middle)
    return f"{number(interval.middle)} ±{(interval.high - interval.low) / 2 / abs(interval.middle):.0%}"


def span(interval: Interval | None) -> str:
    """`x1.30 [1.22, 1.39]`."""
    if interval is None:
        return "-"
    if interval.low is None or interval.high is None:
        return f"x{interval.middle:.3g}"
    return f"x{interval.middle:.3g} [{interval.low:.3g}, {interval.high:.3g}]"


def columns(measurements: Sequence[Measurement]) -> list[str]:
    """The figures that a table shows, in order."""
    known: dict[str, None] = {}
    for one in measurements:
        known |= dict.fromkeys(one.figures())
    percentiles = [name for name in known if name.endswith((" p50 ns", " p99 ns"))]
    return [SHOWN[0], *percentiles, *(name for name in SHOWN[1:] if name in known)]


def text(measurements: Sequence[Measurement], baseline: str | None = None) -> str:
    """The table, one row for each design and number of CPUs; ratios to the baseline under it."""
    if not measurements:
        return "nothing was measured"
    parts = [title(measurements), _turned(figure_rows(measurements))]
    if baseline is not None:
        rows = ratio_rows(measurements, baseline)
        told = f"{ratio_title(baseline)}:\n{_turned(rows)}" if rows else f"nothing to compare with {baseline}"
        parts.append(told)
    lines = hot_lines(measurements)
    if lines:
        parts.append("cache lines that move most, per operation:\n" + plain(lines))
    return "\n\n".join([*parts, *warnings(measurements)])


def title(measurements: Sequence[Measurement]) -> str:
    """What was measured."""
    first = measurements[0]
    return f"{first.workload} on {first.release}, cost model {first.cost}; an operation is one {first.operation}"


def figure_rows(measurements: Sequence[Measurement]) -> list[tuple[str, ...]]:
    """A head, and a row for each design and number of CPUs with the means and intervals of its repeats."""
    names = columns(measurements)
    rows = [("design", "CPUs", "runs", *names)]
    for (strategy, cpus), repeats in grouped(measurements).items():
        found = intervals(repeats)
        rows.append((strategy, str(cpus), str(len(repeats)), *(shown(found.get(name)) for name in names)))
    return rows


def warnings(measurements: Sequence[Measurement]) -> list[str]:
    """A sentence for each run that hung or that broke a property."""
    told = []
    for one in measurements:
        if one.ended in (Ended.SILENT, Ended.DEADLOCK):
            told.append(f"under {one.strategy}, {one.cpus} CPUs, seed {one.seed}: {one.ended.value}")
        if one.violation is not None:
            name, detail = one.violation
            told.append(f"VIOLATED under {one.strategy}, {one.cpus} CPUs, seed {one.seed}: {name}: {detail}")
    return told


def _turned(rows: Sequence[Sequence[str]]) -> str:
    """Figures down, designs across, as many to a table as fit."""
    head, *points = rows
    tables, fitting = [], [head]
    for point in points:
        if len(fitting) > 1 and sum(max(map(len, row)) + GAP for row in (*fitting, point)) > WIDTH:
            tables.append(fitting)
            fitting = [head]
        fitting.append(point)
    return "\n\n".join(plain([tuple(row) for row in zip(*table, strict=True)]) for table in (*tables, fitting))


def ratio_title(baseline: str) -> str:
    """What the ratios are."""
    return f"ratio to {baseline}, with its interval of 95 % (paired by seed, t over logarithms)"


def ratio_rows(measurements: Sequence[Measurement], baseline: str) -> list[tuple[str, ...]]:
    """As `figure_rows`, with ratios to the baseline on as many CPUs; nothing where there is none to compare."""
    groups, names = grouped(measurements), columns(measurements)
    rows = [("design", "CPUs", *names)]
    for (strategy, cpus), repeats in groups.items():
        base = groups.get((baseline, cpus))
        if strategy != baseline and base is not None:
            found = ratios(repeats, base)
            rows.append((strategy, str(cpus), *(span(found.get(name)) for name in names)))
    return rows if len(rows) > 1 else []


HOTTEST: Final = 3


def hot_lines(measurements: Sequence[Measurement]) -> list[tuple[str, ...]]:
    """A head, and for each design and number of CPUs the kinds of lines that move most; nothing where none moves."""
    rows: list[tuple[str, ...]] = []
    for (strategy, cpus), repeats in grouped(measurements).items():
        moved: dict[str, float] = {}
        operations = sum(one.operations for one in repeats)
        for one in repeats:
            for kind, traffic in one.lines.items():
                moved[kind] = moved.get(kind, 0) + traffic.moved
        for kind in sorted(moved, key=lambda kind: -moved[kind])[:HOTTEST]:
            if operations and moved[kind] / operations >= WORTH_TELLING:
                rows.append((strategy, str(cpus), f"{moved[kind] / operations:.2f}", kind))
    return [("design", "CPUs", "moves", "line"), *rows] if rows else []


def as_record(one: Measurement) -> dict[str, Any]:
    """One measurement for JSON."""
    return {
        **{name: getattr(one, name) for name in PLAIN},
        "ended": one.ended.name.lower(),
        "violation": None if one.violation is None else list(one.violation),
        "figures": one.figures(),
        "held": [list(look) for look in one.held],
        "lines": {kind: attrs.asdict(traffic) for kind, traffic in one.lines.items()},
        "locks": [attrs.asdict(lock) for lock in one.locks],
    }


PLAIN: Final = (
    "workload", "strategy", "release", "cost", "cpus", "seed", "simulated_ns", "steps", "operation", "operations",
)  # fmt: skip


def as_csv(measurements: Sequence[Measurement]) -> str:
    """One row for each measurement, one column for each figure."""
    names = list(dict.fromkeys(name for one in measurements for name in one.figures()))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*PLAIN, "ended", *names])
    for one in measurements:
        figures = one.figures()
        writer.writerow(
            [
                *(getattr(one, name) for name in PLAIN),
                one.ended.name.lower(),
                *(figures.get(name, "") for name in names),
            ]
        )
    return out.getvalue().rstrip("\n")
