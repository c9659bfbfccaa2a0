"""Mistakes in the designs, each of which the checker must find; and that every property is broken by some."""

from __future__ import annotations

import attrs
import pytest

from mmsim.check.books import AGREE, COUNT, LEAK
from mmsim.check.promises import SEALED
from mmsim.check.properties import LOST, MOVED, SIZE
from mmsim.engine.progress import NO_LIVELOCK
from mmsim.kernel.filemap import read_page
from mmsim.kernel.memfd import has_extra_refs
from mmsim.kernel.page_alloc import alloc_page, get_page, put_page
from mmsim.kernel.shmem import write_page
from mmsim.kernel.strategy import mapping_deny_writable
from mmsim.kernel.truncate import unmap_mapping_page
from mmsim.strategies.delayed_unmap import delayed_unmap, one_more, owed_drops, settle, write_pins
from mmsim.strategies.sealing_v2 import sealing_v2
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import EBUSY, EPERM, F_SEAL_WRITE, PAGE_SIZE
from tests.mutants import scenes, test_kept_data, test_paths, test_progress, test_sealing
from tests.mutants.judged import Mutant, each
from tests.mutants.scenes import scene

# ---- delayed_unmap


async def owe_after_looking(_k, _mm, vma, pages):
    mapping = vma.file.inode.mapping
    for page in pages:
        if await write_pins(page).load():
            await mapping.i_mmap_writable.inc()
            await owed_drops(page).update(one_more, mapping)


async def owe_without_counting(_k, _mm, vma, pages):
    """Publishes the debt, but leaves the counter to fall."""
    for page in pages:
        await owed_drops(page).update(one_more, vma.file.inode.mapping)
        if not await write_pins(page).load():
            await settle(page)


async def owe_and_never_look(_k, _mm, vma, pages):
    mapping = vma.file.inode.mapping
    for page in pages:
        await mapping.i_mmap_writable.inc()
        await owed_drops(page).update(one_more, mapping)


async def settle_in_two_steps(page):
    debt = await owed_drops(page).load()
    if debt is not None:
        await owed_drops(page).store(None)
        await debt[0].i_mmap_writable.add(-debt[1])


async def pay_the_page_and_not_the_debt(page):
    """Looks up whom to pay in page->mapping, which a truncation clears."""
    debt = await owed_drops(page).exchange(None)
    mapping = await page.mapping.load()
    if debt is not None and mapping is not None:
        await mapping.i_mmap_writable.add(-debt[1])


async def pin_and_count_late(_k, pin):
    """Counts the writer, but only some other reference."""
    return await pin.page.refcount.inc_not_zero()


async def unpin_without_counting(k, pin):
    await put_page(k, pin.page)


async def unpin_before_paying(k, pin):
    if pin.write and await write_pins(pin.page).dec_and_test():
        await owed_drops(pin.page).exchange(None)
    await put_page(k, pin.page)


# ---- sealing_v2


async def map_outside_the_lock(_k, inode):
    if await inode.seals.load() & F_SEAL_WRITE:
        return -EPERM
    async with inode.mapping.i_mmap_mutex:
        await inode.mapping.i_mmap_writable.inc()
    return 0


async def deny_outside_the_lock(_k, inode):
    async with inode.mapping.i_mmap_mutex:
        return -EBUSY if await inode.mapping.i_mmap_writable.load() > 0 else 0


# ---- a design that copies what is pinned instead of waiting for it


async def copy_pinned(k, mapping, *, unmap, pinned_only):
    page = await mapping.slot(0).load()
    if page is None or (pinned_only and not await has_extra_refs(k, page)):
        return
    async with page.lock:
        if unmap:
            await unmap_mapping_page(k, mapping, 0)
        copy = await alloc_page(k)
        await write_page(k, copy, 0, await read_page(k, page, 0, PAGE_SIZE))
        await copy.mapping.store(mapping)
        await page.mapping.store(None)
        await mapping.slot(0).store(copy)
    await put_page(k, page)


async def copy_then_deny(k, inode):
    await copy_pinned(k, inode.mapping, unmap=True, pinned_only=True)
    return await mapping_deny_writable(k, inode)


async def copy_and_leave_mapped(k, mapping):
    await copy_pinned(k, mapping, unmap=False, pinned_only=False)
    return 0


async def nothing_to_deny(_k, _inode):
    return 0


async def replace_by_zeros(k, mapping):
    page = await mapping.slot(0).load()
    copy = await alloc_page(k)
    await get_page(copy)
    await copy.mapping.store(mapping)
    await mapping.slot(0).store(copy)
    await put_page(k, page)
    await put_page(k, copy)
    return 0


async def seal_then_replace(k, inode):
    await inode.seals.update(test_sealing.both, F_SEAL_WRITE)
    return await replace_by_zeros(k, inode.mapping)


def changed(strategy, **points):
    return attrs.evolve(strategy, **points)


MUTANTS = [
    Mutant(
        "delayed_unmap looks at the pins before it publishes the debt",
        scene(scenes.touched, scenes.leaver),
        COUNT,
        strategy=delayed_unmap,
        mutated=changed(delayed_unmap, before_unmap_writable=owe_after_looking),
    ),
    Mutant(
        "delayed_unmap publishes the debt and never looks at the pins",
        scene(scenes.touched, scenes.leaver),
        COUNT,
        strategy=delayed_unmap,
        mutated=changed(delayed_unmap, before_unmap_writable=owe_and_never_look),
    ),
    Mutant(
        "delayed_unmap does not raise the counter for its debt",
        scene(scenes.touched, scenes.leaver),
        COUNT,
        strategy=delayed_unmap,
        mutated=changed(delayed_unmap, before_unmap_writable=owe_without_counting),
    ),
    Mutant(
        "delayed_unmap pays its debt twice",
        scene(scenes.touched, scenes.leaver),
        COUNT,
        (("strategies.delayed_unmap", "settle", settle_in_two_steps),),
        strategy=delayed_unmap,
    ),
    Mutant(
        "delayed_unmap takes the debt off the page and pays nobody",
        scene(scenes.touched, scenes.leaver),
        COUNT,
        strategy=delayed_unmap,
        mutated=changed(delayed_unmap, unpin=unpin_before_paying),
    ),
    Mutant(
        "delayed_unmap finds its creditor through page->mapping",
        scene(scenes.touched, scenes.leaver, scenes.truncater),
        COUNT,
        (("strategies.delayed_unmap", "settle", pay_the_page_and_not_the_debt),),
        strategy=delayed_unmap,
    ),
    Mutant(
        "delayed_unmap does not count who pins",
        scene(scenes.touched, scenes.leaver, scenes.sealer),
        SEALED,
        strategy=delayed_unmap,
        mutated=changed(delayed_unmap, pin=pin_and_count_late, unpin=unpin_without_counting),
    ),
    Mutant(
        "sealing_v2 looks at the seal before it takes the lock",
        scene(scenes.file, scenes.mapper, scenes.sealer),
        SEALED,
        strategy=sealing_v2,
        mutated=changed(sealing_v2, map_writable=map_outside_the_lock),
    ),
    Mutant(
        "sealing_v2 publishes the seal after it gives the lock back",
        scene(scenes.file, scenes.mapper, scenes.sealer),
        SEALED,
        strategy=sealing_v2,
        mutated=changed(sealing_v2, deny_writable=deny_outside_the_lock),
    ),
    Mutant(
        "a pinned page is copied, and its I/O is lost to the mapped buffer",
        scene(scenes.touched, scenes.reader, scenes.sealer),
        LOST,
        mutated=changed(wait_for_pins, deny_writable=copy_then_deny),
    ),
    Mutant(
        "a page is copied, and a shared read-only mapping keeps the old one",
        scene(scenes.read_only_and_sealable, scenes.loads_then_seals),
        AGREE,
        mutated=changed(wait_for_pins, deny_writable=nothing_to_deny, exclude_pins=copy_and_leave_mapped),
    ),
    Mutant(
        "a page is replaced by zeros after the seal",
        scene(scenes.file, scenes.sealer),
        SEALED,
        mutated=changed(wait_for_pins, deny_writable=seal_then_replace),
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)


EVERY = {SEALED, SIZE, LOST, MOVED, LEAK, COUNT, AGREE} | {
    "no kernel bug",
    "no deadlock",
    NO_LIVELOCK,
    "no lock inversion",
    "no lock is held at the end",
    "no lock is taken unsafely for interrupts",
    "no sleeping in atomic context",
}


@pytest.mark.parametrize("name", sorted(EVERY))
def test_every_property_is_broken_by_some_mutant(name):
    known = (*MUTANTS, *test_paths.MUTANTS, *test_sealing.MUTANTS, *test_kept_data.MOVES, *test_progress.MUTANTS)
    assert name in {mutant.property for mutant in known}
