"""Carrying out a schedule, and going on from its end if asked."""

from __future__ import annotations

import random

from mmsim.check.judge import Test, broken_property
from mmsim.check.run import tables_of
from mmsim.engine.run import Run
from mmsim.engine.walks import walk, walker_named
from mmsim.errors import UserError
from mmsim.trace import Execution
from mmsim.verdict import Schedule


def execute(test: Test, schedule: Schedule, *, then: str | None = None, seed: int = 0) -> Execution:
    """Follow `schedule` step by step; with `then`, continue by that random walker.

    If it ends where nobody will ever come to rest, it is followed into the loop and once round it.
    Raises UserError if the schedule does not fit.
    """
    tables, properties = tables_of(test)
    run = Run(tables, properties.resting)
    names = {thread.name: number for number, thread in enumerate(tables.machine.threads)}
    for position, move in enumerate(schedule.moves, 1):
        thread = names.get(move.thread)
        where = f"the schedule does not fit {test.name} under {test.strategy.name} at step {position}"
        if thread is None:
            msg = f"{where}: there is no thread {move.thread!r}; there are {', '.join(names)}"
            raise UserError(msg)
        if run.fault is not None:
            msg = f"{where}: the execution already ended at step {position - 1}, for {run.fault[0]} is broken"
            raise UserError(msg)
        count = run.alternatives(thread)
        if not count:
            node = tables.node(thread, run.places[thread])
            state = "has ended" if node.ended else f"waits in {node.step!r}"
            able = ", ".join(tables.machine.threads[other].name for other in run.able()) or "nobody"
            msg = f"{where}: {move.thread} {state}; able to move: {able}"
            raise UserError(msg)
        if move.alternative >= count:
            msg = f"{where}: {move.thread} has {count} alternative{'s' * (count > 1)} there, numbered from 0"
            raise UserError(msg)
        run.step(thread, move.alternative, trace=True)
    if then is not None and run.fault is None:
        walk(run, walker_named(then), random.Random(seed), trace=True)
    fault = run.fault or run.end()
    if fault is None and run.quiescent():
        fault = broken_property(test.scenario, run.outcome())
    spinning = run.livelock() if fault is None and not run.quiescent() else None
    if spinning is None:
        return run.execution(fault)
    for mover, alternative in (*spinning.way, *spinning.turn):
        run.step(mover, alternative, trace=True)
    return run.execution(spinning.fault, len(spinning.turn))
