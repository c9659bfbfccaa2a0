"""One answered test with all that a report may want to say of it."""

from __future__ import annotations

import inspect
import shlex
from typing import TYPE_CHECKING, Any

import attrs

from mmsim.errors import UserError
from mmsim.report.values import show
from mmsim.verdict import Holds, Outcome, Undecided, Verdict, Violated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmsim.check import Judgement, Test
    from mmsim.report.plots import Picture
    from mmsim.scenario import Scenario
    from mmsim.trace import Execution


@attrs.frozen(repr=False)
class Judged:
    """A test, its verdict, what was expected, and the execution that breaks a property, if there is one.

    It prints as `mmsim check` does, and displays itself in a notebook.
    """

    test: Test
    verdict: Verdict
    judgement: Judgement
    seconds: float
    execution: Execution | None = None

    @property
    def word(self) -> str:
        """`Holds`, `Violated` or `Undecided`."""
        return type(self.verdict).__name__

    @property
    def fits(self) -> bool:
        """Whether this is the expected verdict, and every `sometimes` was seen."""
        return self.judgement.as_expected and not self.judgement.unwitnessed

    @property
    def status(self) -> int:
        """The exit status it asks for: 0 as expected, 1 otherwise, 3 undecided."""
        if isinstance(self.verdict, Undecided):
            return 3
        return 0 if self.fits else 1

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Each class of outcomes as herd writes a final state, sorted; texts, so that two verdicts can be compared."""
        return tuple(sorted(told(outcome) for outcome in self.verdict.outcomes))

    @property
    def detail(self) -> str:
        """What happened where a property is broken, or ''."""
        if not isinstance(self.verdict, Violated):
            return ""
        found = self.verdict.violation
        outcome = () if self.execution is None else self.execution.outcomes
        return detail(self.test.scenario, found.property, found.detail, outcome)

    @property
    def replay(self) -> str:
        """The command that shows the violation again, or ''."""
        if not isinstance(self.verdict, Violated):
            return ""
        test = self.test
        if test.in_session:
            scenario, strategy = test.words
            return f'replay({scenario}, {strategy}, "{self.verdict.violation.schedule}", release="{test.release.name}")'
        scenario, strategy = (shlex.quote(word) for word in test.words)
        command = f"mmsim replay {scenario} --strategy {strategy} --release {test.release.name}"
        return f'{command} --schedule "{self.verdict.violation.schedule}"'

    def picture(self) -> Picture:
        """The counterexample drawn: threads, mappings, seals, contents and counts over its steps.

        Raises UserError where there is none, or without matplotlib.
        """
        from mmsim.report import timeline_plot

        if self.execution is None:
            msg = (
                f"{self.test.name} under {self.test.strategy.name}: {self.word}, so there is no counterexample to draw"
            )
            raise UserError(msg)
        return timeline_plot.of_execution(self.execution, f"{self.test.name} under {self.test.strategy.name}")

    def __str__(self) -> str:
        from mmsim.report import text

        return text.verdict(self)

    def __repr__(self) -> str:
        return f"<{self.test.name} under {self.test.strategy.name} on {self.test.release.name}: {self.word}>"

    def _repr_html_(self) -> str:
        from mmsim.report import rich

        return rich.verdict(self)


def broken(scenario: Scenario, outcome: Outcome) -> tuple[str, ...]:
    """The names of the scenario's `always` properties that this outcome breaks."""
    from mmsim.check.judge import holds_for

    return tuple(property_.__name__ for property_ in scenario.always if holds_for(property_, outcome) is False)


def detail(scenario: Scenario, name: str, said: str, outcome: Sequence[tuple[str, Any]]) -> str:
    """What happened.  For one of the scenario's own properties that is what its threads returned, in few words."""
    own = next((property_ for property_ in scenario.always if property_.__name__ == name), None)
    if own is None:
        return said
    named = inspect.signature(own).parameters
    returned = [f"{thread} returned {show(value)}" for thread, value in outcome if thread in named]
    return ", ".join(returned) or said


def observation(judged: Judged) -> tuple[str, int, int]:
    """herd's word for it, with how many classes of outcomes break a property and how many do not."""
    outcomes = judged.verdict.outcomes
    positive = sum(bool(broken(judged.test.scenario, outcome)) for outcome in outcomes)
    negative = len(outcomes) - positive
    if isinstance(judged.verdict, Violated) and not positive:
        positive = 1  # a property that no outcome shows: the class is the violation's own
    return ("Never" if not positive else "Sometimes" if negative else "Always"), positive, negative


def told(outcome: Outcome) -> str:
    """`reader=4096; sealer=Seen(sealed=0, ...);` as herd writes a final state."""
    return " ".join(f"{thread}={show(value)};" for thread, value in outcome)


def is_positive(verdict: Verdict) -> str:
    """herd's last word: `Ok` where the properties hold, `No` where one is broken."""
    return "Ok" if isinstance(verdict, Holds) else "No" if isinstance(verdict, Violated) else "Undecided"
