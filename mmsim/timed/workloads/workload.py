"""What a workload is, and one measurement of it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

import attrs

from mmsim.errors import UserError
from mmsim.kernel.releases import Release
from mmsim.kernel.strategy import Strategy
from mmsim.machine import boot
from mmsim.scenario import Process, Scenario, ThreadFunction
from mmsim.syscalls import Device
from mmsim.timed.costs import CacheCost, Figures, Traffic
from mmsim.timed.delays import Delay
from mmsim.timed.devices import PRESETS
from mmsim.timed.layout import layout_of
from mmsim.timed.learnt import Learnt
from mmsim.timed.result import Ended, LockUse
from mmsim.timed.run import simulate
from mmsim.timed.statistics import Latency, latency
from mmsim.timed.workloads.probe import Metered, Probe

DISK: Final = Device("disk")
NVME: Final = PRESETS["nvme"].delay
LOOKS: Final = 50
"""How often a run is looked at."""
WARM_UP: Final = 0.1
"""The part of the time in which nothing is measured, for the caches are cold."""


@attrs.frozen
class Load:
    """How hard a workload works; what a workload has no use for it ignores."""

    cpus: int
    processes: int
    pages: int = 1
    depth: int = 4
    channels: int | None = None
    """How many requests a disk serves at the same time; None: all that it is given."""

    @property
    def disks(self) -> tuple[Device, ...]:
        """One process's disk, as a device for each request that it serves at the same time."""
        ways = self.depth if self.channels is None else min(self.channels, self.depth)
        return tuple(Device(f"{DISK.name}{way}") for way in range(ways)) if ways > 1 else (DISK,)


@attrs.frozen
class Workload:
    """One kind of work."""

    name: str
    doc: str
    operation: str
    """What is counted, and what figures per operation are about."""
    latencies: tuple[str, ...]
    """The operations whose durations are told."""
    scenario: Callable[[Load], Scenario]
    seconds: float = 0.02
    """For how long it runs where nobody says: some hundred thousand steps."""
    delay: Delay = NVME
    """What a request takes where nobody says: an NVMe disk's read."""
    ends: bool = False
    """Whether it comes to an end by itself; then nothing is warm-up."""


@attrs.frozen
class Measurement:
    """One run of a workload.  Durations are in ns of simulated time."""

    workload: str
    strategy: str
    release: str
    cost: str
    cpus: int
    seed: int
    simulated_ns: float
    steps: int
    ended: Ended
    operation: str
    operations: int
    throughput: float
    """Operations a second, after the warm-up."""
    latencies: Mapping[str, Latency]
    refused: Mapping[str, int]
    held: tuple[tuple[float, int], ...]
    """(time, pages that are held though nobody maps them), again and again."""
    lines: Mapping[str, Traffic]
    locks: tuple[LockUse, ...]
    pages_copied: int
    flushes: int
    busy: float
    """The part of the CPUs' time in which they were not idle."""
    violation: tuple[str, str] | None = None

    def figures(self) -> dict[str, float]:
        """All that is measured, by name: what tables show and what is compared."""
        found = {"throughput 1/s": self.throughput}
        for name, one in self.latencies.items():
            found |= {
                f"{name} p50 ns": one.p50, f"{name} p99 ns": one.p99, f"{name} p99.9 ns": one.p999,
                f"{name} max ns": one.longest,
            }  # fmt: skip
        each = max(self.operations, 1)
        found |= {
            "refused /op": sum(self.refused.values()) / each,
            "held pages mean": sum(pages for _, pages in self.held) / max(len(self.held), 1),
            "held pages max": max((pages for _, pages in self.held), default=0),
            "line moves /op": sum(line.moved for line in self.lines.values()) / each,
            "line wait ns/op": sum(line.queued_ns for line in self.lines.values()) / each,
            "lock wait ns/op": sum(lock.wait_ns for lock in self.locks) / each,
            "pages copied /op": self.pages_copied / each,
            "TLB shootdowns /op": self.flushes / each,
            "busy": self.busy,
        }
        return found


def measure(
    workload: Workload,
    strategy: Strategy,
    release: Release,
    figures: Figures,
    load: Load,
    seconds: float,
    seed: int = 0,
    delay: Delay | None = None,
    watch: Callable[[Any], Any] | None = None,
) -> Measurement:
    """Run a workload once for so many simulated seconds.  `watch(world)` judges each step, as in `simulate`.

    Raises UserError where the time is too short for a single operation; a design under which everybody waits for ever
    has none, and that is a result.
    """
    _check(load, seconds)
    until_ns = seconds * 1e9
    probe = Probe(None, until_ns / LOOKS, 0 if workload.ends else WARM_UP * until_ns, figures.syscall)
    machine = boot(metered(workload.scenario(load), probe), strategy, release, reuses=True, learn=Learnt)
    probe.world = machine.world
    cost = CacheCost(figures, layout_of(machine.world, release, strategy, figures))
    devices = {thread.name for thread in machine.threads if thread.silent}
    chosen = workload.delay if delay is None else delay
    result = simulate(
        machine,
        cpus=load.cpus,
        seed=seed,
        cost=cost,
        delays=dict.fromkeys(devices, chosen),
        until_ns=until_ns,
        stagger_ns=min(1000, until_ns / 100),
        watch=None if watch is None else watch(machine.world),
        observer=probe,
    )
    operations = probe.done(workload.operation)
    if not operations and result.ended is Ended.UNTIL:
        msg = (
            f"{workload.name} under {strategy.name} did not get through one {workload.operation} within "
            f"{seconds:g} simulated seconds; give it more"
        )
        raise UserError(msg)
    counted = len(probe.durations.get(workload.operation, ()))
    lasted_ns = result.end_ns - probe.warm_up_ns
    return Measurement(
        workload=workload.name,
        strategy=strategy.name,
        release=release.name,
        cost=figures.name,
        cpus=load.cpus,
        seed=seed,
        simulated_ns=result.end_ns,
        steps=result.steps,
        ended=result.ended,
        operation=workload.operation,
        operations=operations,
        throughput=counted / lasted_ns * 1e9 if lasted_ns > 0 else 0.0,
        latencies={name: latency(probe.durations[name]) for name in workload.latencies if name in probe.durations},
        refused={name: probe.refused[name] for name in workload.latencies if probe.done(name)},
        held=tuple(probe.held),
        lines={kind: traffic for kind, traffic in cost.traffic.items() if traffic.moved or traffic.queued_ns},
        locks=result.locks,
        pages_copied=cost.pages_copied,
        flushes=sum(cost.flushes.values()),
        busy=sum(result.busy_ns) / (result.end_ns * load.cpus) if result.end_ns else 0.0,
        violation=result.violation,
    )


def _check(load: Load, seconds: float) -> None:
    if not 0 < seconds < float("inf"):
        msg = f"a workload runs for a positive number of seconds, and {seconds!r} is none"
        raise UserError(msg)
    for name in ("cpus", "processes", "pages", "depth", "channels"):
        value = getattr(load, name)
        if value is None and name == "channels":
            continue
        if type(value) is not int or value < 1:
            msg = (
                f"a workload needs at least one of its {name}, and a whole number of them, but {value!r} are asked for"
            )
            raise UserError(msg)


def metered(scenario: Scenario, probe: Probe) -> Scenario:
    """The scenario with every thread's calls recorded."""
    threads = tuple(
        attrs.evolve(item, threads=tuple(_metered(one, probe) for one in item.threads))
        if isinstance(item, Process)
        else _metered(item, probe)
        for item in scenario.threads
    )
    return attrs.evolve(scenario, threads=threads)


def _metered(function: ThreadFunction, probe: Probe) -> ThreadFunction:
    def thread(sys: Any, shared: Any) -> Coroutine[Any, Any, object]:
        return function(Metered(sys, probe), shared)

    thread.__name__ = function.__name__
    return thread
