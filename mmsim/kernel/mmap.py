"""Mapping and unmapping files.

Follows mm/mmap.c (do_mmap_pgoff, mmap_region, do_munmap, __split_vma, unlink_file_vma, exit_mmap), v3.17, and for the
narrower meaning of the counter v6.7; fs/hugetlbfs/inode.c (hugetlbfs_file_mmap), v6.12.

The order of unmapping is the kernel's: (1) the VMA leaves the mm; (2) the PTEs are cleared, and where a dirty shared
one was, the TLBs are flushed under the page-table lock; (3) unlink_file_vma() takes the VMA out of i_mmap and lowers
i_mmap_writable; (4) what is left in TLBs is flushed; (5) the references to pages are dropped; (6) those to files are.
(2) comes before (3) because whoever finds the counter at 0 concludes that no CPU can store any more; (5) comes after
(4) because a page must not be freed while a TLB can still reach it; (6) is last because a file is open for writing as
long as somebody can store to it.

Before v3.15 (2) flushed nothing and all of it was left to (4).

Where the seals are looked at in ->mmap (before v6.12.93), they are not where a new mapping only makes its neighbour
longer.  That is asked of MAP_FIXED alone: which mappings meet otherwise is the machine's own affair.

Not modelled: merging of VMAs, because it lowers the counter by what the merged one counted while its neighbour, which
is of the same file and flags, counts on, so that the counter is 0 with merging exactly when it is without; the
downgrade of mmap_lock in munmap (v4.20 and later), which lets faults elsewhere in the mm run earlier.
"""

from __future__ import annotations

from itertools import pairwise

import attrs

from mmsim.errors import UserError
from mmsim.kernel.file_table import fput, get_file
from mmsim.kernel.memory_zap import zap_pte_range
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.paths import learnable
from mmsim.kernel.releases import (
    COUNTS_BEFORE_UNMAPPING,
    COUNTS_MAYWRITE,
    FUTURE_WRITE_LETS_FORK_SHARE,
    HAS_FUTURE_WRITE,
    HUGETLB_MAPS_FUTURE_WRITE,
    REFUSED_BEFORE_UNMAPPING,
    SEALED_MAPS_READ_ONLY,
    UDMABUF_MAPS_PFNS,
)
from mmsim.kernel.strategy import counted
from mmsim.kernel.tlb import flush_tlb
from mmsim.kernel.types import (
    VM_DENYWRITE,
    VM_MAYWRITE,
    VM_PFNMAP,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
    File,
    Inode,
    Kernel,
    Mm,
    Vma,
)
from mmsim.kernel.write_access import allow_write_access
from mmsim.syscalls import (
    EACCES,
    EINVAL,
    ENODEV,
    EPERM,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_WRITE,
    MAP_FIXED,
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
        if vma.flags & VM_DENYWRITE:
            await mapping.host.i_writecount.dec()  # execve() denies writers while it maps, so this cannot fail
        if counted(k, vma.flags):
            await mapping.i_mmap_writable.inc()


async def unlink_file_vma(k: Kernel, mm: Mm, vma: Vma) -> None:
    """unlink_file_vma(): the mapping is gone.

    The counter falls after the mutex is dropped, so that a strategy that guards it otherwise has one place for it.
    """
    mapping = vma.file.inode.mapping
    async with mapping.i_mmap_mutex:
        await mapping.i_mmap.update(unlinked, mm, vma)
        if vma.flags & VM_DENYWRITE:
            await allow_write_access(mapping.host)
    if counted(k, vma.flags):
        await k.strategy.unmap_writable(k, mapping)


async def replace_vma(mm: Mm, old: Vma, new: Vma) -> None:
    """A linked VMA gets other flags or another end: what it counts for stays as it is."""
    mapping = new.file.inode.mapping
    async with mapping.i_mmap_mutex:
        await mapping.i_mmap.update(exchanged, mm, old, new)


def exchanged(tree: Linked, mm: Mm, old: Vma, new: Vma) -> Linked:
    """The tree with one VMA in another's place."""
    return tree - {(mm, old)} | {(mm, new)}


def free_area(vmas: tuple[Vma, ...], length: int) -> int:
    """get_unmapped_area(): the lowest gap of `length` bytes."""
    start = MMAP_BASE
    for vma in vmas:
        if vma.start - start >= length:
            break
        start = vma.end
    return start


def vm_access_flags(prot: int) -> int:
    """calc_vm_prot_bits()."""
    return (VM_READ if prot & PROT_READ else 0) | (VM_WRITE if prot & PROT_WRITE else 0)


async def memfd_check_seals_mmap(k: Kernel, inode: Inode, vm_flags: int) -> int:
    """The flags that the seals leave to a new mapping, or -EPERM.  In ->mmap of shmem and hugetlbfs before v6.12.93.

    Reads the seals without a lock: a seal that comes later meets the mapping in i_mmap_writable.  A release with no
    seal to look for here does not read them at all.
    """
    blind = inode.sb.kind == "hugetlbfs" and k.release.has(HUGETLB_MAPS_FUTURE_WRITE)
    forbidden = F_SEAL_FUTURE_WRITE if k.release.has(HAS_FUTURE_WRITE) and not blind else 0
    forbidden |= F_SEAL_WRITE if k.release.has(COUNTS_MAYWRITE) else 0
    if not forbidden or not await inode.seals.load() & forbidden:
        return vm_flags
    if not vm_flags & VM_SHARED:
        return vm_flags & ~VM_MAYWRITE if k.release.has(FUTURE_WRITE_LETS_FORK_SHARE) else vm_flags
    # A sealed file may still be mapped to be read, but mprotect() must not make it writable then.
    return -EPERM if vm_flags & VM_WRITE else vm_flags & ~VM_MAYWRITE


async def do_mmap(k: Kernel, file: File, prot: int, flags: int, length: int, offset: int, address: int) -> int:
    """Map a file: the address, or an errno."""
    if flags & ~MAP_FIXED not in (MAP_SHARED, MAP_PRIVATE) or length <= 0 or offset % PAGE_SIZE or offset < 0:
        return -EINVAL
    if flags & MAP_FIXED and (address % PAGE_SIZE or address <= 0):
        return -EINVAL
    shared = bool(flags & MAP_SHARED)
    if (shared and prot & PROT_WRITE and not file.writable) or not file.readable:
        return -EACCES
    if file.f_op and not file.f_op.maps_privately:
        return -ENODEV
    if file.f_op and shared:
        msg = "a shared mapping of /dev/zero is not modelled: map a memfd, which is the same without a name"
        raise UserError(msg)
    vm_flags = VM_MAYWRITE | vm_access_flags(prot) | (VM_SHARED if shared else 0)
    if shared and not file.writable:
        vm_flags &= ~(VM_SHARED | VM_MAYWRITE)  # nobody can ever store through it, so it counts as no writer
    mm, inode, size = k.mm, file.inode, page_align(length)
    if inode.sb.kind == "dma-buf":
        if not vm_flags & VM_SHARED:
            return -EINVAL
        vm_flags |= VM_PFNMAP if k.release.has(UDMABUF_MAPS_PFNS) else 0
    async with mm.mmap_lock:
        if k.release.has(REFUSED_BEFORE_UNMAPPING):
            vm_flags = await memfd_check_seals_mmap(k, inode, vm_flags)
            if vm_flags < 0:
                return vm_flags
        return await mmap_region(k, mm, file, vm_flags, size, offset // PAGE_SIZE, address if flags & MAP_FIXED else 0)


async def mmap_region(k: Kernel, mm: Mm, file: File, vm_flags: int, size: int, pgoff: int, address: int) -> int:
    """Ask the counter and the file system, in the order of the release, and link the mapping: its address or errno."""
    inode, release = file.inode, k.release
    asked = release.has(REFUSED_BEFORE_UNMAPPING)
    unmaps_first = not release.has(COUNTS_BEFORE_UNMAPPING)
    if address and unmaps_first:
        await unmap_range(k, mm, address, address + size)
    elsewhere = not unmaps_first and not vm_flags & VM_WRITE  # in do_mmap() itself, before anything can be merged
    if not asked and release.has(SEALED_MAPS_READ_ONLY) and (unmaps_first or elsewhere):
        # Before the counter: a mapping that can never be written is not counted and need not ask it.
        if elsewhere:
            vm_flags = await memfd_check_seals_mmap(k, inode, vm_flags)
        else:
            vm_flags = await call_mmap(k, mm, file, vm_flags, size, pgoff, address)
        if vm_flags < 0:
            return vm_flags
        asked = True
    is_counted = counted(k, vm_flags)
    if is_counted:
        error = await k.strategy.map_writable(k, inode)
        if error:
            return int(error)
    if address and not unmaps_first:
        await unmap_range(k, mm, address, address + size)
    if not asked:
        vm_flags = await call_mmap(k, mm, file, vm_flags, size, pgoff, address)
    if vm_flags >= 0:
        if inode.sb.kind == "hugetlbfs":
            await hugetlbfs_file_mmap(inode, vm_flags, pgoff * PAGE_SIZE + size)
        vmas = await mm.mmap.load()
        start = address or free_area(vmas, size)
        await get_file(file)
        vma = Vma(start, start + size, vm_flags, file, pgoff)
        await mm.mmap.store(tuple(sorted((*vmas, vma), key=start_of)))
        await vma_link_file(k, mm, vma)
    else:
        start = vm_flags
    if is_counted:
        await k.strategy.unmap_writable(k, inode.mapping)  # the temporary one that map_writable took
    return start


async def hugetlbfs_file_mmap(inode: Inode, vm_flags: int, end: int) -> None:
    """A mapping that may be stored to makes a file of huge pages as long as it is, F_SEAL_GROW or not."""
    async with inode.i_mutex:
        if vm_flags & VM_WRITE and await inode.i_size.load() < end:
            await inode.i_size.store(end)


async def call_mmap(k: Kernel, mm: Mm, file: File, vm_flags: int, size: int, pgoff: int, address: int) -> int:
    """The file's ->mmap, which looks at the seals; not called where the mapping is merged: the flags, or -EPERM."""
    if address and vm_flags & VM_SHARED:
        vmas = await mm.mmap.load()
        if any(can_vma_merge(vma, file, vm_flags, address, size, pgoff) for vma in vmas):
            return vm_flags
    return await memfd_check_seals_mmap(k, file.inode, vm_flags)


def can_vma_merge(vma: Vma, file: File, vm_flags: int, address: int, size: int, pgoff: int) -> bool:
    """Whether a new shared mapping would only make this one longer, upon which its file's ->mmap is not called.

    One of huge pages has VM_DONTEXPAND, with which nothing is merged.
    """
    if vma.file is not file or vma.flags != vm_flags or not vma.shared or file.inode.sb.kind == "hugetlbfs":
        return False
    before = vma.end == address and vma.index(address) == pgoff
    return before or (vma.start == address + size and vma.pgoff == pgoff + size // PAGE_SIZE)


def start_of(vma: Vma) -> int:
    """An mm keeps its VMAs by address."""
    return vma.start


async def do_munmap(k: Kernel, start: int, length: int) -> int:
    """Unmap all that is mapped in a range: 0 or -EINVAL."""
    if start % PAGE_SIZE or length <= 0:
        return -EINVAL
    async with k.mm.mmap_lock:
        await unmap_range(k, k.mm, start, start + page_align(length))
    return 0


async def unmap_range(k: Kernel, mm: Mm, start: int, end: int) -> None:
    """do_munmap() under mmap_lock."""
    if start == end:
        return  # or a VMA would be split, and counted twice, around nothing
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


async def split_vma(k: Kernel, mm: Mm, vma: Vma, start: int, end: int) -> tuple[Vma, ...]:
    """__split_vma() at both ends of the range: the pieces.  Every new piece counts before the old whole is gone."""
    pieces = cut(vma, start, end)
    if len(pieces) > 1:
        for piece in pieces:
            await get_file(vma.file)
            await vma_link_file(k, mm, piece)
        await unlink_file_vma(k, mm, vma)
        await fput(k, vma.file)
    return pieces


def cut(vma: Vma, start: int, end: int) -> tuple[Vma, ...]:
    """The pieces of a VMA before, in and after a range."""
    cuts = sorted({vma.start, vma.end, *(at for at in (start, end) if vma.start < at < vma.end)})
    return tuple(attrs.evolve(vma, start=low, end=high, pgoff=vma.index(low)) for low, high in pairwise(cuts))


@learnable
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
        await fput(k, vma.file)


async def exit_mmap(k: Kernel) -> None:
    """Unmap everything.  Nobody else uses the mm any more, so mmap_lock is not taken."""
    vmas = await k.mm.mmap.exchange(())
    await unmap_region(k, k.mm, vmas)
