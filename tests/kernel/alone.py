"""One thread run alone on a freshly booted machine, every always-on property judged at every step and at the end.

Whatever else there is (children, devices) moves only while the thread cannot.  So the answers are those of a program
that nobody disturbs, which the tables of a real kernel can be held against.  The driver is written out here, and knows
nothing of the engine.
"""

from __future__ import annotations

from typing import Any

from mmsim.check.properties import AlwaysOn
from mmsim.kernel.releases import release_named
from mmsim.machine import boot
from mmsim.scenario import Scenario
from mmsim.strategies import STRATEGIES
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import MFD_ALLOW_SEALING, fill


class Values(dict[Any, Any]):
    """The cells' values; what was never written holds what it starts with."""

    def __missing__(self, cell):
        return cell.initial


class AtRest:
    """As much of the engine's tables as judging an end takes."""

    def __init__(self, values):
        self.values = values

    def view(self, _places):
        return self.values


async def nothing(sys):
    return None


EXACT = [each for each in STRATEGIES if each.name not in {"leftover_flag", "refuse_if_pinned"}]
"""The designs that do not take a page which only waits in a CPU's LRU cache for a pinned one."""


def movable(pending, values):
    """The first that can move: its name, its step, and what the step does; None if all wait."""
    for name, step in pending.items():
        if moves := step.alternatives(values[step.cell] if step.cell else None):
            return name, step, moves[0]
    return None


def outcomes(
    thread,
    *,
    release="v3.17",
    strategy=wait_for_pins,
    children=(),
    devices=(),
    words=1,
    mounts=(),
    evicts=False,
    reuses=False,
    seen=None,
):
    """What the thread and its children returned; `seen(step, values)` is told of every step before it is made."""
    scenario = Scenario(
        setup=nothing, threads=(thread,), children=children, devices=devices, words_per_page=words, mounts=mounts,
        evicts=evicts,
    )  # fmt: skip
    booted = boot(scenario, strategy, release_named(release), reuses=reuses)
    properties = AlwaysOn(booted.world, strategy)
    values = Values(booted.initial)
    running = {each.name: each.start() for each in booted.threads}
    pending = dict.fromkeys(running)
    told = {}

    def resume(name, result):
        try:
            pending[name] = running[name].send(result)
        except StopIteration as end:
            told[name] = end.value
            del pending[name]

    for name in running:
        resume(name, None)

    while chosen := movable(pending, values):
        ready, step, (new, result) = chosen
        if seen is not None:
            seen(step, values)
        if step.cell is not None:
            before = Values(values)
            values[step.cell] = new
            if new != before[step.cell] and properties.watched(step.cell):
                assert properties.judge(before, values, step) is None
        resume(ready, result)
    stuck = {each.name for each in booted.threads if not each.silent} - set(told)
    assert not stuck, {name: pending[name] for name in stuck}
    assert properties.resting(AtRest(values), None) is None
    for coroutine in running.values():
        coroutine.close()
    return told


def alone(thread, **how):
    """What the thread returned."""
    return outcomes(thread, **how)[thread.__name__]


async def filled(sys, pages=1, pattern=b"orig", flags=MFD_ALLOW_SEALING):
    """A memfd of so many pages."""
    fd = await sys.memfd_create("file", flags)
    assert await sys.pwrite(fd, fill(pattern, pages)) == len(fill(pattern, pages))
    return fd
