"""A test is a scenario under a strategy on a release; its verdict is judged by what the scenario expects."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import attrs

from mmsim.kernel.releases import Release
from mmsim.kernel.strategy import Strategy
from mmsim.scenario import Property, Scenario
from mmsim.strategies import BY_NAME
from mmsim.verdict import WAITING, Expected, Holds, Outcome, Undecided, Verdict, Violated


@attrs.frozen
class Test:
    """What is checked.  `digest` identifies the texts of scenario, strategy and model."""

    __test__ = False  # no test case of pytest's

    name: str
    scenario: Scenario
    strategy: Strategy
    release: Release
    digest: str = ""
    words: tuple[str, str] = attrs.field()
    """What a command line calls the scenario and the strategy: their names, or the files they are in."""

    @words.default
    def _names(self) -> tuple[str, str]:
        return self.name, self.strategy.name

    in_session: bool = False
    """Whether scenario or strategy is a value of a running Python session; `words` are then what it is called there."""

    @property
    def expected(self) -> Expected | None:
        """The verdict the scenario expects of this strategy, if it says."""
        return self.scenario.expected(self.strategy.name, self.release.name, BY_NAME)


@attrs.frozen
class Judgement:
    """Whether a verdict is the expected one, and which `sometimes` were never seen."""

    expected: Expected | None
    as_expected: bool
    unwitnessed: tuple[str, ...]


def judge(test: Test, verdict: Verdict) -> Judgement:
    """Hold a verdict against what the scenario expects.  A `sometimes` never seen is a failure of a complete search."""
    missing = () if isinstance(verdict, Undecided) else unwitnessed(test.scenario, verdict.outcomes)
    expected = test.expected
    if isinstance(verdict, Violated):
        # what comes after a violation is not explored, so a witness may be missing
        return Judgement(expected, expected in (None, Expected.VIOLATED), ())
    right = isinstance(verdict, Holds) and expected in (None, Expected.HOLDS) and not missing
    return Judgement(expected, right, missing)


def holds_for(property_: Property, outcome: Outcome) -> bool | None:
    """Whether a property holds of an outcome; None where a thread it names has not finished."""
    told = dict(outcome)
    values = [told.get(name, WAITING) for name in inspect.signature(property_).parameters]
    if any(value is WAITING for value in values):
        return None
    return bool(property_(*values))


def broken_property(scenario: Scenario, outcome: Outcome) -> tuple[str, str] | None:
    """The first `always` that this outcome breaks, with what the threads returned."""
    for property_ in scenario.always:
        if holds_for(property_, outcome) is False:
            named = inspect.signature(property_).parameters
            told = ", ".join(f"{name} returned {value!r}" for name, value in outcome if name in named)
            return (property_.__name__, told)
    return None


def unwitnessed(scenario: Scenario, outcomes: Iterable[Outcome]) -> tuple[str, ...]:
    """The names of every `sometimes` that no outcome shows."""
    seen = list(outcomes)
    return tuple(
        property_.__name__
        for property_ in scenario.sometimes
        if not any(holds_for(property_, outcome) for outcome in seen)
    )
