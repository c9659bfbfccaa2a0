"""Booting: from a scenario, a strategy and a release to a machine that any driver can run.

`setup` runs alone, first, in the main process; should it have to wait, the devices first do what they have to do, which
a design that waits for them in munmap() needs.  Then each plain function of `threads` is a thread of that process on a
CPU of its own; `process(...)` makes a process that inherits the descriptors and not the mappings, `copies(...)` several
alike; every function in `children` waits until somebody forks it; every device is a thread, in the context in which
its transport has the data copied, and each file system with a disk has a flusher, which may take its time for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from mmsim.cells import Cell, World
from mmsim.errors import UserError
from mmsim.kernel.direct_io import TRANSPORTS, device_interrupts
from mmsim.kernel.entry import SimSyscalls
from mmsim.kernel.entry.processes import started
from mmsim.kernel.page_writeback import wb_workfn
from mmsim.kernel.paths import Learn, as_it_is
from mmsim.kernel.releases import Release
from mmsim.kernel.strategy import Strategy
from mmsim.kernel.swap import settle
from mmsim.kernel.types import KERNEL_MOUNTS, BlockDevice, Cpus, Kernel, Page, Process, SuperBlock
from mmsim.scenario import Process as ProcessOf
from mmsim.scenario import Scenario, ThreadFunction
from mmsim.steps import KernelBug, Step
from mmsim.syscalls import Device
from mmsim.threads import Machine, Thread

MAIN = "main"


def boot(
    scenario: Scenario, strategy: Strategy, release: Release, *, reuses: bool = False, learn: Learn = as_it_is
) -> Machine:
    """A machine after `setup`, about to run the threads.  Raises UserError if setup fails.

    One that is to run for long `reuses` freed objects; its threads call what `learn` makes of the `learnable` paths.
    """
    world = World()
    cpus: list[tuple[Process, tuple[str, ...]]] = []
    main = world.handle(Process, MAIN)
    if scenario.evicts:
        for name, kind in KERNEL_MOUNTS:
            world.handle(partial(SuperBlock, kind=kind, evicts=True), name)
    mounted = [
        world.handle(partial(SuperBlock, kind=mount.kind, mounted=True, stable=mount.checksums), mount.name)
        for mount in scenario.mounts
    ]
    plan = list(_plan(scenario, world, main))
    # After all who may fork them: `Mm.order` is what a walk of i_mmap goes by.
    children = {child.__name__: world.handle(Process, child.__name__) for child in scenario.children}
    values: dict[Cell[Any], Any] = {}

    def kernel(name: str, process: Process, learn: Learn = as_it_is) -> Kernel:
        running = Cpus(tuple(cpus))
        return Kernel(
            name, world, process, strategy, release, scenario.words_per_page, running,
            shmem_huge=scenario.shmem_huge, reuses=reuses, learn=learn,
        )  # fmt: skip

    setup = SimSyscalls(kernel("setup", main), 0, {}, children, alone=False)
    devices = [(world.handle(BlockDevice, name), TRANSPORTS[transport]) for name, transport in _device_names(scenario)]
    beside = [device_interrupts(kernel(device.name, main), device) for device, _ in devices]
    shared = _run_alone(scenario.setup(setup), beside, values)
    _run_alone(settle(setup.k, tuple(world.of(Page))), [], values)

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
        k = kernel(name, process, learn)
        sys = SimSyscalls(k, index, own_devices, children, alone)
        if function in scenario.children:
            threads.append(Thread(name, _child(function, sys, shared, k, process)))
        else:
            threads.append(Thread(name, _starter(function, sys, shared)))
    for device, transport in devices:
        interrupts = _starter(device_interrupts, kernel(device.name, main, learn), device)
        threads.append(Thread(device.name, interrupts, transport.context, silent=True))
    for sb in mounted:
        if sb.block_backed:
            name = f"flush-{sb.name}"
            threads.append(Thread(name, _starter(wb_workfn, kernel(name, main, learn), sb), silent=True))
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


def _device_names(scenario: Scenario) -> list[tuple[str, str]]:
    """(name, transport) of every device."""
    found = [(device.name, device.transport) for device in scenario.devices]
    for item in scenario.threads:
        if isinstance(item, ProcessOf):
            for number in range(item.copies):
                suffix = f"[{number}]" if item.copies > 1 else ""
                process = f"{item.threads[0].__name__}{suffix}"
                found += [(_own_name(process, device), device.transport) for device in item.devices]
    return found


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
        if file is not None and file.counted:
            values[file.f_count] += 1


def _run_alone(
    setup: Coroutine[Any, Any, object], devices: Sequence[Coroutine[Any, Any, object]], values: dict[Cell[Any], Any]
) -> object:
    """Run setup to its end; each step takes effect on `values` at once.  Devices move only while setup cannot."""
    alone = _Alone(setup, values)
    beside = [_Alone(device, values) for device in devices]
    while not alone.run():
        moved = [device.taken for device in beside]
        for device in beside:
            device.run()
        if moved == [device.taken for device in beside]:
            msg = f"setup waits for ever at {alone.step!r}, for it runs alone"
            raise UserError(msg)
    for device in beside:
        device.coroutine.close()
    return alone.result


class _Alone:
    """A coroutine that runs before anything races: its pending step, and how many it has taken."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], values: dict[Cell[Any], Any]) -> None:
        self.coroutine = coroutine
        self.values = values
        self.taken = 0
        self.step: Step[Any] | None = None
        self.result: object = None

    def run(self) -> bool:
        """Take steps until one blocks, or to the end; whether it is reached."""
        try:
            while True:
                if self.step is None:
                    self._resume()
                assert self.step is not None
                cell = self.step.cell
                outcomes = self.step.alternatives(self.values.get(cell, cell.initial) if cell else None)
                if not outcomes:
                    return False
                new, self.result = outcomes[0]
                if cell is not None:
                    self.values[cell] = new
                self.taken += 1
                self._resume()
        except StopIteration as end:
            self.result = end.value
            return True
        except KernelBug as bug:
            msg = f"setup runs into a kernel bug at {self.step!r}: {bug}"
            raise UserError(msg) from bug

    def _resume(self) -> None:
        step = self.coroutine.send(self.result)
        if not isinstance(step, Step):
            msg = f"setup awaits something that is no step: {step!r}"
            raise UserError(msg)
        self.step = step
