"""Moving and resizing a mapping.

Follows mm/mremap.c (sys_mremap, mremap_to, move_vma, move_page_tables, vma_to_resize), v3.17, and for several VMAs at
a time (remap_move) v6.18.  The new VMA is linked, and counted,
before the old one goes: in between both count, and there is no moment at which neither does.

A truncation that looks at the new VMA before the page has come and at the old one after it has gone would miss it.
Linux orders the two in the tree, or where it cannot takes i_mmap_mutex (need_rmap_locks); here it is always taken.

Not modelled: MREMAP_DONTUNMAP; an old length of 0, which copies a shared mapping.
"""

from __future__ import annotations

import attrs

from mmsim.kernel.file_table import get_file
from mmsim.kernel.memory import find_vma
from mmsim.kernel.mmap import free_area, page_align, replace_vma, start_of, unmap_range, vma_link_file
from mmsim.kernel.releases import (
    MREMAP_CHECKS_BEFORE_UNMAPPING,
    MREMAP_FLUSHES_LATE,
    MREMAP_LOOKS_BEFORE_OVERLAP,
    MREMAP_LOOKS_FIRST,
)
from mmsim.kernel.tlb import flush_tlb
from mmsim.kernel.types import Kernel, Mm, Vma
from mmsim.syscalls import EFAULT, EINVAL, ENOMEM, MREMAP_FIXED, MREMAP_MAYMOVE, PAGE_SIZE


async def mremap(k: Kernel, start: int, old_length: int, new_length: int, flags: int, to: int) -> int:
    """The address of the mapping, or an errno."""
    old_size, new_size = page_align(old_length), page_align(new_length)
    if flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED) or start % PAGE_SIZE or old_size <= 0 or new_size <= 0:
        return -EINVAL
    fixed = flags & MREMAP_FIXED
    if fixed and not flags & MREMAP_MAYMOVE:
        return -EINVAL
    badly = fixed and (to % PAGE_SIZE or (to < start + old_size and start < to + new_size))
    if badly and not k.release.has(MREMAP_LOOKS_BEFORE_OVERLAP):
        return -EINVAL
    mm = k.mm
    async with mm.mmap_lock:
        vmas = await mm.mmap.load()
        if k.release.has(MREMAP_LOOKS_FIRST):
            vma = find_vma(vmas, start)
            if vma is None:
                return -EFAULT
            if vma.hugetlb and new_size > old_size:  # such a mapping never grows, and before v5.16 does not move
                return -EINVAL
        if badly:
            return -EINVAL
        if fixed:
            return await mremap_to(k, mm, start, old_size, new_size, to)
        if old_size >= new_size:
            await unmap_range(k, mm, start + new_size, start + old_size)
            return start
        vma = find_vma(vmas, start)
        if vma is None:
            return -EFAULT
        if vma.hugetlb:
            return -EINVAL
        if start + old_size > vma.end:
            return -EFAULT
        above = min((other.start for other in vmas if other.start >= vma.end), default=None)
        if start + old_size == vma.end and (above is None or start + new_size <= above):
            grown = attrs.evolve(vma, end=start + new_size)
            await mm.mmap.store(tuple(grown if other is vma else other for other in vmas))
            await replace_vma(mm, vma, grown)
            return start
        if not flags & MREMAP_MAYMOVE:
            return -ENOMEM
        return await move_vma(k, mm, vma, start, old_size, new_size, free_area(vmas, new_size))


async def mremap_to(k: Kernel, mm: Mm, start: int, old_size: int, new_size: int, to: int) -> int:
    """Move to a place that is told, whatever is mapped there: the new address, or an errno."""
    kept = min(old_size, new_size)
    if k.release.has(MREMAP_CHECKS_BEFORE_UNMAPPING):
        vmas = await mm.mmap.load()
        vma = find_vma(vmas, start)
        if vma is None:
            return -EFAULT
        if old_size == new_size:
            return await remap_move(k, mm, vmas, start, start + kept, to)
        if start + kept > vma.end:
            return -EFAULT
    await unmap_range(k, mm, to, to + new_size)
    await unmap_range(k, mm, start + kept, start + old_size)
    vma = find_vma(await mm.mmap.load(), start)
    if vma is None:
        return -EFAULT
    if vma.hugetlb and not k.release.has(MREMAP_LOOKS_FIRST):
        return -EINVAL
    if start + kept > vma.end:
        return -EFAULT
    return await move_vma(k, mm, vma, start, kept, new_size, to)


async def remap_move(k: Kernel, mm: Mm, vmas: tuple[Vma, ...], start: int, end: int, to: int) -> int:
    """Move every VMA of a range.  Where the range has a gap, what is mapped at its target stays."""
    for vma in vmas:
        low, high = max(start, vma.start), min(end, vma.end)
        if low < high:
            target = to + low - start
            await unmap_range(k, mm, target, target + high - low)
            await move_vma(k, mm, vma, low, high - low, high - low, target)
    return to


async def move_vma(k: Kernel, mm: Mm, vma: Vma, start: int, old_size: int, new_size: int, to: int) -> int:
    """copy_vma(), move_page_tables(), do_munmap()."""
    vmas = await mm.mmap.load()
    copy = attrs.evolve(vma, start=to, end=to + new_size, pgoff=vma.index(start))
    await mm.mmap.store(tuple(sorted((*vmas, copy), key=start_of)))
    await get_file(vma.file)
    await vma_link_file(k, mm, copy)
    await move_page_tables(k, mm, vma, start, to, old_size)
    await unmap_range(k, mm, start, start + old_size)
    return to


async def move_page_tables(k: Kernel, mm: Mm, vma: Vma, start: int, to: int, size: int) -> None:
    """Move the PTEs with their references, and make every CPU forget the old address."""
    moved: list[int] = []
    late = k.release.has(MREMAP_FLUSHES_LATE)
    async with vma.file.inode.mapping.i_mmap_mutex, mm.page_table_lock:
        for at in range(0, size, PAGE_SIZE):
            pte = await mm.pte(start + at).exchange(None)
            if pte is not None:
                await mm.pte(to + at).store(pte)
                moved.append(start + at)
        # Before the locks are dropped: whoever takes the page away from the new address flushes that address only.
        await flush_tlb(k, mm, () if late else tuple(moved))
    await flush_tlb(k, mm, tuple(moved) if late else ())
