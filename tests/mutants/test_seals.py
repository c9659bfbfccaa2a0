"""Mistakes in the younger seals, in what changes mappings, in fork() and udmabuf; each of which the checker must find."""

from __future__ import annotations

import functools

import attrs

from mmsim import catalogue
from mmsim.check.books import AGREE, COUNT, LEAK
from mmsim.check.promises import SEALED
from mmsim.check.properties import LOST, SIZE
from mmsim.kernel.gup import gup_fast_pte
from mmsim.kernel.mmap import cut, start_of, unlink_file_vma, unmap_range, vma_link_file
from mmsim.kernel.mprotect import protected
from mmsim.kernel.mremap import move_page_tables
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.shmem import shmem_getpage
from mmsim.kernel.truncate import truncate_range
from mmsim.kernel.types import VM_WRITE
from mmsim.kernel.udmabuf import check_memfd_seals, pin_and_export
from mmsim.strategies.sealing_v2 import sealing_v2
from mmsim.syscalls import (
    EPERM,
    F_SEAL_EXEC,
    F_SEAL_GROW,
    F_SEAL_WRITE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MAP_PRIVATE,
    MAP_SHARED,
    MREMAP_MAYMOVE,
    PAGE_SIZE,
    PROT_READ,
)
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each
from tests.mutants.scenes import FD, WINDOW, scene

BUG = "no kernel bug"
PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE


def scenario(name):
    return catalogue.find(name).scenario


async def nothing(*_args, **_kwargs):
    return None


# ---- seals


async def mmap_that_leaves_maywrite(_k, inode, vm_flags):
    return -EPERM if vm_flags & VM_WRITE and await inode.seals.load() else vm_flags


async def mmap_that_asks_nobody(_k, _inode, vm_flags):
    return vm_flags


async def write_begin_of_v3_17(inode, end):
    seals = await inode.seals.load()
    return -EPERM if seals & F_SEAL_WRITE or (seals & F_SEAL_GROW and end > await inode.i_size.load()) else 0


async def chmod_that_asks_before_it_locks(inode, mode):
    if await inode.seals.load() & F_SEAL_EXEC:
        return -EPERM
    async with inode.i_mutex:
        await inode.i_mode.store(mode)
    return 0


async def fallocate_that_asks_before_it_locks(k, inode, mode, offset, length):
    if await inode.seals.load():
        return -EPERM
    async with inode.i_mutex:
        if mode & FALLOC_FL_PUNCH_HOLE:
            await truncate_range(k, inode.mapping, offset, offset + length)
        else:
            await inode.i_size.store(offset + length)
    return 0


async def fallocate_without_put(k, inode, _mode, _offset, _length):
    await shmem_getpage(k, inode, 0)
    return 0


async def write_that_asks_once(k, inode, position, data):
    if await inode.seals.load() & F_SEAL_GROW:
        return -EPERM
    async with inode.i_mutex:
        page, _ = await shmem_getpage(k, inode, 1)
        await inode.i_size.store(position + len(data))
        await put_page(k, page)
    return len(data)


# ---- mappings


async def split_that_unlinks_first(k, mm, vma, start, end):
    pieces = cut(vma, start, end)
    if len(pieces) > 1:
        await unlink_file_vma(k, mm, vma)
        for piece in pieces:
            await vma_link_file(k, mm, piece)
    return pieces


async def split_that_keeps_the_whole(k, mm, vma, start, end):
    pieces = cut(vma, start, end)
    for piece in pieces[1:]:
        await vma_link_file(k, mm, piece)
    return pieces


def copied(vma, start, to, size):
    return attrs.evolve(vma, start=to, end=to + size, pgoff=vma.index(start))


async def move_that_unlinks_first(k, mm, vma, start, old_size, new_size, to):
    vmas = await mm.mmap.load()
    copy = copied(vma, start, to, new_size)
    await unlink_file_vma(k, mm, vma)
    await vma_link_file(k, mm, copy)
    await move_page_tables(k, mm, vma, start, copy.start, old_size)
    await mm.mmap.store(tuple(sorted((*(other for other in vmas if other is not vma), copy), key=start_of)))
    return copy.start


async def move_that_keeps_both(k, mm, vma, start, old_size, new_size, to):
    vmas = await mm.mmap.load()
    copy = copied(vma, start, to, new_size)
    await vma_link_file(k, mm, copy)
    await move_page_tables(k, mm, vma, start, copy.start, old_size)
    await mm.mmap.store(tuple(sorted((*(other for other in vmas if other is not vma), copy), key=start_of)))
    return copy.start


async def move_that_forgets_the_pages(k, mm, vma, start, old_size, new_size, to):
    vmas = await mm.mmap.load()
    copy = copied(vma, start, to, new_size)
    await vma_link_file(k, mm, copy)
    for at in range(0, old_size, PAGE_SIZE):
        await mm.pte(start + at).store(None)
    await unmap_range(k, mm, start, start + old_size)
    await mm.mmap.store(tuple(sorted((*(other for other in vmas if other is not vma), copy), key=start_of)))
    return copy.start


async def change_without_flush(_k, mm, vma):
    async with mm.page_table_lock:
        for address in vma.pages():
            await mm.pte(address).fetch_update(protected, bool(vma.flags & VM_WRITE), False)


# ---- fork, gup, udmabuf


def nobody_pins(_k, _caller):
    return False


async def gup_fast_without_the_sequence_count(k, address, count, caller, *, write):
    pins = ()
    for number in range(count):
        pin = await gup_fast_pte(k, k.mm, address + number * PAGE_SIZE, caller, write=write)
        if pin is None:
            break
        pins = (*pins, pin)
    return pins


async def udmabuf_without_lock(k, memfd, offset, length):
    return await check_memfd_seals(k, memfd.inode) or await pin_and_export(k, memfd.inode, offset, length)


async def export_without_reference(k, inode, offset, length):
    buffer = await pin_and_export(k, inode, offset, length)
    await put_page(k, await buffer.inode.mapping.slot(0).load())
    return buffer


# ---- scenes of their own


async def puncher(sys, _):
    return await sys.fallocate(FD, PUNCH, 0, PAGE_SIZE)


async def allocator(sys, _):
    return await sys.fallocate(FD, 0, 0, 2 * PAGE_SIZE)


async def mover(sys, _):
    return await sys.mremap(WINDOW, PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE)


async def moves_and_leaves(sys, _):
    moved = await sys.mremap(WINDOW, PAGE_SIZE, 2 * PAGE_SIZE, MREMAP_MAYMOVE)
    await sys.munmap(moved, 2 * PAGE_SIZE)


async def moves_leaves_and_seals(sys, _):
    await moves_and_leaves(sys, _)
    return await sys.add_seals(FD, F_SEAL_WRITE)


async def protector(sys, _):
    await sys.mprotect(WINDOW, PAGE_SIZE, PROT_READ)
    return await sys.load(WINDOW, 4), await sys.load(WINDOW, 4)


async def splitter(sys, _):
    return await sys.mprotect(WINDOW, PAGE_SIZE, PROT_READ)


async def touched_and_blocked(sys):
    await scenes.touched(sys)
    await sys.mmap(FD, PROT_READ, MAP_PRIVATE)


async def two_pages_mapped(sys):
    await scenes.file(sys)
    await sys.mmap(FD, scenes.RW, MAP_SHARED, 2 * PAGE_SIZE)


def nothing_is_mapped_any_more(moves_leaves_and_seals):
    return moves_leaves_and_seals == 0


def nobody_stores_through_a_read_only_mapping(protector):
    return protector[0] == protector[1]


at_v5_1 = functools.partial(Mutant, release="v5.1")
at_v6_13 = functools.partial(Mutant, release="v6.13")
at_v7_0 = functools.partial(Mutant, release="v7.0")

MUTANTS = [
    at_v5_1(
        "mmap leaves a read-only mapping VM_MAYWRITE",
        scenario("future_write_through_mprotect"),
        "not_writable_once_it_is_sealed",
        (("kernel.mmap", "memfd_check_seals_mmap", mmap_that_leaves_maywrite),),
    ),
    at_v5_1(
        "mmap does not look at F_SEAL_FUTURE_WRITE",
        scenario("future_write_existing_mapping"),
        "no_new_writer",
        (("kernel.mmap", "memfd_check_seals_mmap", mmap_that_asks_nobody),),
    ),
    at_v5_1(
        "write does not look at F_SEAL_FUTURE_WRITE",
        scenario("future_write_existing_mapping"),
        "no_new_writer",
        (("kernel.shmem", "shmem_write_begin", write_begin_of_v3_17),),
    ),
    at_v7_0(
        "fchmod looks at F_SEAL_EXEC before it locks",
        scenario("seal_exec_races_fchmod"),
        "what_is_executable_is_sealed_against_writing",
        (("kernel.read_write", "shmem_chmod", chmod_that_asks_before_it_locks),),
    ),
    Mutant(
        "punching a hole looks at the seals before it locks",
        scenario("punch_hole_races_seal"),
        SEALED,
        (("kernel.read_write", "shmem_fallocate", fallocate_that_asks_before_it_locks),),
    ),
    Mutant(
        "fallocate looks at F_SEAL_GROW before it locks",
        scene(scenes.file, allocator, scenes.grow_sealer),
        SIZE,
        (("kernel.read_write", "shmem_fallocate", fallocate_that_asks_before_it_locks),),
    ),
    Mutant(
        "write looks at F_SEAL_GROW before it locks",
        scenario("grow_seal_races_write"),
        SIZE,
        (("kernel.read_write", "generic_perform_write", write_that_asks_once),),
    ),
    Mutant(
        "fallocate keeps the references",
        scene(scenes.file, allocator),
        LEAK,
        (("kernel.read_write", "shmem_fallocate", fallocate_without_put),),
    ),
    Mutant(
        "punching a hole leaves the page mapped",
        scene(scenes.touched, puncher),
        AGREE,
        (("kernel.truncate", "unmap_mapping_page", nothing),),
    ),
    Mutant(
        "punching a hole does not flush",
        scene(scenes.touched, scenes.loader, puncher),
        BUG,
        (("kernel.truncate", "flush_tlb", nothing),),
    ),
    Mutant(
        "a split unlinks the whole before it links the pieces",
        scenario("partial_unmap_keeps_count"),
        SEALED,
        (("kernel.mmap", "split_vma", split_that_unlinks_first),),
    ),
    Mutant(
        "a split keeps the whole linked",
        scene(two_pages_mapped, splitter),
        COUNT,
        (("kernel.mprotect", "split_vma", split_that_keeps_the_whole),),
    ),
    Mutant(
        "mremap unlinks the old mapping before it links the new one",
        scenario("mremap_races_seal"),
        SEALED,
        (("kernel.mremap", "move_vma", move_that_unlinks_first),),
    ),
    Mutant(
        "mremap leaves the old mapping linked",
        scene(touched_and_blocked, moves_leaves_and_seals, always=(nothing_is_mapped_any_more,)),
        "nothing_is_mapped_any_more",
        (("kernel.mremap", "move_vma", move_that_keeps_both),),
    ),
    Mutant(
        "mremap forgets the pages it had mapped",
        scene(touched_and_blocked, mover),
        LEAK,
        (("kernel.mremap", "move_vma", move_that_forgets_the_pages),),
    ),
    Mutant(
        "mremap does not flush",
        scene(touched_and_blocked, moves_and_leaves, scenes.writer_twice, scenes.sealer),
        SEALED,
        (("kernel.mremap", "flush_tlb", nothing),),
    ),
    Mutant(
        "mprotect does not flush",
        scene(scenes.touched, protector, scenes.writer_twice, always=(nobody_stores_through_a_read_only_mapping,)),
        "nobody_stores_through_a_read_only_mapping",
        (("kernel.mprotect", "change_protection", change_without_flush),),
    ),
    Mutant(
        "munmap before v3.15 flushes late, on a kernel that relies on the counter",
        scenario("store_through_stale_tlb"),
        SEALED,
        (("kernel.memory_zap", "flush_tlb", nothing),),
        strategy=sealing_v2,
    ),
    Mutant(
        "fork does not see that a private page is pinned",
        scenario("fork_with_direct_io"),
        LOST,
        (("kernel.gup", "foll_pin", nobody_pins),),
        release="v6.5",
    ),
    Mutant(
        "get_user_pages_fast does not look whether fork() ran",
        scenario("gup_fast_races_fork"),
        LOST,
        (("kernel.gup", "lockless_pages_from_mm", gup_fast_without_the_sequence_count),),
        release="v5.11",
    ),
    at_v6_13(
        "udmabuf looks at the seals without the lock",
        scenario("udmabuf_check_then_pin"),
        SEALED,
        (("kernel.entry.seals", "udmabuf_create", udmabuf_without_lock),),
    ),
    at_v6_13(
        "udmabuf takes no reference",
        scenario("udmabuf_check_then_pin"),
        SEALED,
        (("kernel.udmabuf", "pin_and_export", export_without_reference),),
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
