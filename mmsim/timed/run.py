"""`simulate()`: the way into the timed driver."""

from __future__ import annotations

from collections.abc import Mapping

from mmsim.errors import UserError
from mmsim.threads import Machine
from mmsim.timed.costs import Cost, FlatCost, checked_duration
from mmsim.timed.delays import Delay
from mmsim.timed.driver import TimedRun
from mmsim.timed.environment import Observer, Watch
from mmsim.timed.recorder import Recorder
from mmsim.timed.result import Result
from mmsim.timed.summary import summary


def simulate(
    machine: Machine,
    cpus: int = 2,
    seed: int = 0,
    cost: Cost | None = None,
    delays: Mapping[str, Delay] | None = None,
    until_ns: float | None = None,
    *,
    timeline: bool = False,
    timeout_ns: float = 5_000_000,
    stagger_ns: float = 0,
    watch: Watch | None = None,
    observer: Observer | None = None,
) -> Result:
    """Run the machine on `cpus` CPUs, until nothing is left to do or `until_ns` is reached.

    `cost` is what steps take (`FlatCost()` if None), `delays` says by a device's thread name (`disk`, or `user[0].disk`
    for one copy's) how long it takes to answer; `timeline` keeps every step and system call; `timeout_ns` is
    the time after which a `wait_until_timeout` gives up.  Every task starts at an instant of its own, drawn from the
    first `stagger_ns`; at 0 all start together, and with flat costs and fixed delays every seed gives the same run.
    `watch` judges every step that could break a property; `observer` is shown the state again and again.
    The same arguments give the same result.

    Raises UserError for impossible arguments, and whatever a thread raises, `KernelBug` apart: that is a violation.
    """
    if not isinstance(cpus, int) or isinstance(cpus, bool) or cpus < 1:
        msg = f"a machine has at least one CPU, and a whole number of them, but {cpus!r} were asked for"
        raise UserError(msg)
    if until_ns is not None:
        checked_duration(until_ns, "the time to simulate", positive=True)
    checked_duration(timeout_ns, "the timeout", positive=True)
    checked_duration(stagger_ns, "the span in which threads start")
    devices = sorted({name for t in machine.threads if t.silent for name in (t.name, t.name.rpartition(".")[2])})
    for name in delays or {}:
        if name not in devices:
            known = f"it has {', '.join(devices)}" if devices else "it has none"
            msg = f"a delay is given for the device {name!r}, which the machine does not have; {known}"
            raise UserError(msg)
    recorder = Recorder() if timeline else None
    chosen = FlatCost() if cost is None else cost
    run = TimedRun(machine, cpus, seed, chosen, delays or {}, until_ns, recorder, timeout_ns, stagger_ns, watch)
    if observer is not None:
        run.show(observer)
    completed = run.run_to_end()
    return summary(run, interrupted=not completed)
