"""Mapping and unmapping files.

Follows mm/mmap.c (do_mmap_pgoff, mmap_region, do_munmap, __split_vma, unlink_file_vma, exit_mmap), v3.17, and for the
narrower meaning of the counter v6.7.

The order of unmapping is the kernel's: (1) the VMA leaves the mm; (2) the PTEs are cleared, and where a dirty shared
one was, the TLBs are flushed under the page-table lock; (3) unlink_file_vma() takes the VMA out of i_mmap and lowers
i_mmap_writable; (4) what is left in TLBs is flushed; (5) the references to pages are dropped; (6) those to files are.
(2) comes before (3) because whoever finds the counter at 0 concludes that no CPU can store any more; (5) comes after
(4) because a page must not be freed while a TLB can still reach it; (6) is last because a file is open for writing as
long as somebody can store to it.

Not modelled: merging of VMAs, MAP_FIXED, mremap and mprotect, which come with the scenarios about them; the downgrade
of mmap_lock in munmap (v4.20 and later), which lets faults elsewhere in the mm run earlier.
"""

from __future__ import annotations

from itertools import pairwise

import attrs

from mmsim.kernel.file_table import fput, get_file
from mmsim.kernel.memory_zap import zap_pte_range
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.releases import SEALED_MAPS_READ_ONLY
from mmsim.kernel.strategy import counted
from mmsim.kernel.tlb import flush_tlb
from mmsim.kernel.types import (
    VM_MAYWRITE,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
    File,
    Kernel,
    Mm,
    Vma,
)
from mmsim.syscalls import (
    EACCES,
    EINVAL,
    EPERM,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
)

MMAP_BASE = 0x10000

Linked = frozenset[tuple[Mm, Vma]]


def linked(tree: Linked, mm: Mm, vma: Vma) -> Linked:
    """vma_interval_tree_insert()."""
    return tree | {(mm, vma)}


def unlinked(tree: Linked, mm: Mm, vma: Vma) -> Linked:
    """vma_interval_tree_remove()."""
    return tree - {(mm, vma)}


def page_align(length: int) -> int:
    """PAGE_ALIGN()."""
    return -(-length // PAGE_SIZE) * PAGE_SIZE


async def vma_link_file(k: Kernel, mm: Mm, vma: Vma) -> None:
    """__vma_link_file().  Whoever owns a counted mapping, even a temporary one, may raise the counter unasked."""
    mapping = vma.file.inode.mapping
    async with mapping.i_mmap_mutex:
        await mapping.i_mmap.update(linked, mm, vma)
        if counted(k, vma.flags):
            await mapping.i_mmap_writable.inc()


async def unlink_file_vma(k: Kernel, mm: Mm, vma: Vma) -> None:
    """unlink_file_vma(): the mapping is gone.

    The counter falls after the mutex is dropped, so that a strategy that guards it otherwise has one place for it.
    """
    mapping = vma.file.inode.mapping
    async with mapping.i_mmap_mutex:
        await mapping.i_mmap.update(unlinked, mm, vma)
    if counted(k, vma.flags):
        await k.strategy.unmap_writable(k, mapping)


def free_area(vmas: tuple[Vma, ...], length: int) -> int:
    """get_unmapped_area(): the lowest gap of `length` bytes."""
    start = MMAP_BASE
    for vma in vmas:
        if vma.start - start >= length:
            break
        start = vma.end
    return start


async def do_mmap(k: Kernel, file: File, prot: int, flags: int, length: int, offset: int) -> int:
    """Map a file: the address, or an errno."""
    if flags not in (MAP_SHARED, MAP_PRIVATE) or length <= 0 or offset % PAGE_SIZE or offset < 0:
        return -EINVAL
    vm_flags = VM_MAYWRITE
    vm_flags |= (VM_READ if prot & PROT_READ else 0) | (VM_WRITE if prot & PROT_WRITE else 0)
    vm_flags |= VM_SHARED if flags == MAP_SHARED else 0
    if (vm_flags & VM_SHARED and prot & PROT_WRITE and not file.writable) or not file.readable:
        return -EACCES
    if not file.writable and vm_flags & VM_SHARED:
        vm_flags &= ~(VM_SHARED | VM_MAYWRITE)  # nobody can ever store through it, so it counts as no writer
    mm, inode = k.mm, file.inode
    async with mm.mmap_lock:
        if vm_flags & VM_SHARED and k.release.has(SEALED_MAPS_READ_ONLY):
            # seal_check_write(), in ->mmap before the counter is asked: a sealed file may still be mapped to be read
            seals = await inode.seals.load()
            if seals & F_SEAL_WRITE:
                if vm_flags & VM_WRITE:
                    return -EPERM
                vm_flags &= ~VM_MAYWRITE
        is_counted = counted(k, vm_flags)
        if is_counted:
            error = await k.strategy.map_writable(k, inode)
            if error:
                return int(error)
        vmas = await mm.mmap.load()
        start = free_area(vmas, page_align(length))
        await get_file(file)
        vma = Vma(start, start + page_align(length), vm_flags, file, offset // PAGE_SIZE)
        await mm.mmap.store(tuple(sorted((*vmas, vma), key=_start)))
        await vma_link_file(k, mm, vma)
        if is_counted:
            await k.strategy.unmap_writable(k, inode.mapping)  # the temporary one that map_writable took
    return start


def _start(vma: Vma) -> int:
    return vma.start


async def do_munmap(k: Kernel, start: int, length: int) -> int:
    """Unmap all that is mapped in a range: 0 or -EINVAL."""
    end = start + page_align(length)
    if start % PAGE_SIZE or length <= 0:
        return -EINVAL
    mm = k.mm
    async with mm.mmap_lock:
        vmas = await mm.mmap.load()
        keep: list[Vma] = []
        gone: list[Vma] = []
        for vma in vmas:
            if vma.end <= start or vma.start >= end:
                keep.append(vma)
                continue
            pieces = await split_vma(k, mm, vma, max(start, vma.start), min(end, vma.end))
            for piece in pieces:
                (gone if start <= piece.start < end else keep).append(piece)
        if gone:
            await mm.mmap.store(tuple(keep))
            await unmap_region(k, mm, tuple(gone))
    return 0


async def split_vma(k: Kernel, mm: Mm, vma: Vma, start: int, end: int) -> tuple[Vma, ...]:
    """__split_vma() at both ends of the range: the pieces.  Every new piece counts before the old whole is gone."""
    pieces = cut(vma, start, end)
    if len(pieces) > 1:
        for piece in pieces:
            await get_file(vma.file)
            await vma_link_file(k, mm, piece)
        await unlink_file_vma(k, mm, vma)
        await fput(vma.file)
    return pieces


def cut(vma: Vma, start: int, end: int) -> tuple[Vma, ...]:
    """The pieces of a VMA before, in and after a range."""
    cuts = sorted({vma.start, vma.end, *(at for at in (start, end) if vma.start < at < vma.end)})
    return tuple(attrs.evolve(vma, start=low, end=high, pgoff=vma.index(low)) for low, high in pairwise(cuts))


async def unmap_region(k: Kernel, mm: Mm, vmas: tuple[Vma, ...]) -> None:
    """unmap_vmas(), free_pgtables(), tlb_finish_mmu(): see the order at the top of this file."""
    gathered = []
    for vma in vmas:
        gathered.append(await zap_pte_range(k, mm, vma))
    for vma, (pages, _) in zip(vmas, gathered, strict=True):
        if counted(k, vma.flags):
            await k.strategy.before_unmap_writable(k, mm, vma, pages)
        await unlink_file_vma(k, mm, vma)
    for _, stale in gathered:
        await flush_tlb(k, mm, stale)
    for pages, _ in gathered:
        for page in pages:
            await put_page(k, page)
    # Last: as long as a page can be stored to, the file counts as open for writing.
    for vma in vmas:
        await fput(vma.file)


async def exit_mmap(k: Kernel) -> None:
    """Unmap everything.  Nobody else uses the mm any more, so mmap_lock is not taken."""
    vmas = await k.mm.mmap.exchange(())
    await unmap_region(k, k.mm, vmas)
