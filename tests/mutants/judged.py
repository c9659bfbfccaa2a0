"""A mutant: a kernel path or a strategy with one mistake, and the small scene in which the checker must see it."""

from __future__ import annotations

import importlib
from typing import Any

import attrs
import pytest

from mmsim.check import Bounds, Test, check
from mmsim.kernel.releases import release_named
from mmsim.kernel.strategy import Strategy
from mmsim.scenario import Scenario
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.verdict import Holds, Undecided, Violated

ENOUGH = Bounds(max_states=60_000, max_seconds=60)


@attrs.frozen
class Mutant:
    """`patches` are (module below mmsim, name, replacement) as the callers look it up; `mutated` a changed strategy."""

    name: str
    scene: Scenario
    property: str
    patches: tuple[tuple[str, str, Any], ...] = ()
    mutated: Strategy | None = None
    strategy: Strategy = wait_for_pins
    release: str = "v3.17"

    def verdict(self, strategy):
        return check(Test(self.name, self.scene, strategy, release_named(self.release)), bounds=ENOUGH)

    def try_on(self, monkeypatch):
        """Holds without the mistake, Violated with it, by the property that is meant to see it."""
        sane = self.verdict(self.strategy)
        assert not isinstance(sane, Undecided), sane.reason
        assert isinstance(sane, Holds), sane.violation
        for module, name, replacement in self.patches:
            *owner, attribute = name.split(".")
            target = importlib.import_module(f"mmsim.{module}")
            monkeypatch.setattr(getattr(target, owner[0]) if owner else target, attribute, replacement)
        found = self.verdict(self.mutated or self.strategy)
        assert not isinstance(found, Undecided), found.reason
        assert isinstance(found, Violated), f"{self.name} survives"
        assert found.violation.property == self.property, found.violation


def each(mutants):
    return pytest.mark.parametrize("mutant", mutants, ids=lambda mutant: mutant.name.replace(" ", "_"))
