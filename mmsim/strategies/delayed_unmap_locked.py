"""Delayed unmap with the plain integer of 2014, under a lock: which lock can it be?

As delayed_unmap, but i_mmap_writable is no atomic: whoever reads or changes it holds a lock, and so does whoever drops
the last pin of a page that owes, in the interrupt that completes the I/O.

`delayed_unmap_mutex` takes i_mmap_mutex, which guards the field in the patchset: an interrupt sleeps.
`delayed_unmap_irq_lock` has a spinlock for it, taken as spinlocks are: an interrupt that arrives on the CPU that holds
it spins for ever.
`delayed_unmap_irqsave` takes that spinlock with interrupts off, everywhere: right about the counter, and no cheaper
than the atomic.  The gaps of delayed_unmap are in all three.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from mmsim.cells import SpinLock
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.strategy import Strategy
from mmsim.kernel.types import AddressSpace, Inode, Kernel, Mm, Page, Pin, Vma
from mmsim.strategies.delayed_unmap import delayed_unmap, one_more, owed_drops, write_pins
from mmsim.syscalls import EBUSY, EPERM

LockOf = Callable[[AddressSpace], Any]


def mutex(mapping: AddressSpace) -> Any:
    """i_mmap_mutex."""
    return mapping.i_mmap_mutex


def spinlock(mapping: AddressSpace) -> SpinLock:
    """A lock for the counter alone."""
    return mapping.world.lock(SpinLock, f"{mapping.name}.i_mmap_writable_lock")


def irqsave(mapping: AddressSpace) -> Any:
    """The same lock, with interrupts off."""
    return spinlock(mapping).irqsave()


def delayed_unmap_under(lock: LockOf, name: str) -> Strategy:
    """The design with the counter under this lock."""

    async def add(mapping: AddressSpace, amount: int) -> None:
        async with lock(mapping):
            await mapping.i_mmap_writable.add(amount)

    async def map_writable(_k: Kernel, inode: Inode) -> int:
        async with lock(inode.mapping):
            if await inode.mapping.i_mmap_writable.load() < 0:
                return -EPERM
            await inode.mapping.i_mmap_writable.inc()
        return 0

    async def unmap_writable(_k: Kernel, mapping: AddressSpace) -> None:
        await add(mapping, -1)

    async def deny_writable(_k: Kernel, inode: Inode) -> int:
        async with lock(inode.mapping):
            if await inode.mapping.i_mmap_writable.load() > 0:
                return -EBUSY
            await inode.mapping.i_mmap_writable.dec()
        return 0

    async def allow_writable(_k: Kernel, inode: Inode) -> None:
        await add(inode.mapping, 1)

    async def settle(page: Page) -> None:
        debt = await owed_drops(page).exchange(None)
        if debt is not None:
            await add(debt[0], -debt[1])

    async def unpin(k: Kernel, pin: Pin) -> None:
        if pin.write and await write_pins(pin.page).dec_and_test():
            await settle(pin.page)
        await put_page(k, pin.page)

    async def owe_drops(_k: Kernel, _mm: Mm, vma: Vma, pages: tuple[Page, ...]) -> None:
        mapping = vma.file.inode.mapping
        for page in pages:
            await add(mapping, 1)
            await owed_drops(page).update(one_more, mapping)
            if not await write_pins(page).load():
                await settle(page)

    return attrs.evolve(
        delayed_unmap,
        name=name,
        doc=__doc__ or "",
        unpin=unpin,
        map_writable=map_writable,
        unmap_writable=unmap_writable,
        deny_writable=deny_writable,
        allow_writable=allow_writable,
        before_unmap_writable=owe_drops,
        budget=attrs.evolve(delayed_unmap.budget, drops_in_interrupt="lowers i_mmap_writable under a lock"),
    )


delayed_unmap_mutex = delayed_unmap_under(mutex, "delayed_unmap_mutex")
delayed_unmap_irq_lock = delayed_unmap_under(spinlock, "delayed_unmap_irq_lock")
delayed_unmap_irqsave = delayed_unmap_under(irqsave, "delayed_unmap_irqsave")
