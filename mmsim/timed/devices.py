"""Devices by name, and delays as the command line takes them: `slow=nvme`, `slow=lognormal:80us,0.3`, `slow=never`.

What stands behind each preset is said with it.  The spread is an estimate everywhere; only medians are sourced.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from mmsim.errors import UserError
from mmsim.timed.delays import Delay, Exponential, Fixed, LogNormal, Never, Pareto, Sometimes, Trace

UNITS: Final = {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9}


class Preset(NamedTuple):
    """A device: how long it takes, and where that is from."""

    delay: Delay
    source: str


PRESETS: Final = {
    "virtio": Preset(
        LogNormal(72_450, 0.3), "measured: O_DIRECT read of 4 KiB from ext4 on a virtio disk, median 72.45 µs"
    ),
    "nvme": Preset(
        LogNormal(77_000, 0.25), "data sheet of the Intel SSD DC P4510: 77 µs for a random read of 4 KiB, typical"
    ),
    "null_blk": Preset(Fixed(10_000), "Documentation/block/null_blk.rst: completion_nsec is 10,000 unless set"),
    "loop": Preset(
        LogNormal(15_000, 0.5),
        "estimate: two thread switches of 2.6 µs and a copy out of the page cache, each queued",
    ),
    "fuse": Preset(LogNormal(25_000, 0.5), "measured: a direct read of 4 KiB from a FUSE server in Python, 25 µs"),
    "fuse-hostile": Preset(
        Sometimes(LogNormal(25_000, 0.5), 100), "fuse, whose server stops answering at one request in a hundred"
    ),
    "nbd": Preset(
        LogNormal(250_000, 0.6), "estimate: a round trip of 100 µs in a machine room and an NVMe disk behind it"
    ),
    "iscsi": Preset(
        LogNormal(300_000, 0.6), "estimate: as nbd, with the target's own queue"
    ),
    "nfs": Preset(
        Pareto(200_000, 1.5), "estimate: a server that mostly has the page, and a heavy tail for when it has not"
    ),
    "never": Preset(Never(), "takes the request and stays silent for ever"),
}  # fmt: skip


def duration(text: str) -> float:
    """`80us` in ns; a plain number is ns.  Raises ValueError."""
    for unit in sorted(UNITS, key=len, reverse=True):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * UNITS[unit]
    return float(text)


def _two(kind: Callable[[float, float], Delay]) -> Callable[[str], Delay]:
    def made(text: str) -> Delay:
        first, _, second = text.partition(",")
        return kind(duration(first), float(second))

    return made


FORMS: Final[dict[str, tuple[str, Callable[[str], Delay]]]] = {
    "fixed": ("fixed:80us", lambda text: Fixed(duration(text))),
    "exponential": ("exponential:80us (its mean)", lambda text: Exponential(duration(text))),
    "lognormal": ("lognormal:80us,0.3 (median, sigma)", _two(LogNormal)),
    "pareto": ("pareto:80us,1.5 (least, alpha)", _two(Pareto)),
    "trace": ("trace:FILE", lambda text: trace(Path(text))),
}


def trace(path: Path) -> Trace:
    """Delays from a file, one a line, in ns or with a unit.  Raises UserError."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the trace {str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}"
        raise UserError(msg) from None
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(duration(line.strip()))
            except ValueError:
                msg = f"line {number} of the trace {str(path)!r} is {line.strip()!r}, but a line is one delay, as 80us"
                raise UserError(msg) from None
    return Trace(tuple(found))


def delay_named(text: str) -> Delay:
    """The delay that a text means: a preset, a distribution, or a number of ns.  Raises UserError."""
    if text in PRESETS:
        return PRESETS[text].delay
    kind, colon, rest = text.partition(":")
    try:
        if colon and kind in FORMS:
            return FORMS[kind][1](rest)
        if not colon:
            return Fixed(duration(text))
    except ValueError:
        pass
    near = difflib.get_close_matches(kind, [*PRESETS, *FORMS], 1)
    ways = "; ".join(form for form, _ in FORMS.values())
    advice = f"did you mean {near[0]}?" if near and near[0] != kind else f"write {', '.join(PRESETS)}, 80us, or {ways}"
    msg = f"the delay {text!r} is not understood; {advice}"
    raise UserError(msg)


def device_delay(text: str) -> tuple[str, Delay]:
    """`slow=nvme`: whose delay it is, and the delay."""
    device, equals, rest = text.partition("=")
    if not device or not equals:
        msg = f"{text!r} gives no delay; write DEVICE=DELAY, as in slow=nvme or slow=80us"
        raise UserError(msg)
    return device, delay_named(rest)
