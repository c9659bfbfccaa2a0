"""Measurements as pictures: matplotlib, the extra `[report]`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mmsim.errors import UserError
from mmsim.report.costs import grouped, intervals
from mmsim.timed.workloads import Measurement

FORMATS: Final = (".png", ".svg")


def check(path: str) -> None:
    """Whether a picture can be drawn into a file of that name.  Raises UserError, before anything is measured."""
    if Path(path).suffix not in FORMATS:
        msg = f"--plot {path!r}: a picture's name ends in {' or '.join(FORMATS)}"
        raise UserError(msg)
    if not Path(path).absolute().parent.is_dir():
        msg = f"--plot {path!r}: there is no folder {str(Path(path).parent)!r}"
        raise UserError(msg)
    _matplotlib()


def _matplotlib() -> Any:
    try:
        import matplotlib as mpl
    except ImportError:
        msg = "plots need matplotlib, which is not installed; pip install 'mmsim[report]'"
        raise UserError(msg) from None
    mpl.use("Agg")
    # Texts stay texts, and a picture of the same figures is the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "mmsim"})
    from matplotlib import figure

    return figure


def draw(measurements: Sequence[Measurement], path: str) -> None:
    """Four pictures on one page: throughput, latency, line moves, and pages held over time."""
    first = measurements[0]
    page = _matplotlib().Figure(figsize=(11, 8), layout="constrained")
    page.suptitle(f"{first.workload} on {first.release}, cost model {first.cost}")
    axes = page.subplots(2, 2)
    groups = grouped(measurements)
    latency = next((name for name in first.figures() if name.endswith("p99 ns")), None)
    for strategy in dict.fromkeys(one.strategy for one in measurements):
        points = {cpus: intervals(repeats) for (name, cpus), repeats in groups.items() if name == strategy}
        _curve(axes[0][0], points, "throughput 1/s", strategy)
        if latency is not None:
            _curve(axes[0][1], points, latency, strategy)
        _curve(axes[1][0], points, "line moves /op", strategy)
        most = max(points)
        held = groups[strategy, most][0].held
        axes[1][1].plot([at / 1e6 for at, _ in held], [pages for _, pages in held], label=f"{strategy}, {most} CPUs")
    for axis, title, below in (
        (axes[0][0], f"{first.operation} a second", "CPUs"),
        (axes[0][1], latency or "", "CPUs"),
        (axes[1][0], "cache lines moved between CPUs, per operation", "CPUs"),
        (axes[1][1], "pages held though nobody maps them", "simulated time, ms"),
    ):
        axis.set_title(title)
        axis.set_xlabel(below)
        axis.set_ylim(bottom=0)
        axis.legend(fontsize="small")
    page.savefig(path, metadata={"Date": None} if path.endswith(".svg") else None)


def _curve(axis: Any, points: Any, name: str, label: str) -> None:
    """A figure over the number of CPUs, with the interval of 95 % as a bar."""
    known = {cpus: found[name] for cpus, found in sorted(points.items()) if name in found}
    halves = [(one.high - one.low) / 2 if one.low is not None else 0 for one in known.values()]
    axis.errorbar(list(known), [one.middle for one in known.values()], yerr=halves, marker="o", capsize=3, label=label)
