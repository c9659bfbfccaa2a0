"""Mistakes in sealing and in direct I/O, each of which the checker must find."""

from __future__ import annotations

import attrs

from mmsim.cells import SpinLock
from mmsim.check.books import COUNT, LEAK
from mmsim.check.promises import SEALED
from mmsim.kernel.direct_io import dma_to_memory, first_done
from mmsim.kernel.memfd import memfd_add_seals, memfd_tag_pins
from mmsim.kernel.page_alloc import put_page
from mmsim.steps import sleep
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import PAGE_SIZE
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each
from tests.mutants.scenes import scene

BUG = "no kernel bug"
ATOMIC = "no sleeping in atomic context"


async def nothing(*_args, **_kwargs):
    return None


# ---- sealing


async def seal_that_looks_before_it_denies(k, inode, _promise):
    return await k.strategy.exclude_pins(k, inode.mapping) or await k.strategy.deny_writable(k, inode)


async def seal_that_denies_for_ever(k, inode, _promise):
    return await k.strategy.deny_writable(k, inode) or await k.strategy.exclude_pins(k, inode.mapping)


async def look_once_and_hope(k, mapping):
    if await memfd_tag_pins(k, mapping, 1):
        await sleep(1)
    return 0


async def deny_in_two_steps(_k, inode):
    count = await inode.mapping.i_mmap_writable.load()
    if count > 0:
        return -16
    await inode.mapping.i_mmap_writable.store(count - 1)
    return 0


async def seals_under_i_mmap_mutex(k, file, seals):
    async with file.inode.mapping.i_mmap_mutex:
        return await memfd_add_seals(k, file, seals)


async def seal_that_keeps_the_lock(k, file, seals):
    await file.inode.i_mutex.acquire()
    await file.inode.seals.update(both, seals)
    return 0


def both(old, new):
    return old | new


async def seal_that_unlocks_twice(k, file, seals):
    error = await memfd_add_seals(k, file, seals)
    await file.inode.i_mutex.release()
    return error


# ---- direct I/O


async def complete(k, device, request):
    await device.queue.update(first_done)
    await request.process.reqs_active.dec()
    await request.io.result.store(PAGE_SIZE)


async def complete_then_write(k, device, request):
    for pin in request.pins:
        await k.strategy.unpin(k, pin)
    await complete(k, device, request)
    await dma_to_memory(k, request.pages, request.data)


async def wake_then_write(k, device, request):
    await complete(k, device, request)
    await dma_to_memory(k, request.pages, request.data)
    for pin in request.pins:
        await k.strategy.unpin(k, pin)


async def write_and_wake_nobody(k, device, request):
    await dma_to_memory(k, request.pages, request.data)
    for pin in request.pins:
        await k.strategy.unpin(k, pin)
    await device.queue.update(first_done)


async def unpin_under_mutex(k, pin):
    page = pin.page
    mapping = await page.mapping.load()
    if mapping is not None:
        async with mapping.i_mmap_mutex:
            await put_page(k, page)


def tree_lock(k):
    return k.world.lock(SpinLock, "tree_lock")


async def pin_under_spinlock(k, pin):
    async with tree_lock(k):
        return await pin.page.refcount.inc_not_zero()


async def unpin_under_spinlock(k, pin):
    async with tree_lock(k):
        await put_page(k, pin.page)


async def put_twice(k, pin):
    await put_page(k, pin.page)
    await put_page(k, pin.page)


async def pin_that_sleeps_in_atomic(k, pin):
    async with tree_lock(k).irqsave():
        await sleep(1)
        return await pin.page.refcount.inc_not_zero()


MUTANTS = [
    Mutant(
        "the seal waits for pins before it denies writers",
        scene(scenes.file, scenes.visitor, scenes.sealer),
        SEALED,
        (("kernel.memfd", "become_read_only", seal_that_looks_before_it_denies),),
    ),
    Mutant(
        "the seal looks at pins once and waits a little",
        scene(scenes.touched, scenes.leaver, scenes.sealer),
        SEALED,
        mutated=attrs.evolve(wait_for_pins, exclude_pins=look_once_and_hope),
    ),
    Mutant(
        "a seal that fails leaves writers denied",
        scene(scenes.touched, scenes.leaver, scenes.sealer),
        COUNT,
        (("kernel.memfd", "become_read_only", seal_that_denies_for_ever),),
    ),
    Mutant(
        "the seal reads the counter and then stores it",
        scene(scenes.file, scenes.mapper, scenes.sealer),
        SEALED,
        mutated=attrs.evolve(wait_for_pins, deny_writable=deny_in_two_steps),
    ),
    Mutant(
        "the seal takes i_mmap_mutex outside i_mutex",
        scene(scenes.touched, scenes.truncates_and_seals),
        "no lock inversion",
        (("kernel.entry.seals", "memfd_add_seals", seals_under_i_mmap_mutex),),
    ),
    Mutant(
        "the seal keeps i_mutex",
        scene(scenes.file, scenes.sealer),
        "no lock is held at the end",
        (("kernel.entry.seals", "memfd_add_seals", seal_that_keeps_the_lock),),
    ),
    Mutant(
        "the seal gives i_mutex back twice",
        scene(scenes.file, scenes.sealer),
        BUG,
        (("kernel.entry.seals", "memfd_add_seals", seal_that_unlocks_twice),),
    ),
    Mutant(
        "the device goes on writing after completion",
        scene(scenes.touched, scenes.leaver, scenes.sealer),
        SEALED,
        (("kernel.direct_io", "bio_endio", complete_then_write),),
    ),
    Mutant(
        "the device wakes the waiter before the data is there",
        scene(scenes.touched, scenes.waiter, always=(scenes.the_data_is_there,)),
        "the_data_is_there",
        (("kernel.direct_io", "bio_endio", wake_then_write),),
    ),
    Mutant(
        "the device wakes nobody",
        scene(scenes.touched, scenes.reader),
        "no deadlock",
        (("kernel.direct_io", "bio_endio", write_and_wake_nobody),),
    ),
    Mutant(
        "unpin takes a mutex in the interrupt",
        scene(scenes.touched, scenes.submitter),
        ATOMIC,
        mutated=attrs.evolve(wait_for_pins, unpin=unpin_under_mutex),
    ),
    Mutant(
        "pin sleeps under a spinlock",
        scene(scenes.touched, scenes.submitter),
        ATOMIC,
        mutated=attrs.evolve(wait_for_pins, pin=pin_that_sleeps_in_atomic),
    ),
    Mutant(
        "a spinlock that interrupts take is taken with interrupts on",
        scene(scenes.touched, scenes.submitter),
        "no lock is taken unsafely for interrupts",
        mutated=attrs.evolve(wait_for_pins, pin=pin_under_spinlock, unpin=unpin_under_spinlock),
    ),
    Mutant(
        "unpin gives two references back",
        scene(scenes.touched, scenes.all_in_turn),
        BUG,
        mutated=attrs.evolve(wait_for_pins, unpin=put_twice),
    ),
    Mutant(
        "unpin gives no reference back",
        scene(scenes.touched, scenes.submitter),
        LEAK,
        mutated=attrs.evolve(wait_for_pins, unpin=nothing),
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
