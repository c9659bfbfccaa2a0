"""get_user_pages_fast() as fast as it goes, as mm/gup_test.c does it: pin one page, give it back, again.

On one file, every process pins a page of its own, so what the processes share is the file: its struct address_space,
and nothing else.  On private files they share nothing at all.  The difference between the two is what a design adds
to the address_space; `pages=1` of the first adds the struct page itself.
"""

from __future__ import annotations

from mmsim.kernel.gup import get_user_pages_fast, unpin_pages
from mmsim.kernel.types import Caller
from mmsim.scenario import Scenario, copies
from mmsim.syscalls import MAP_SHARED, MFD_ALLOW_SEALING, PAGE_SIZE, PROT_READ, PROT_WRITE, Syscalls
from mmsim.timed.workloads.probe import Metered
from mmsim.timed.workloads.workload import Load, Workload


async def hammer(sys: Metered, address: int) -> None:
    """Pin and unpin for ever."""
    await sys.store(address, b"touched")
    now, record = sys.probe.now, sys.probe.record
    while True:
        begin = now()
        pins = await sys.kernel(get_user_pages_fast, address, 1, Caller.DIRECT_IO, write=True)
        pinned = now()
        if isinstance(pins, int):
            record("gup", begin, pinned, pins)
            continue
        await sys.kernel(unpin_pages, pins)
        unpinned = now()
        record("gup", begin, pinned)
        record("unpin", pinned, unpinned)
        record("gup+unpin", begin, unpinned)


async def one_file(sys: Metered, shared: tuple[int, int]) -> None:
    """Each process maps its own page of the one file."""
    fd, pages = shared
    await hammer(sys, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED, PAGE_SIZE, sys.index % pages * PAGE_SIZE))


async def private_file(sys: Metered, _shared: None) -> None:
    """Each process maps a file of its own."""
    fd = await sys.memfd_create(f"private{sys.index}", MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, PAGE_SIZE)
    await hammer(sys, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED, PAGE_SIZE, 0))


def on_one_file(load: Load) -> Scenario:
    """The processes share a file; with fewer pages than processes they share pages too."""
    pages = load.pages if load.pages > 1 else load.processes

    async def setup(sys: Syscalls) -> tuple[int, int]:
        fd = await sys.memfd_create("shared", MFD_ALLOW_SEALING)
        await sys.ftruncate(fd, pages * PAGE_SIZE)
        return fd, pages

    return Scenario(setup=setup, threads=(copies(load.processes, one_file),))


def on_one_page(load: Load) -> Scenario:
    """The processes share a single page."""

    async def setup(sys: Syscalls) -> tuple[int, int]:
        fd = await sys.memfd_create("shared", MFD_ALLOW_SEALING)
        await sys.ftruncate(fd, PAGE_SIZE)
        return fd, 1

    return Scenario(setup=setup, threads=(copies(load.processes, one_file),))


def on_private_files(load: Load) -> Scenario:
    """The processes share nothing."""

    async def setup(_sys: Syscalls) -> None:
        return

    return Scenario(setup=setup, threads=(copies(load.processes, private_file),))


TOLD = ("gup", "unpin", "gup+unpin")

gup_one_file = Workload(
    "gup_one_file",
    "get_user_pages_fast() by every process, on its own page of one file",
    "gup+unpin",
    TOLD,
    on_one_file,
    seconds=0.0002,
)
gup_one_page = Workload(
    "gup_one_page",
    "get_user_pages_fast() by every process, on the same page",
    "gup+unpin",
    TOLD,
    on_one_page,
    seconds=0.0002,
)
gup_private_files = Workload(
    "gup_private_files",
    "get_user_pages_fast() by every process, on a file of its own",
    "gup+unpin",
    TOLD,
    on_private_files,
    seconds=0.0002,
)
