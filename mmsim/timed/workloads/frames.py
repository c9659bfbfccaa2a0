"""Video frames, the use that memfd was made for: fill, seal, pass on.

The producer fills a new memfd by direct I/O, unmaps it while the I/O is under way, waits for it, and seals.  The
consumer, in the same process, maps the frame, reads it and closes it, with which the file is evicted.  A seal that is
refused is tried again.
"""

from __future__ import annotations

from mmsim.cells import Cell
from mmsim.scenario import Scenario, copies
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_GROW,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Syscalls,
)
from mmsim.timed.workloads.probe import Metered
from mmsim.timed.workloads.workload import DISK, Load, Workload

WAITING = 4
"""How many frames may wait for the consumer."""


def frames(sys: Metered) -> Cell[tuple[int, ...]]:
    """The frames sealed and not consumed yet: a socket in truth."""
    cell: Cell[tuple[int, ...]] = sys.k.world.cell(f"{sys.k.process.name}.frames", ())
    return cell


def passed_on(queue: tuple[int, ...], fd: int) -> tuple[int, ...]:
    """sendmsg(SCM_RIGHTS)."""
    return (*queue, fd)


def taken(queue: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """recvmsg()."""
    return queue[1:], queue[0]


def there(queue: tuple[int, ...]) -> bool:
    """Whether there is a frame."""
    return bool(queue)


def room(queue: tuple[int, ...]) -> bool:
    """Whether another would be taken."""
    return len(queue) < WAITING


async def producer(sys: Metered, pages: int) -> None:
    """Fill, unmap, seal, pass on."""
    length, queue = pages * PAGE_SIZE, frames(sys)
    while True:
        begin = sys.now
        fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
        await sys.ftruncate(fd, length)
        buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED, length, 0)
        io = await sys.submit_direct_read(DISK, buffer, b"f" * length)
        await sys.munmap(buffer, length)
        await sys.wait_for(io)
        while await sys.add_seals(fd, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW) == -EBUSY:
            pass
        await queue.wait_until(room)
        await queue.update(passed_on, fd)
        sys.since("frame", begin)


async def consumer(sys: Metered, pages: int) -> None:
    """Look at every page of every frame.  Mapped privately: before v6.7 a sealed file cannot be mapped shared."""
    length, queue = pages * PAGE_SIZE, frames(sys)
    while True:
        await queue.wait_until(there)
        fd = await queue.fetch_update(taken)
        view = await sys.mmap(fd, PROT_READ, MAP_PRIVATE, length, 0)
        for page in range(pages):
            await sys.load(view + page * PAGE_SIZE, 8)
        await sys.munmap(view, length)
        await sys.close(fd)


def making(load: Load) -> Scenario:
    """A producer and a consumer for every process."""

    async def setup(_sys: Syscalls) -> int:
        return load.pages

    return Scenario(setup=setup, threads=(copies(load.processes, producer, consumer, devices=(DISK,)),), evicts=True)


video_frames = Workload(
    "video_frames",
    "frames filled by direct I/O, unmapped, sealed and passed on",
    "frame",
    ("frame", "add_seals", "munmap", "close"),
    making,
)
