"""Every scenario boots and runs under Linux's design and one other: 200 random schedules each, driven by the simplest of drivers.

The driver below knows only `Machine` and `Step`, and nothing of the engine; it is the second opinion on what a
machine is.  Random runs prove nothing that holds, but what they see did happen.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from mmsim import catalogue, machine
from mmsim.kernel.releases import release_named
from mmsim.scenario import LINUX_CARRIES, Scenario
from mmsim.steps import Alternatives, KernelBug, Step
from mmsim.strategies import STRATEGIES
from mmsim.syscalls import EBUSY, EPERM
from mmsim.threads import Machine
from mmsim.verdict import HOLDS, OTHERS, Expected

SEEDS = range(100)
SEEDS_TO_SEE = range(4000)
"""How many schedules to try before a thing that can happen counts as one that does not."""
STEPS_MAX = 50_000

KNOWN = {strategy.name: strategy for strategy in STRATEGIES}


def chosen(name: str) -> list[str]:
    """Linux's own design and one other, by a hash of the scenario's name: all pairs would take too long."""
    others = [strategy for strategy, _ in catalogue.find(name).scenario.tests(KNOWN) if strategy != LINUX_CARRIES]
    return [LINUX_CARRIES, *(others[zlib.crc32(name.encode()) % len(others) :][:1] if others else [])]


def expectation(name: str, strategy: str) -> Expected | None:
    """The verdict that the scenario expects on its own release."""
    scenario = catalogue.find(name).scenario
    return scenario.expected(strategy, scenario.release, KNOWN)


EXPECTED = [
    pytest.param(name, strategy, id=f"{name}-{strategy}") for name in catalogue.names() for strategy in chosen(name)
]
HOLDING = [
    pytest.param(name, strategy, id=f"{name}-{strategy}")
    for name in catalogue.names()
    for strategy in chosen(name)
    if expectation(name, strategy) is HOLDS
]


@attrs.define
class Run:
    """How one schedule ended."""

    seed: int
    outcomes: dict[str, Any] = attrs.field(factory=dict)
    stuck: dict[str, Step[Any]] = attrs.field(factory=dict)
    """Threads that still wait, and for what."""
    abandoned: set[str] = attrs.field(factory=set)
    """Devices that have fallen silent."""
    bug: str | None = None
    steps: int = 0


class Driver:
    """One schedule.  Odd seeds run the thread of the highest priority and change a priority now and then."""

    def __init__(self, booted: Machine, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.by_priority = bool(seed % 2)
        self.values = dict(booted.initial)
        silent = [thread.name for thread in booted.threads if thread.silent]
        self.falls_silent_at = {name: chance.randrange(300) for name in silent if chance.random() < 0.25}
        # A kernel thread that works in the background runs when nobody else wants to, or those who wait for what it
        # undoes, a store for the PTE that the flusher protects again, would starve.
        self.least = {each.name: -2 for each in booted.threads if each.name.startswith("flush-")}
        self.priority = {each.name: chance.random() + self.least.get(each.name, 0) for each in booted.threads}
        self.changes = {chance.randrange(250) for _ in range(4)} if self.by_priority else set()
        self.coroutines = {thread.name: thread.start() for thread in booted.threads}
        self.pending: dict[str, Step[Any]] = {}
        self.ended = Run(seed)

    def run(self) -> Run:
        """To the end, where nothing can move any more."""
        try:
            for name in self.coroutines:
                self.advance(name, None)
            for self.ended.steps in range(STEPS_MAX):
                ready = self.ready()
                if not ready:
                    break
                name = self.choose(list(ready))
                new, result = self.chance.choice(ready[name])
                if self.pending[name].cell is not None:
                    self.values[self.pending[name].cell] = new
                self.advance(name, result)
        except KernelBug as bug:
            self.ended.bug = str(bug)
        self.ended.stuck = self.pending
        for coroutine in self.coroutines.values():
            coroutine.close()
        return self.ended

    def ready(self) -> dict[str, Alternatives]:
        """Every thread that can move, and how."""
        self.ended.abandoned |= {name for name, at in self.falls_silent_at.items() if at <= self.ended.steps}
        ready = {}
        for name, step in self.pending.items():
            old = None if step.cell is None else self.values.get(step.cell, step.cell.initial)
            if name not in self.ended.abandoned and (alternatives := step.alternatives(old)):
                ready[name] = alternatives
        return ready

    def choose(self, ready: list[str]) -> str:
        """Who moves."""
        if not self.by_priority:
            return self.chance.choice(ready)
        name = max(ready, key=self.priority.__getitem__)
        if self.ended.steps in self.changes:
            self.priority[name] = self.least.get(name, 0) - self.chance.random()
        return name

    def advance(self, name: str, result: Any) -> None:
        """Let the thread go on to its next step, or to its end."""
        try:
            self.pending[name] = self.coroutines[name].send(result)
        except StopIteration as stop:
            self.pending.pop(name, None)
            self.ended.outcomes[name] = stop.value


def run(booted: Machine, seed: int) -> Run:
    """One schedule, from the seed alone."""
    return Driver(booted, seed).run()


def broken(scenario: Scenario, ended: Run) -> Iterator[str]:
    """Every property that this run breaks."""
    if ended.bug:
        yield f"kernel bug: {ended.bug}"
    for always in scenario.always:
        if judge(always, ended) is False:
            yield always.__name__
    # A task that waits must wait for a device that has fallen silent; devices themselves wait for work for ever.
    if not ended.abandoned and not ended.bug:
        for name in catalogue.thread_names(scenario):
            if name in ended.stuck:
                yield f"{name} is stuck in {ended.stuck[name]}"
    if ended.steps == STEPS_MAX - 1:
        yield "a livelock"


def judge(judged: Any, ended: Run) -> bool | None:
    """What a property says; None where it cannot tell yet."""
    asked = judged.__code__.co_varnames[: judged.__code__.co_argcount]
    return judged(*(ended.outcomes[name] for name in asked)) if all(name in ended.outcomes for name in asked) else None


def runs(name: str, strategy: str, seeds: range = SEEDS) -> tuple[Scenario, Iterator[Run]]:
    """The scenario, and its runs one by one."""
    scenario = catalogue.find(name).scenario
    booted = machine.boot(scenario, KNOWN[strategy], release_named(scenario.release))
    return scenario, (run(booted, seed) for seed in seeds)


def is_seen(name: str, strategy: str, sight: Callable[[Run], bool | None], seeds: range = SEEDS_TO_SEE) -> bool:
    """Whether some run shows it."""
    return any(sight(each) for each in runs(name, strategy, seeds)[1])


def test_the_strategies_are_those_of_the_expectations() -> None:
    for name in catalogue.names():
        assert set(catalogue.find(name, KNOWN).scenario.expect) <= {*KNOWN, OTHERS}


@pytest.mark.parametrize(("name", "strategy"), HOLDING)
def test_what_is_expected_to_hold_holds_in_every_run(name: str, strategy: str) -> None:
    scenario, ended = runs(name, strategy)
    assert not {what: each.seed for each in ended for what in broken(scenario, each)}


@pytest.mark.parametrize(("name", "strategy"), HOLDING)
def test_every_witness_is_seen(name: str, strategy: str) -> None:
    scenario, ended = runs(name, strategy, SEEDS_TO_SEE)
    unseen = {witness.__name__: witness for witness in scenario.sometimes}
    while unseen and (each := next(ended, None)) is not None:
        unseen = {what: witness for what, witness in unseen.items() if not judge(witness, each)}
    assert not set(unseen)


@pytest.mark.parametrize(("name", "strategy"), EXPECTED)
def test_a_thread_that_runs_again_does_the_same(name: str, strategy: str) -> None:
    scenario = catalogue.find(name).scenario
    booted = machine.boot(scenario, KNOWN[strategy], release_named(scenario.release))
    for seed in (0, 1):
        one, two = run(booted, seed), run(booted, seed)
        assert (one.outcomes, one.steps) == (two.outcomes, two.steps)


# What only some strategies do is no part of a scenario, for a witness must be seen under each; it is told here.


def refuses_a_reading_device(ended: Run) -> bool:
    return "user" in ended.outcomes and ended.outcomes["user"].sealed == -EBUSY


def neither_mapped_nor_sealed(ended: Run) -> bool:
    return ended.outcomes.get("mapper") == -EPERM and ended.outcomes["sealer"].sealed == -EBUSY


@pytest.mark.parametrize(
    ("name", "sight"),
    [
        ("dio_write_out", refuses_a_reading_device),
        ("undecided_seal_races_mmap", neither_mapped_nor_sealed),
    ],
)
def test_only_waiting_for_pins_refuses_without_need(name: str, sight: Callable[[Run], bool]) -> None:
    assert is_seen(name, "wait_for_pins", sight)
    assert not is_seen(name, "sealing_v2", sight, SEEDS)
    assert not is_seen(name, "delayed_unmap", sight, SEEDS)


@pytest.mark.parametrize("name", ["dio_completes_after_seal", "dio_from_another_process", "dio_torn_page"])
def test_random_runs_find_the_race_of_the_mail(name: str) -> None:
    scenario, ended = runs(name, "sealing_v2", SEEDS_TO_SEE)
    assert any("sealed_content_never_changes" in broken(scenario, each) for each in ended)
