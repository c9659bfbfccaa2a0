"""A verdict as text for a mail: the race diagram, the sentence, the argument, the command, and herd's block."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from mmsim.report.argument import argument
from mmsim.report.diagram import diagram
from mmsim.report.judged import detail, is_positive, observation, told
from mmsim.verdict import Undecided, Violated

if TYPE_CHECKING:
    from mmsim.report.judged import Judged
    from mmsim.scenario import Scenario
    from mmsim.trace import Execution
    from mmsim.verdict import Violation

WIDTH = 72


def verdict(judged: Judged, *, all_steps: bool = False) -> str:
    """Everything there is to say about one test."""
    parts = []
    if isinstance(judged.verdict, Violated):
        if judged.execution is not None:
            parts.append(diagram(judged.execution, all_steps=all_steps))
        parts.append(sentence(judged.verdict.violation, judged.detail))
        if judged.execution is not None:
            parts.append(argument(judged.execution))
        parts.append(judged.replay)
    parts.append(block(judged))
    return "\n\n".join(part for part in parts if part)


def sentence(violation: Violation, happened: str) -> str:
    """Which property, in its own name, and what happened; then how long the schedule is."""
    steps = counted(len(violation.schedule.moves), "step")
    switches = counted(violation.schedule.switches, "switch", "switches")
    proof = "no shorter schedule breaks a property" if violation.shortest else "a shorter schedule may exist"
    return filled(f"{violation.property}: {happened.rstrip('.')}.  ({steps}, {switches} between threads; {proof}.)")


def filled(text: str) -> str:
    """A paragraph of a mail."""
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def counted(number: int, one: str, many: str = "") -> str:
    """`1 state`, `2 states`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def block(judged: Judged) -> str:
    """The lines that herd7 prints, in its order.  Counts are of classes of outcomes, never of runs."""
    test, answer, coverage = judged.test, judged.verdict, judged.verdict.coverage
    word, positive, negative = observation(judged)
    reason = f": {answer.reason}" if isinstance(answer, Undecided) else ""
    lines = [
        f"Test {test.name} {test.strategy.name}",
        f"States {len(answer.outcomes)}",
        *judged.outcomes,
        f"{is_positive(answer)}{reason}{expectation(judged)}",
        *(f"Never seen: {name}" for name in judged.judgement.unwitnessed),
        f"Observation {test.name} {word} {positive} {negative}",
        *([f"Hash {test.digest}"] if test.digest else []),  # a session's own values are in no file, and have none
        f"Time {test.name} {judged.seconds:.2f} s, {coverage.how}: {size(judged)}",
    ]
    return "\n".join(lines)


def size(judged: Judged) -> str:
    """How much was searched."""
    coverage = judged.verdict.coverage
    parts = [
        counted(coverage.states, "state") if coverage.states else "",
        counted(coverage.transitions, "transition"),
        f"depth {coverage.depth:,}",
        f"{coverage.waiting:,} waiting" if coverage.waiting else "",
    ]
    return ", ".join(filter(None, parts))


def expectation(judged: Judged) -> str:
    """Whether that is what the scenario expects, in brackets."""
    expected = judged.judgement.expected
    if expected is None:
        return " (nothing expected)"
    return " (as expected)" if judged.judgement.as_expected else f" (expected: {expected.value})"


def execution(scenario: Scenario, steps: Execution, *, all_steps: bool = False) -> str:
    """A replayed schedule: its diagram, its argument if it breaks something, and where each thread has got to."""
    parts = [diagram(steps, all_steps=all_steps)]
    if steps.violation is not None:
        name, said = steps.violation
        parts.append(filled(f"{name}: {detail(scenario, name, said, steps.outcomes).rstrip('.')}."))
        parts.append(argument(steps))
    parts.append(told(steps.outcomes))
    return "\n\n".join(part for part in parts if part)
