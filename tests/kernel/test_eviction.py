"""Who keeps a memfd and its pages, and what is left when nobody does."""

from __future__ import annotations

import pytest

from mmsim.kernel.swap import lru_add_drain_all
from mmsim.kernel.types import Page
from mmsim.strategies import STRATEGIES
from mmsim.syscalls import (
    EPERM,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MFD_HUGETLB,
    O_RDONLY,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    fill,
)
from tests.kernel.alone import alone, filled, outcomes

RW = PROT_READ | PROT_WRITE
SLOW = Device("slow")


async def in_use(sys):
    """How many pages are not free, once none waits in a CPU's cache."""
    await lru_add_drain_all(sys.k)
    counts = [await page.refcount.load() for page in sys.k.world.of(Page)]
    return sum(count > 0 for count in counts)


async def closed(sys, fd):
    await sys.close(fd)


async def duplicate(sys, fd):
    other = await sys.dup(fd)
    await sys.close(fd)
    assert await in_use(sys) == 2
    await sys.close(other)


async def reopened(sys, fd):
    other = await sys.reopen(fd, O_RDONLY)
    await sys.close(fd)
    assert await in_use(sys) == 2
    assert await sys.pread(other, 4) == b"orig"
    await sys.close(other)


async def mapped(sys, fd):
    address = await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE)
    await sys.close(fd)
    assert await in_use(sys) == 2
    await sys.store(address, b"mine")
    await sys.munmap(address, 2 * PAGE_SIZE)


async def mapped_privately_in_parts(sys, fd):
    address = await sys.mmap(fd, PROT_READ, MAP_PRIVATE, 2 * PAGE_SIZE)
    await sys.close(fd)
    await sys.munmap(address, PAGE_SIZE)
    assert await in_use(sys) == 2
    await sys.munmap(address + PAGE_SIZE, PAGE_SIZE)


async def sealed(sys, fd):
    assert await sys.add_seals(fd, F_SEAL_WRITE) == 0
    assert await sys.pwrite(fd, b"late") == -EPERM
    await sys.close(fd)


@pytest.mark.parametrize(
    "way", [closed, duplicate, reopened, mapped, mapped_privately_in_parts, sealed], ids=lambda way: way.__name__
)
@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_the_last_that_refers_to_a_memfd_frees_its_pages(way, strategy):
    async def thread(sys, _):
        fd = await filled(sys, 2)
        assert await in_use(sys) == 2
        await way(sys, fd)
        return await in_use(sys)

    assert alone(thread, strategy=strategy, evicts=True) == 0


def test_a_child_keeps_what_it_inherited():
    async def child(sys, _):
        before = await in_use(sys)
        assert await sys.pread(3, 4) == b"orig"
        await sys.close(3)
        return before, await in_use(sys)

    async def thread(sys, _):
        fd = await filled(sys, 2)
        await sys.fork(child)
        await sys.close(fd)

    assert outcomes(thread, children=(child,), evicts=True)["child"] == (2, 0)


def test_where_nobody_asks_for_it_a_memfd_stays():
    async def thread(sys, _):
        await sys.close(await filled(sys, 2))
        return await in_use(sys)

    assert alone(thread) == 2


def test_a_file_of_huge_pages_goes_as_well():
    async def thread(sys, _):
        fd = await sys.memfd_create("huge", MFD_ALLOW_SEALING | MFD_HUGETLB)
        address = await sys.mmap(fd, RW, MAP_SHARED, PAGE_SIZE)
        await sys.store(address, b"mine")
        before = await in_use(sys)
        await sys.munmap(address, PAGE_SIZE)
        await sys.close(fd)
        return before, await in_use(sys)

    assert alone(thread, release="v6.12", evicts=True) == (1, 0)


def test_a_pin_keeps_its_page_and_no_other():
    async def thread(sys, _):
        fd = await filled(sys, 2)
        address = await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE)
        io = await sys.submit_direct_read(SLOW, address, fill(b"late"))
        await sys.munmap(address, 2 * PAGE_SIZE)
        await sys.close(fd)
        under_way = await in_use(sys)
        await sys.wait_for(io)
        return under_way, await in_use(sys)

    assert alone(thread, devices=(SLOW,), evicts=True) == (1, 0)
