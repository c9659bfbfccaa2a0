"""What the running kernel showed, beside what the model allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmsim.report.judged import told

if TYPE_CHECKING:
    from mmsim.check import Test
    from mmsim.conformance.run import ConformanceResult
    from mmsim.verdict import Outcome


def status(result: ConformanceResult, *, complete: bool) -> int:
    """The exit status: 0 all allowed, 1 something the model does not allow, 3 not decided."""
    if result.impossible or result.stuck:
        return 1
    return 0 if complete and result.runs and not result.skipped and not result.interrupted else 3


def text(test: Test, result: ConformanceResult, *, complete: bool) -> str:
    """Every outcome seen, with how often it was; then those that were not; then the verdict."""
    lines = [f"Test {test.name} {test.strategy.name} on Linux {result.release}"]
    if result.skipped:
        return "\n".join([*lines, f"Skipped: {result.skipped}"])
    width = max((len(f"{count:,}") for _, count in result.observed), default=1)
    lines += [
        f"{count:{width},}  {told(outcome)}  [{said}]" for count, outcome, said in rows(result, complete=complete)
    ]
    lines += [f"Stuck: {sentence}" for sentence in result.stuck]
    lines.append(sentence(result, complete=complete))
    lines.append(f"Time {test.name} {result.seconds:.2f} s, {result.runs:,} runs{_ended(result)}")
    return "\n".join(lines)


def rows(result: ConformanceResult, *, complete: bool) -> list[tuple[int, Outcome, str]]:
    """Every outcome, seen or allowed: how often it was seen, and what the model says of it."""
    judged = []
    for outcome, count in result.observed:
        allowed = "not in the model" if outcome in result.impossible else "allowed" if complete else "not judged"
        if outcome in result.torn:
            allowed = "two allowed outcomes, torn within a word of the model"
        judged.append((count, outcome, allowed))
    judged += [(0, outcome, "allowed, never seen") for outcome in result.unseen]
    judged += [(0, outcome, "a device that never answers: not to be had here") for outcome in result.silent]
    return judged


def _ended(result: ConformanceResult) -> str:
    return ", ended by Ctrl-C" if result.interrupted else ""


def sentence(result: ConformanceResult, *, complete: bool) -> str:
    """`Ok: ...`, `No: ...` or `Undecided: ...`."""
    if result.impossible:
        return f"No: {len(result.impossible)} of {len(result.observed)} outcomes are not in the model"
    if result.stuck:
        return f"No: {len(result.stuck)} runs did not end"
    if not complete:
        return "Undecided: the model's outcomes are not all known, for its search found a violation or met a bound"
    return f"Ok: each of the {len(result.observed)} outcomes that Linux showed is among the model's"
