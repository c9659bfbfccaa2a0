"""What the running kernel showed, beside what the model allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mmsim.report.judged import told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmsim.check import Test
    from mmsim.conformance.run import ConformanceResult
    from mmsim.verdict import Outcome


@attrs.frozen
class Conformed:
    """What came of one scenario of the catalogue: a result, or a sentence that says why there is none."""

    name: str
    test: Test | None = None
    result: ConformanceResult | None = None
    complete: bool = False
    """Whether all that the model allows is known."""
    refused: str | None = None
    """Why it is not to be run on a real kernel."""
    failed: str | None = None
    """What went wrong."""

    @property
    def skipped(self) -> str | None:
        """Why nothing was run."""
        return None if self.result is None else self.result.skipped

    @property
    def differs(self) -> bool:
        """Whether the kernel did what the model does not allow, or did not come to an end."""
        return bool(self.failed or (self.result and (self.result.impossible or self.result.stuck)))

    @property
    def agrees(self) -> bool:
        """Whether it was run, and all that was seen is possible."""
        return self.result is not None and self.complete and self.result.agrees


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
    lines.append(f"Time {test.name} {result.seconds:.2f} s, {counted(result.runs, 'run')}{_ended(result)}")
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
        strange = len(result.impossible)
        are = "is" if strange == 1 else "are"
        return f"No: {strange:,} of {counted(len(result.observed), 'outcome')} {are} not in the model"
    if result.stuck:
        return f"No: {counted(len(result.stuck), 'run')} did not end"
    if not complete:
        return "Undecided: the model's outcomes are not all known, for its search found a violation or met a bound"
    seen = _seen(result.seen, result.possible, result.runs, 0)
    return f"Ok: {seen}{_besides(result)}"


def overall(done: Sequence[Conformed], *, interrupted: bool) -> int:
    """The exit status of many: 1 where something differs, 3 where nothing was compared or not all was asked."""
    if any(one.differs for one in done):
        return 1
    return 3 if interrupted or not any(one.agrees for one in done) else 0


def line(one: Conformed, width: int, *, verbose: bool = False) -> str:
    """One scenario in one line, and with `verbose` the outcomes that were not seen below it."""
    lines = [f"{one.name:{width}}  {_said(one)}"]
    if one.result is not None:
        lines += [f"  impossible: {told(outcome)}" for outcome in one.result.impossible]
        lines += [f"  stuck: {sentence}" for sentence in one.result.stuck[:1]]
        if verbose:
            lines += [f"  two allowed ones, torn within a word: {told(outcome)}" for outcome in one.result.torn]
            lines += [f"  never seen: {told(outcome)}" for outcome in one.result.unseen]
            lines += [f"  only if a device never answers: {told(outcome)}" for outcome in one.result.silent]
    return "\n".join(lines)


def _said(one: Conformed) -> str:
    if one.result is None:
        return f"not run: {one.refused}" if one.refused else f"failed: {one.failed}"
    if one.result.skipped:
        return f"skipped: {one.result.skipped}"
    if not one.complete:
        return f"not judged: {counted(len(one.result.observed), 'outcome')} in {counted(one.result.runs, 'run')}"
    return _seen(one.result.seen, one.result.possible, one.result.runs, len(one.result.impossible)) + _besides(
        one.result
    )


def _besides(result: ConformanceResult) -> str:
    torn = f", {len(result.torn)} torn within a word of the model" if result.torn else ""
    return torn + (f", {counted(len(result.stuck), 'run')} did not end" if result.stuck else "")


def _seen(seen: int, possible: int, runs: int, impossible: int) -> str:
    found = f"{impossible} impossible" if impossible else "none impossible"
    return f"seen {seen:,} of {counted(possible, 'possible outcome')} in {counted(runs, 'run')}, {found}"


def counted(count: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def totals(done: Sequence[Conformed], release: str, *, interrupted: bool) -> str:
    """How many of each kind, and what all of them showed."""
    judged = [one.result for one in done if one.result is not None and one.complete and not one.result.skipped]
    counts = (
        (sum(one.agrees for one in done), "agreed"),
        (sum(one.differs for one in done), "differed"),
        (sum(one.skipped is not None for one in done), "skipped"),
        (sum(not one.complete and one.result is not None and not one.skipped for one in done), "not judged"),
        (sum(one.refused is not None for one in done), "refused"),
    )
    told_of = ", ".join(f"{count} {what}" for count, what in counts if count)
    seen = _seen(
        sum(result.seen for result in judged),
        sum(result.possible for result in judged),
        sum(result.runs for result in judged),
        sum(len(result.impossible) for result in judged),
    )
    ended = "; ended before the others" if interrupted else ""
    return f"Linux {release}, {counted(len(done), 'scenario')}: {told_of or 'nothing run'}{ended}; {seen}"
