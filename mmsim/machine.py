"""Booting: from a scenario, a strategy and a release to a machine that any driver can run.

`setup` runs alone, first, in the main process.  Then each plain function of `threads` is a thread of that process on a
CPU of its own; `process(...)` makes a process that inherits the descriptors and not the mappings, `copies(...)` several
alike; every function in `children` waits until somebody forks it; every device is a thread in hardirq context, and each
file system with a disk has a flusher, which may take its time for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from mmsim.cells import Cell, World
from mmsim.errors import UserError
from mmsim.kernel.direct_io import device_interrupts
from mmsim.kernel.entry import SimSyscalls
from mmsim.kernel.entry.processes import started
from mmsim.kernel.page_writeback import wb_workfn
from mmsim.kernel.releases import Release
from mmsim.kernel.strategy import Strategy
from mmsim.kernel.types import BlockDevice, Cpus, Kernel, Process, SuperBlock
from mmsim.scenario import Process as ProcessOf
from mmsim.scenario import Scenario, ThreadFunction
from mmsim.steps import Context, KernelBug, Step
from mmsim.syscalls import Device
from mmsim.threads import Machine, Thread

MAIN = "main"


def boot(scenario: Scenario, strategy: Strategy, release: Release) -> Machine:
    """A machine after `setup`, about to run the threads.  Raises UserError if setup fails."""
    world = World()
    cpus: list[tuple[Process, tuple[str, ...]]] = []
    main = world.handle(Process, MAIN)
    mounted = [
        world.handle(partial(SuperBlock, kind=mount.kind, stable=mount.checksums), mount.name)
        for mount in scenario.mounts
    ]
    children = {child.__name__: world.handle(Process, child.__name__) for child in scenario.children}
    values: dict[Cell[Any], Any] = {}

    def kernel(name: str, process: Process) -> Kernel:
        return Kernel(name, world, process, strategy, release, scenario.words_per_page, Cpus(tuple(cpus)))

    setup = SimSyscalls(kernel("setup", main), 0, {}, children, alone=False)
    shared = _run_alone(scenario.setup(setup), values)

    plan = list(_plan(scenario, world, main))
    for child in scenario.children:
        plan.append((child.__name__, child, children[child.__name__], 0, {}))
    for _, _, process, _, _ in plan:
        if all(process is not known for known, _ in cpus):
            cpus.append((process, tuple(name for name, _, owner, _, _ in plan if owner is process)))
        if process is not main and process not in children.values():
            _inherit_descriptors(main, process, values)
    threads = []
    for name, function, process, index, own_devices in plan:
        alone = next(len(names) for owner, names in cpus if owner is process) == 1
        k = kernel(name, process)
        sys = SimSyscalls(k, index, own_devices, children, alone)
        if function in scenario.children:
            threads.append(Thread(name, _child(function, sys, shared, k, process)))
        else:
            threads.append(Thread(name, _starter(function, sys, shared)))
    for name in _device_names(scenario):
        device = world.handle(BlockDevice, name)
        threads.append(
            Thread(name, _starter(device_interrupts, kernel(name, main), device), Context.HARDIRQ, silent=True)
        )
    for sb in mounted:
        if sb.block_backed:
            name = f"flush-{sb.name}"
            threads.append(Thread(name, _starter(wb_workfn, kernel(name, main), sb), silent=True))
    groups = tuple(
        tuple(f"{item.threads[0].__name__}[{number}]" for number in range(item.copies))
        for item in scenario.threads
        if isinstance(item, ProcessOf) and item.copies > 1
    )
    return Machine(world, tuple(threads), values, groups)


Planned = tuple[str, ThreadFunction, Process, int, dict[str, str]]


def _plan(scenario: Scenario, world: World, main: Process) -> list[Planned]:
    """(name, function, process, index, own devices) of every thread."""
    plan: list[Planned] = []
    for item in scenario.threads:
        if not isinstance(item, ProcessOf):
            plan.append((item.__name__, item, main, 0, {}))
            continue
        first = item.threads[0].__name__
        for number in range(item.copies):
            suffix = f"[{number}]" if item.copies > 1 else ""
            process = world.handle(Process, f"{first}{suffix}")
            own = {device.name: _own_name(process.name, device) for device in item.devices}
            for function in item.threads:
                plan.append((item.thread_name(function, number), function, process, number, own))
    return plan


def _own_name(process: str, device: Device) -> str:
    return f"{process}.{device.name}"


def _device_names(scenario: Scenario) -> list[str]:
    names = [device.name for device in scenario.devices]
    for item in scenario.threads:
        if isinstance(item, ProcessOf):
            for number in range(item.copies):
                suffix = f"[{number}]" if item.copies > 1 else ""
                names += [_own_name(f"{item.threads[0].__name__}{suffix}", device) for device in item.devices]
    return names


def _starter(function: Callable[..., Any], *arguments: Any) -> Callable[[], Coroutine[Any, Any, object]]:
    def start() -> Coroutine[Any, Any, object]:
        coroutine: Coroutine[Any, Any, object] = function(*arguments)
        return coroutine

    return start


def _is_true(value: bool) -> bool:
    return value


def _child(
    function: ThreadFunction, sys: SimSyscalls, shared: Any, k: Kernel, process: Process
) -> Callable[[], Coroutine[Any, Any, object]]:
    async def child() -> object:
        await started(k, process).wait_until(_is_true)
        return await function(sys, shared)

    return child


def _inherit_descriptors(parent: Process, child: Process, values: dict[Cell[Any], Any]) -> None:
    open_fds = values.get(parent.open_fds, ())
    values[child.open_fds] = open_fds
    for number in open_fds:
        file = values[child.fd(number)] = values.get(parent.fd(number))
        if file is not None and not file.inode.sb.internal:
            values[file.f_count] = values[file.f_count] + 1


def _run_alone(coroutine: Coroutine[Any, Any, object], values: dict[Cell[Any], Any]) -> object:
    """Run setup to its end; each step takes effect on `values` at once."""
    result: Any = None
    while True:
        try:
            step = coroutine.send(result)
        except StopIteration as end:
            return end.value
        except KernelBug as bug:
            msg = f"setup runs into a kernel bug: {bug}"
            raise UserError(msg) from bug
        if not isinstance(step, Step):
            msg = f"setup awaits something that is no step: {step!r}"
            raise UserError(msg)
        try:
            outcomes = step.alternatives(values.get(step.cell, step.cell.initial) if step.cell else None)
        except KernelBug as bug:
            msg = f"setup runs into a kernel bug at {step!r}: {bug}"
            raise UserError(msg) from bug
        if not outcomes:
            msg = f"setup waits for ever at {step!r}, for it runs alone"
            raise UserError(msg)
        new, result = outcomes[0]
        if step.cell is not None:
            values[step.cell] = new
