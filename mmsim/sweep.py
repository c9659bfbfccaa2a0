"""Measurements by the dozen: every workload under every design on every number of CPUs, with repeats.

What can be measured at the same time is given to an executor: processes of this machine, or anything else that has
`submit` as `concurrent.futures` knows it.  A measurement that is lost with its worker is made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import attrs

from mmsim.errors import UserError

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from mmsim.kernel.strategy import Strategy
    from mmsim.timed.delays import Delay
    from mmsim.timed.workloads import Measurement, Workload

MOST_CPUS: Final = 1024
RETRIES: Final = 3
"""How often a measurement is given to another worker before its loss is an error."""


@attrs.frozen
class Point:
    """One measurement to be made, in words that can be sent to another process."""

    workload: str
    strategy: str
    release: str
    cost: str
    cpus: int
    seed: int
    seconds: float | None = None
    """None: as long as the workload itself thinks right."""
    processes: int | None = None
    """None: one for each CPU."""
    pages: int = 1
    depth: int = 4
    channels: int | None = None
    delay: str | None = None
    watch: bool = False


def workload_named(name: str) -> Workload:
    """The workload of that name.  Raises UserError with the nearest."""
    from mmsim.catalogue import suggestion
    from mmsim.timed.workloads import WORKLOADS

    if name not in WORKLOADS:
        known = f"there are {', '.join(WORKLOADS)}"
        msg = f"unknown workload {name!r}; {suggestion(name, WORKLOADS, known)}"
        raise UserError(msg)
    return WORKLOADS[name]


def counts(text: str) -> tuple[int, ...]:
    """`1,2,4` or `1,2,...,64` (each twice as many as the one before): how many CPUs each machine has.

    Raises UserError.
    """
    found: list[int] = []
    doubling = False
    for part in text.split(","):
        word = part.strip()
        if word == "..." and found and not doubling:
            doubling = True
            continue
        if not word.isdecimal() or not 1 <= int(word) <= MOST_CPUS:
            msg = (
                f"--cpus {text!r}: {word!r} is no number of CPUs; write 1 to {MOST_CPUS}, or several: 1,3 or 1,2,...,64"
            )
            raise UserError(msg)
        while doubling and 2 * found[-1] < int(word):
            found.append(2 * found[-1])
        doubling = False
        found.append(int(word))
    if doubling:
        msg = f"--cpus {text!r}: where does `...` end? write for example 1,2,...,64"
        raise UserError(msg)
    return tuple(dict.fromkeys(found))


def plan(
    workload: str,
    strategies: Sequence[str],
    release: str,
    cost: str,
    cpus: Sequence[int],
    *,
    repeats: int,
    seed: int,
    known: Collection[str] = (),
    **options: Any,
) -> list[Point]:
    """Every point of a sweep; strategies that are `known` need no looking up.

    Raises UserError for names that mean nothing, before anything is measured.
    """
    from mmsim import batch
    from mmsim.timed.costfile import figures

    workload_named(workload)
    for strategy in strategies:
        if strategy not in known:
            batch.find_strategy(strategy)
    batch.find_release(release)
    figures(cost)
    if options.get("delay") is not None:
        delay_of(options["delay"])
    return [
        Point(workload, strategy, release, cost, count, seed + repeat, **options)
        for strategy in dict.fromkeys(strategies)
        for count in cpus
        for repeat in range(repeats)
    ]


def delay_of(text: str) -> Delay:
    """The delay that a text means; `disk=nvme` is `nvme`, for the workloads' devices are all alike."""
    from mmsim.timed.devices import delay_named

    return delay_named(text.rpartition("=")[2])


def measured(point: Point, strategy: Strategy | None = None) -> Measurement:
    """Make one measurement; runs in a process of its own under --jobs, where a strategy goes by its name."""
    from mmsim import batch
    from mmsim.check.properties import AlwaysOn
    from mmsim.timed.costfile import figures
    from mmsim.timed.workloads import Load, measure

    workload = workload_named(point.workload)
    load = Load(point.cpus, point.processes or point.cpus, point.pages, point.depth, point.channels)
    return measure(
        workload,
        strategy or batch.find_strategy(point.strategy),
        batch.find_release(point.release),
        figures(point.cost),
        load,
        workload.seconds if point.seconds is None else point.seconds,
        point.seed,
        None if point.delay is None else delay_of(point.delay),
        AlwaysOn if point.watch else None,
    )


def carry_out(
    points: Sequence[Point], executor: Executor | None, progress: Callable[[int, int, float], None]
) -> Iterator[tuple[Point, Measurement]]:
    """The measurements, each as soon as it is made; whoever has enough stops asking.

    `progress(done, wanted, seconds left)` is told of each.  Without an executor they are made here, one by one.
    """
    begin = time.monotonic()

    def tell(done: int) -> None:
        progress(done, len(points), (time.monotonic() - begin) / done * (len(points) - done))

    if executor is None:
        for number, point in enumerate(points, 1):
            yield point, measured(point)
            tell(number)
        return
    from concurrent.futures import BrokenExecutor, CancelledError

    from mmsim.jobs import Jobs, died

    with Jobs[tuple[Point, int]](executor) as jobs:

        def submit(point: Point, lost: int) -> None:
            try:
                jobs.submit((point, lost), measured, point)
            except BrokenExecutor as error:
                raise died(error) from None

        for point in points:
            submit(point, 0)
        done = 0
        while jobs:
            (point, lost), future = jobs.take()
            try:
                found = future.result()
            except (BrokenExecutor, CancelledError, ConnectionError):
                if lost == RETRIES:
                    raise
                submit(point, lost + 1)
                continue
            done += 1
            tell(done)
            yield point, found


def cluster(address: str) -> Executor:
    """The workers of a Dask scheduler: the extra `[cluster]`.  Raises UserError."""
    try:
        from distributed import Client
    except ImportError:
        msg = "--dask needs dask.distributed, which is not installed; pip install 'mmsim[cluster]'"
        raise UserError(msg) from None
    try:
        client = Client(address, timeout="5s")
    except (OSError, ValueError) as error:
        msg = f"--dask {address!r}: there is no scheduler that answers ({error})"
        raise UserError(msg) from None
    executor: Executor = client.get_executor(pure=False, retries=RETRIES)
    return executor
