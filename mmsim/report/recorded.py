"""What a log of strace showed: differences first, then what was taken from it and what was left out, the sum last."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

from mmsim.conformance.recorded.machine import UNUSED
from mmsim.report.programs import answer

if TYPE_CHECKING:
    from mmsim.conformance.recorded.replay import Difference
    from mmsim.conformance.recorded.run import Result

SHOWN: Final = 20
"""How many differences, and how many lines that cannot be read, are shown; the others are only counted."""
LONGEST: Final = 100
STATS: Final = ("fstat", "newfstatat", "fstatat64")


def status(result: Result) -> int:
    """The exit status: 0 all agreed, 1 a difference, 3 no difference but lines that cannot be read."""
    if result.differences:
        return 1
    return 3 if result.unreadable or not result.compared else 0


def text(result: Result) -> str:
    """The last line says how many answers agreed."""
    lines = [f"{result.path}, and the model ({result.strategy} on {result.release})", ""]
    for difference in result.differences[:SHOWN]:
        linux, model = (said(difference, value) for value in (difference.linux, difference.model))
        lines += [f"line {difference.line}: {_short(difference.call)}", f"    Linux {linux}, the model {model}"]
    if len(result.differences) > SHOWN:
        lines.append(f"{len(result.differences) - SHOWN:,} more differences, which may follow from these")
    if result.differences:
        lines += ["What differs later may follow from what differed first.", ""]
    for line in result.unreadable[:SHOWN]:
        lines += [f"line {line.number} cannot be read ({line.reason}): {_short(printable(line.text))}"]
    if len(result.unreadable) > SHOWN:
        lines.append(f"{len(result.unreadable) - SHOWN:,} more lines cannot be read")
    if result.unreadable:
        lines.append("")
    lines += _counted("Compared", result.compared_by_name)
    for rule, count in result.rules:
        lines += _folded(f"Taken from the log: {rule.value} ({count:,})")
    for reason, count in result.not_compared:
        lines += _folded(f"Not compared: {reason} ({count:,})")
    lines += _counted("Outside the model", result.outside)
    if result.endless:
        calls = tuple((f"{began.name} (line {began.line})", 1) for began in result.endless)
        lines += _counted("Without an end in the log", calls)
    unreadable = f", {len(result.unreadable):,} lines cannot be read" if result.unreadable else ""
    lines.append(
        f"{result.equal:,} of {result.compared:,} answers agreed, of {result.calls:,} calls in {result.lines:,} lines"
        f"{unreadable}"
    )
    return "\n".join(lines)


def _counted(title: str, counts: tuple[tuple[str, int], ...]) -> list[str]:
    """`Title: name 3, other 2`, folded."""
    told = ", ".join(f"{name} {count:,}" for name, count in counts)
    return _folded(f"{title}: {told}") if told else []


def _folded(sentence: str) -> list[str]:
    return textwrap.wrap(sentence, LONGEST, subsequent_indent="    ")


def _short(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."


def printable(line: str) -> str:
    """A line as it may be printed: bytes that are no text, and control characters, are escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)


def said(difference: Difference, value: Any) -> str:
    """An answer in a few words."""
    if value == UNUSED:
        return "a descriptor"
    if isinstance(value, tuple) and difference.name in STATS:
        size, mode = value
        told = [f"size {size}"] if size is not None else []
        return ", ".join([*told, f"mode {mode:04o}"] if mode is not None else told)
    if isinstance(value, tuple):
        count, data = value
        return f"{count} ({answer(data)})" if data else str(count)
    return value if isinstance(value, str) else answer(value)


def as_data(result: Result) -> dict[str, Any]:
    """For programs; see mmsim.report.json_."""
    return {
        "path": result.path,
        "release": result.release,
        "strategy": result.strategy,
        "lines": result.lines,
        "calls": result.calls,
        "compared": dict(result.compared_by_name),
        "agreed": result.equal,
        "followed": result.followed,
        "differences": [
            {
                "line": difference.line,
                "call": printable(difference.call),
                "linux": said(difference, difference.linux),
                "model": said(difference, difference.model),
            }
            for difference in result.differences
        ],
        "taken_from_the_log": {rule.value: count for rule, count in result.rules},
        "not_compared": dict(result.not_compared),
        "outside": dict(result.outside),
        "unreadable": [
            {"line": line.number, "text": printable(line.text), "reason": line.reason} for line in result.unreadable
        ],
        "without_end": [{"line": began.line, "call": began.name} for began in result.endless],
    }
