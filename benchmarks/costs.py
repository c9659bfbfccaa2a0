"""The timed simulator: how fast it is beside bare SimPy, and how far its predictions are from this machine.

    python -m benchmarks.costs      a minute; part of `make bench`

The first table is measured with the CPU's time of this process alone.  The second runs benchmarks/micro.c, which needs
a C compiler, and the same work in the simulator on the figures of the `cloud` preset.
"""

from __future__ import annotations

import gc
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import simpy

from mmsim.cells import World
from mmsim.kernel.releases import release_named
from mmsim.machine import boot
from mmsim.scenario import Scenario, process
from mmsim.strategies import BY_NAME
from mmsim.syscalls import F_SEAL_WRITE, MAP_SHARED, MFD_ALLOW_SEALING, PAGE_SIZE, PROT_READ, PROT_WRITE, Syscalls
from mmsim.threads import Machine, Thread
from mmsim.timed import FlatCost, simulate
from mmsim.timed.costs import CacheCost
from mmsim.timed.layout import Layout, layout_of
from mmsim.timed.learnt import Learnt
from mmsim.timed.presets import CLOUD
from mmsim.timed.workloads import WORKLOADS, Load, measure
from mmsim.timed.workloads.probe import Probe
from mmsim.timed.workloads.workload import metered

HERE = Path(__file__).resolve().parent
RELEASE = release_named("v6.18")
LINUX = BY_NAME["wait_for_pins"]
REPEATS = 5
LONG = 5
"""How many times longer than where nobody says a workload runs here: most of what comes again is learnt by then."""


# ---- speed


def simpy_rate(processes: int) -> float:
    """Events a second of bare SimPy: so many processes that wait for nothing but the clock."""
    env = simpy.Environment()

    def ticking() -> Any:
        while True:
            yield env.timeout(10)

    for _ in range(processes):
        env.process(ticking())
    began = time.process_time()
    env.run(until=2_000_000 / processes)
    return 200_000 / (time.process_time() - began)


def step_rate(name: str, cpus: int, *, flat: bool = False, times: int = LONG) -> float:
    """Steps a second of a workload that runs so many times longer than where nobody says."""
    probe = Probe(None, 1e9, 0, CLOUD.syscall)
    scenario = metered(WORKLOADS[name].scenario(Load(cpus, cpus)), probe)
    machine = boot(scenario, BY_NAME["delayed_unmap"], RELEASE, reuses=True, learn=Learnt)
    cost = FlatCost(5) if flat else CacheCost(CLOUD, layout_of(machine.world, RELEASE, LINUX, CLOUD))
    until_ns = times * WORKLOADS[name].seconds * 1e9
    began = time.process_time()
    result = simulate(machine, cpus=cpus, cost=cost, until_ns=until_ns, stagger_ns=100)
    return result.steps / (time.process_time() - began)


def bare_rate(name: str, cpus: int, steps: int = 50_000) -> float:
    """Steps a second of the kernel's code run each time, with no clock, no CPUs and no costs."""
    probe = Probe(None, 1e9, 0, 0)
    scenario = metered(WORKLOADS[name].scenario(Load(cpus, cpus)), probe)
    machine = boot(scenario, BY_NAME["delayed_unmap"], RELEASE)
    values = dict(machine.initial)
    probe.begin(lambda: 0)
    sends = [thread.start().send for thread in machine.threads if not thread.silent]
    results: list[Any] = [None] * len(sends)
    began = time.process_time()
    for number in range(steps):
        turn = number % len(sends)
        step = sends[turn](results[turn])
        cell = step.cell
        old = None if cell is None else values.get(cell, cell.initial)
        new, results[turn] = step.effect(old, *step.operands)[0]
        if new is not old:
            values[cell] = new
    return steps / (time.process_time() - began)


def speed() -> None:
    cases: list[tuple[str, Callable[[], float]]] = [
        ("gup on one CPU, flat costs", lambda: step_rate("gup_private_files", 1, flat=True)),
        ("gup on one CPU, cache lines", lambda: step_rate("gup_private_files", 1)),
        ("gup on 4 CPUs, private files", lambda: step_rate("gup_private_files", 4)),
        ("gup on 4 CPUs, the same page", lambda: step_rate("gup_one_page", 4)),
        ("munmap() storm on 4 CPUs", lambda: step_rate("munmap_storm", 4)),
        ("direct I/O on 4 CPUs", lambda: step_rate("dio_server", 4)),
        ("video frames on 4 CPUs", lambda: step_rate("video_frames", 4)),
        ("the same, no longer than where nobody says", lambda: step_rate("video_frames", 4, times=1)),
        ("gup by 4 threads, nothing learnt, no clock", lambda: bare_rate("gup_private_files", 4)),
    ]
    rates: dict[str, list[float]] = {name: [] for name, _ in cases}
    bare: list[float] = []
    for _ in range(REPEATS):  # in turns, so that a busy machine slows all alike
        gc.collect()
        bare.append(simpy_rate(2))
        for name, rate in cases:
            gc.collect()  # or one pays for what another left behind
            rates[name].append(rate())
    print("Speed: steps a second of simulated kernel code on one core, beside SimPy's bare rate of events\n")
    print(f"  {'SimPy, two processes, an event each turn':<42}{statistics.median(bare):>10,.0f} events/s")
    for name, found in rates.items():
        ratio = statistics.median(mine / theirs for mine, theirs in zip(found, bare, strict=True))
        print(f"  {name:<42}{statistics.median(found):>10,.0f} steps/s   {ratio:.2f} of SimPy")
    print(
        "\n  Wanted: 250,000 steps/s, and half of SimPy's rate.  Where threads wait for devices, each wait, wake-up,"
        "\n  delay and hand-over of a CPU is an event more, and no step.  The last line is the code of gup alone, run"
        "\n  each time and its effects applied, with nothing that keeps time or counts cache lines beside it.\n"
    )


# ---- validation


class Row(NamedTuple):
    name: str
    what: str
    predicted: float
    remark: str


def hot_atomic(cpus: int) -> float:
    """ns for each atomic of one CPU on a line that `cpus` want; a loop in user space has no more instructions."""
    world = World()
    cell = world.cell("hot", 0)

    async def hammer() -> None:
        for _ in range(5000):
            await cell.inc()

    figures = attrs.evolve(CLOUD, step=CLOUD.load)
    threads = tuple(Thread(f"t[{number}]", hammer) for number in range(cpus))
    cost = CacheCost(figures, Layout(world, RELEASE))
    return simulate(Machine(world, threads), cpus=cpus, cost=cost).end_ns / 5000


def predicted(turn: Callable[..., Any], pages: int, turns: int = 50) -> float:
    """ns that one turn takes when the lines are warm: the least of many, as it is measured."""
    durations: list[float] = []

    async def setup(sys: Syscalls) -> int:
        fd = await sys.memfd_create("micro", MFD_ALLOW_SEALING)
        await sys.ftruncate(fd, max(pages, 1) * PAGE_SIZE)
        for page in range(pages):
            await sys.pwrite(fd, b"x", page * PAGE_SIZE)
        return fd

    async def user(sys: Any, fd: int) -> None:
        state: dict[str, int] = {}
        for _ in range(turns):
            begin = sys.now
            await turn(sys, fd, state)
            durations.append(sys.now - begin - state.pop("apart", 0))

    probe = Probe(None, 1e9, 0, CLOUD.syscall)
    machine = boot(metered(Scenario(setup=setup, threads=(process(user),)), probe), LINUX, RELEASE, learn=Learnt)
    probe.world = machine.world
    cost = CacheCost(CLOUD, layout_of(machine.world, RELEASE, LINUX, CLOUD))
    simulate(machine, cpus=1, cost=cost, until_ns=1e9, observer=probe)
    return min(durations)


async def map_once(sys: Any, fd: int, _state: dict[str, int]) -> None:
    await sys.munmap(await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED))


async def map_and_store(sys: Any, fd: int, _state: dict[str, int]) -> None:
    address = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.store(address, b"\1")
    await sys.munmap(address)


async def write_page(sys: Any, fd: int, _state: dict[str, int]) -> None:
    await sys.pwrite(fd, b"y" * PAGE_SIZE)


async def write_16(sys: Any, fd: int, state: dict[str, int]) -> None:
    if "mapped" not in state:
        state["mapped"] = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 16 * PAGE_SIZE)
    await sys.process_vm_writev(None, state["mapped"], b"z" * 16 * PAGE_SIZE)


def pin_and_unpin() -> float:
    found = measure(WORKLOADS["gup_private_files"], LINUX, RELEASE, CLOUD, Load(1, 1), 1e-5)
    return found.latencies["gup+unpin"].p50


def seal(pages: int) -> float:
    async def once(sys: Any, fd: int, _state: dict[str, int]) -> None:
        assert await sys.add_seals(fd, F_SEAL_WRITE) == 0

    return predicted(once, pages, turns=1)


UNMODELLED = "too low: most of it touches no memory that others see"
ROWS: tuple[tuple[str, str, Callable[[], float], str], ...] = (
    ("atomic_1", "atomic, one CPU", lambda: hot_atomic(1), ""),
    ("atomic_2", "atomic, two CPUs, one line", lambda: hot_atomic(2), "arbitration is guessed: half of a transfer"),
    ("syscall", "getppid()", lambda: CLOUD.syscall, "a figure of the preset"),
    ("mmap_munmap", "mmap() and munmap() of a shared page", lambda: predicted(map_once, 1), UNMODELLED),
    ("mmap_store_munmap", "the same with a store between", lambda: predicted(map_and_store, 1), UNMODELLED),
    (
        "pwrite_page",
        "pwrite() of a page",
        lambda: predicted(write_page, 1),
        "LSM hooks, timestamps: not modelled",
    ),
    ("pin_unpin", "pin and unpin a page (calibration)", pin_and_unpin, "too low: the walk above the PTE is left out"),
    (
        "process_vm_writev_16",
        "process_vm_writev() of 16 pages",
        lambda: predicted(write_16, 16),
        "64 KiB do not fit into L1 in truth",
    ),
    ("seal_0", "F_SEAL_WRITE, empty file", lambda: seal(0), ""),
    ("seal_16", "F_SEAL_WRITE, 16 pages", lambda: seal(16), "draining asks every CPU in truth"),
    ("seal_256", "F_SEAL_WRITE, 256 pages", lambda: seal(256), "the same"),
    (
        "seal_4096",
        "F_SEAL_WRITE, 4096 pages",
        lambda: seal(4096),
        "16 MiB were just written: colder in truth (38,000 when warm)",
    ),
)


CALIBRATED = {"pin_unpin": 70.0}
"""What user space measures only by a detour; from the project's calibration: the slope of io_uring's registration."""


def real() -> dict[str, float]:
    """What this machine takes; {} without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="mmsim-micro-") as folder:
        program = str(Path(folder) / "micro")
        subprocess.run([compiler, "-O2", "-pthread", "-o", program, str(HERE / "micro.c")], check=True)
        told = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, value in (line.split() for line in told.splitlines())}


def validation() -> None:
    print(f"Predictions on the figures of `{CLOUD.name}` ({CLOUD.source}), beside this machine: ns, least of many\n")
    measured = {**CALIBRATED, **real()}
    if measured == CALIBRATED:
        print("  There is no C compiler, so nothing could be measured.\n")
        return
    print(f"  {'':<40}{'predicted':>12}{'measured':>12}{'ratio':>8}")
    for name, what, predict, remark in ROWS:
        if name not in measured:
            continue
        mine = predict()
        print(f"  {what:<40}{mine:>12,.1f}{measured[name]:>12,.1f}{mine / measured[name]:>8.2f}  {remark}".rstrip())
    print(
        "\n  The model counts what CPUs do to each other's cache lines, and little of what each does alone.  So it is"
        "\n  good for the difference between two designs that run the same code around the same lines, and for how that"
        "\n  difference grows with CPUs; it is no good for how long a whole system call takes.\n"
    )


def main() -> int:
    speed()
    validation()
    return 0


if __name__ == "__main__":
    sys.exit(main())
