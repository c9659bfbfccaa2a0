"""A mutant: a kernel path or a strategy with one mistake, and the small scene in which the checker must see it."""

from __future__ import annotations
import __future__

import importlib
import inspect
import os
import pkgutil
import textwrap
from collections.abc import Mapping
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
    """A function below mmsim, and what becomes of some of its lines; of several alike the first changes, or the last."""

    where: str
    lines: Mapping[str, str]
    last: bool = False

    def apply(self, monkeypatch):
        """Whoever has imported the function runs the changed one."""
        function = inspect.unwrap(pkgutil.resolve_name(f"mmsim.{self.where}"))
        source = [line for line in textwrap.dedent(inspect.getsource(function)).splitlines() if line[:1] != "@"]
        changed = list(source)
        for line, becomes in self.lines.items():
            places = [number for number, each in enumerate(source) if each.strip() == line]
            if not places and coverage.LIMITS in os.environ:
                pytest.skip("`make mutants` has just made another mistake in this line")
            at = places[-1 if self.last else 0]
            changed[at] = source[at].replace(line, becomes)
        scope: dict[str, Any] = {}
        flags = __future__.annotations.compiler_flag
        exec(compile("\n".join(changed), inspect.getfile(function), "exec", flags), scope)
        monkeypatch.setattr(function, "__code__", scope[function.__name__].__code__)


def swapped(where, first, second):
    """Two lines in each other's place."""
    return Edit(where, {first: second, second: first})


def left_out(where, line, *, last=False):
    """A line that is forgotten; of a lock, what it guards runs all the same."""
    return Edit(where, {line: "if True:" if line.endswith(":") else "pass"}, last)


@attrs.frozen
class Mutant:
    """`patches` are (module below mmsim, name, replacement) as the callers look it up; `mutated` a changed strategy."""

    name: str
    scene: Scenario
    property: str
    patches: tuple[tuple[str, str, Any] | Edit, ...] = ()
    mutated: Strategy | None = None
    strategy: Strategy = wait_for_pins
    release: str = "v3.17"

    def verdict(self, strategy):
        return check(Test(self.name, self.scene, strategy, release_named(self.release)), bounds=ENOUGH)

    def try_on(self, monkeypatch):
        """Holds without the mistake, and not with it: `property` is broken, or a `sometimes` that is never seen."""
        sane = self.broken(self.strategy)
        assert not sane, sane
        for patch in self.patches:
            if isinstance(patch, Edit):
                patch.apply(monkeypatch)
                continue
            module, name, replacement = patch
            *owner, attribute = name.split(".")
            target = importlib.import_module(f"mmsim.{module}")
            monkeypatch.setattr(getattr(target, owner[0]) if owner else target, attribute, replacement)
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
