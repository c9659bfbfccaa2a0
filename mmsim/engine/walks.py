"""Random walks, for spaces too large to exhaust: uniform, PCT and POS.

Each takes its random numbers from a `random.Random` it is given, so a seed tells the whole walk.

- uniform: any thread that can move, with equal chance.
- PCT (Burckhardt et al., ASPLOS 2010): random priorities, d-1 random points at which the running thread's priority
  falls below all others; finds a bug of depth d with probability at least 1/(n k^(d-1)) a walk.
- POS (Yuan, Yang and Gu, CAV 2018): a random priority for each pending step; a step that conflicts with the one just
  made draws a new one.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from mmsim.engine.run import Run
from mmsim.steps import Access, Step, conflict

Chooser = Callable[[list[int]], int]
Walker = Callable[[Run, random.Random], Chooser]

WALKERS = ("uniform", "pct1", "pct2", "pct3", "pos")
EXPECTED_STEPS = 200  # PCT's k until a walk has shown how long walks are


def uniform(_run: Run, rng: random.Random) -> Chooser:
    """Any thread that can move, with equal chance."""
    return rng.choice


def pct(depth: int, length: int = EXPECTED_STEPS) -> Walker:
    """Probabilistic concurrency testing with `depth` - 1 change points among `length` expected steps."""

    def walker(run: Run, rng: random.Random) -> Chooser:
        order = list(range(run.tables.threads))
        rng.shuffle(order)
        priority = {thread: depth + rank for rank, thread in enumerate(order)}
        changes = {rng.randrange(1, length + 1): level for level in range(1, depth)}

        def choose(able: list[int]) -> int:
            thread = max(able, key=priority.__getitem__)
            level = changes.pop(len(run.moves) + 1, None)
            if level is not None:
                priority[thread] = level
                thread = max(able, key=priority.__getitem__)
            return thread

        return choose

    return walker


def pos(run: Run, rng: random.Random) -> Chooser:
    """Partial-order sampling."""
    priority: dict[int, float] = {}

    def pending(thread: int) -> Step[object] | None:
        return run.tables.node(thread, run.places[thread]).step

    def choose(able: list[int]) -> int:
        for thread in able:
            if thread not in priority:
                priority[thread] = rng.random()
        chosen = max(able, key=priority.__getitem__)
        step = pending(chosen)
        del priority[chosen]
        for thread in list(priority):
            if step is not None and _race(step, pending(thread)):
                del priority[thread]
        return chosen

    return choose


def _race(one: Step[object], other: Step[object] | None) -> bool:
    if other is None or one.cell is not other.cell or one.cell is None:
        return False
    return conflict(Access(one.access), Access(other.access))


def walker_named(name: str, length: int = EXPECTED_STEPS) -> Walker:
    """The walker of that name in WALKERS.  Raises KeyError for any other."""
    walkers: dict[str, Walker] = {"uniform": uniform, "pos": pos}
    walkers |= {f"pct{depth}": pct(depth, length) for depth in (1, 2, 3)}
    return walkers[name]


def walk(run: Run, walker: Walker, rng: random.Random, *, trace: bool = False, most: int = 100_000) -> None:
    """Continue `run` until nothing can move, a property is broken, or `most` more steps are made.

    A device may stay silent: with one chance in eight a walk that only devices could continue ends there.
    """
    choose = walker(run, rng)
    for _ in range(most):
        able = run.able()
        if not able:
            break
        if run.quiescent() and rng.random() < 1 / 8:
            return
        thread = choose(able)
        run.step(thread, rng.randrange(run.alternatives(thread)), trace=trace)
    run.end()
