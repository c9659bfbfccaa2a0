"""Measurements as pictures: matplotlib, the extra `[report]`."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from mmsim.errors import UserError
from mmsim.report.costs import grouped, intervals
from mmsim.timed.workloads import Measurement

FORMATS: Final = (".png", ".svg")
STYLE: Final = {"svg.fonttype": "none", "svg.hashsalt": "mmsim"}
"""Texts stay texts, and a picture of the same figures is the same file."""


@attrs.frozen(repr=False)
class Picture:
    """A figure of matplotlib's, which a notebook displays as it is: dark on white, whatever the notebook's theme."""

    figure: Any

    def save(self, path: str) -> None:
        """Write it into a file whose name ends in .png or .svg.  Raises UserError."""
        check(path, "the picture")
        with _style():
            self.figure.savefig(path, metadata={"Date": None} if path.endswith(".svg") else {"Software": None})

    def __repr__(self) -> str:
        width, height = self.figure.get_size_inches()
        return f"<a picture of {width:g} x {height:g} inches>"

    def png(self) -> bytes:
        """The picture as PNG."""
        content = io.BytesIO()
        with _style():
            self.figure.savefig(content, format="png", metadata={"Software": None})
        return content.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png()


def check(path: str, flag: str = "--plot") -> None:
    """Whether a picture can be drawn into a file of that name.  Raises UserError, before anything is measured."""
    if Path(path).suffix not in FORMATS:
        msg = f"{flag} {path!r}: a picture's name ends in {' or '.join(FORMATS)}"
        raise UserError(msg)
    if not Path(path).absolute().parent.is_dir():
        msg = f"{flag} {path!r}: there is no folder {str(Path(path).parent)!r}"
        raise UserError(msg)
    matplotlib()


def there() -> bool:
    """Whether pictures can be drawn here."""
    try:
        matplotlib()
    except UserError:
        return False
    return True


def matplotlib() -> Any:
    """matplotlib itself.  Raises UserError where it is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        msg = "plots need matplotlib, which is not installed; pip install 'mmsim[report]'"
        raise UserError(msg) from None
    return mpl


def _style() -> Any:
    return matplotlib().rc_context(STYLE)


def new_figure(width: float, height: float) -> Any:
    """An empty figure of so many inches, apart from whatever pyplot has open.  Raises UserError."""
    matplotlib()
    from matplotlib import figure

    return figure.Figure(figsize=(width, height), layout="constrained", facecolor="white")


def draw(measurements: Sequence[Measurement], path: str) -> None:
    """The page of pictures as a file.  Raises UserError."""
    page(measurements).save(path)


def page(measurements: Sequence[Measurement]) -> Picture:
    """Four pictures on one page: throughput, latency, line moves, and pages held over time.  Raises UserError."""
    if not measurements:
        raise UserError("there is nothing to draw, for nothing was measured")
    first = measurements[0]
    made = new_figure(11, 8)
    made.suptitle(f"{first.workload} on {first.release}, cost model {first.cost}")
    axes = made.subplots(2, 2)
    groups = grouped(measurements)
    latency = next((name for name in first.figures() if name.endswith("p99 ns")), None)
    for number, strategy in enumerate(dict.fromkeys(one.strategy for one in measurements)):
        look = {"label": strategy, "marker": MARKERS[number % len(MARKERS)], "linestyle": LINES[number % len(LINES)]}
        points = {cpus: intervals(repeats) for (name, cpus), repeats in groups.items() if name == strategy}
        _curve(axes[0][0], points, "throughput 1/s", look)
        if latency is not None:
            _curve(axes[0][1], points, latency, look)
        _curve(axes[1][0], points, "line moves /op", look)
        most = max(points)
        held = groups[strategy, most][0].held
        axes[1][1].plot(
            [at / 1e6 for at, _ in held],
            [pages for _, pages in held],
            label=f"{strategy}, {most} CPUs",
            linestyle=look["linestyle"],
        )
    for axis, title, below in (
        (axes[0][0], f"{first.operation} a second", "CPUs"),
        (axes[0][1], latency or "", "CPUs"),
        (axes[1][0], "cache lines moved between CPUs, per operation", "CPUs"),
        (axes[1][1], "pages held though nobody maps them", "simulated time, ms"),
    ):
        axis.set_title(title)
        axis.set_xlabel(below)
        if below == "CPUs":
            axis.set_xticks(sorted({one.cpus for one in measurements}))
        axis.set_ylim(bottom=0)
        if axis.get_legend_handles_labels()[1]:
            axis.legend(fontsize="small")
    return Picture(made)


MARKERS: Final = "os^Dv"
LINES: Final = ("-", "--", ":", "-.")
"""Curves that lie on each other can still be told apart."""


def _curve(axis: Any, points: Any, name: str, look: dict[str, Any]) -> None:
    """A figure over the number of CPUs, with the interval of 95 % as a bar."""
    known = {cpus: found[name] for cpus, found in sorted(points.items()) if name in found}
    halves = [(one.high - one.low) / 2 if one.low is not None else 0 for one in known.values()]
    axis.errorbar(list(known), [one.middle for one in known.values()], yerr=halves, capsize=3, **look)
