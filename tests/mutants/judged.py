"""A mutant: a kernel path or a strategy with one mistake, and the small scene in which the checker must see it."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import textwrap
from typing import Any

import attrs
import pytest

from mmsim.check import Bounds, Test, check
from mmsim.check.judge import unwitnessed
from mmsim.kernel.releases import release_named
from mmsim.kernel.strategy import Strategy
from mmsim.scenario import Scenario
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.verdict import Undecided, Violated
from tests import coverage

ENOUGH = Bounds(max_states=60_000, max_seconds=60)


@attrs.frozen
class Edit:
    """Lines of a function, and what stands in their place wherever it is called from; both without their margin."""

    function: Any
    was: str
    becomes: str

    def code(self):
        """The function's, changed; None if these lines are not in it just once."""
        lines = r"\n\1".join(re.escape(line) for line in self.was.splitlines())
        becomes = self.becomes.splitlines()
        text, times = re.subn(
            rf"^( *){lines}$",
            lambda found: "\n".join(found[1] + line for line in becomes),
            textwrap.dedent(inspect.getsource(self.function)),
            flags=re.MULTILINE,
        )
        if times != 1:
            return None
        found: dict[str, Any] = {}
        exec(compile(text, "<edited>", "exec"), self.function.__globals__, found)  # its annotations stay text, as here
        return found[self.function.__name__].__code__


def left_out(function, line):
    """A step is forgotten."""
    return Edit(function, line, "pass")


def unlocked(function, lock):
    """A lock is not taken."""
    return Edit(function, f"async with {lock}:", "if True:")


def swapped(function, first, second):
    """Two lines that follow one another change places."""
    return Edit(function, f"{first}\n{second}", f"{second}\n{first}")


@attrs.frozen
class Mutant:
    """`patches` are (module below mmsim, name, replacement) as the callers look it up; `mutated` a changed strategy."""

    name: str
    scene: Scenario
    property: str
    patches: tuple[tuple[str, str, Any], ...] = ()
    edit: Edit | None = None
    mutated: Strategy | None = None
    strategy: Strategy = wait_for_pins
    release: str = "v3.17"

    def verdict(self, strategy):
        return check(Test(self.name, self.scene, strategy, release_named(self.release)), bounds=ENOUGH)

    def try_on(self, monkeypatch):
        """Holds without the mistake, and not with it: `property` is broken, or a `sometimes` that is never seen."""
        sane = self.broken(self.strategy)
        assert not sane, sane
        for module, name, replacement in self.patches:
            *owner, attribute = name.split(".")
            target = importlib.import_module(f"mmsim.{module}")
            monkeypatch.setattr(getattr(target, owner[0]) if owner else target, attribute, replacement)
        if self.edit is not None:
            code = self.edit.code()
            if code is None and {coverage.RECORD, coverage.LIMITS} & set(os.environ):
                pytest.skip("tests/mutation.py is trying another mistake in these lines")
            assert code is not None, f"{self.name}: these lines are not in it"
            monkeypatch.setattr(self.edit.function, "__code__", code)
        broken = self.broken(self.mutated or self.strategy)
        assert broken, f"{self.name} survives"
        assert self.property in broken, broken

    def broken(self, strategy):
        """The property that is violated, or every `sometimes` that no outcome shows."""
        found = self.verdict(strategy)
        assert not isinstance(found, Undecided), found.reason
        return (found.violation.property,) if isinstance(found, Violated) else unwitnessed(self.scene, found.outcomes)


def each(mutants):
    return pytest.mark.parametrize("mutant", mutants, ids=lambda mutant: mutant.name.replace(" ", "_"))
