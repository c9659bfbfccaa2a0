"""madvise(MADV_DONTNEED): take the pages out of a page table and leave the mapping.

Follows mm/madvise.c (sys_madvise, madvise_dontneed), mm/memory.c (zap_page_range) and mm/mmu_gather.c, v3.17.  It holds
mmap_lock for reading only, so faults and get_user_pages() of other threads go on meanwhile.

Not modelled: any other advice (-EINVAL), because none but this and MADV_REMOVE has to do with a page's content.
"""

from __future__ import annotations

from mmsim.kernel.memory_zap import zap_pte_range
from mmsim.kernel.mmap import cut, page_align
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.releases import MADVISE_REFUSES_HUGETLB
from mmsim.kernel.strategy import counted
from mmsim.kernel.tlb import flush_tlb
from mmsim.kernel.types import Kernel, Mm, Vma
from mmsim.syscalls import EINVAL, ENOMEM, MADV_DONTNEED, PAGE_SIZE


async def do_madvise(k: Kernel, start: int, length: int, advice: int) -> int:
    """0, or -EINVAL, or -ENOMEM where part of the range is not mapped; what is mapped is zapped all the same."""
    if advice != MADV_DONTNEED or start % PAGE_SIZE or length < 0:
        return -EINVAL
    end = start + page_align(length)
    mm = k.mm
    mapped = 0
    async with mm.mmap_lock.read():
        for vma in await mm.mmap.load():
            for piece in cut(vma, start, end):
                if start <= piece.start < end:
                    if vma.hugetlb and k.release.has(MADVISE_REFUSES_HUGETLB):
                        return -EINVAL
                    await zap_page_range(k, mm, piece)
                    mapped += piece.end - piece.start
    return 0 if mapped == end - start else -ENOMEM


async def zap_page_range(k: Kernel, mm: Mm, vma: Vma) -> None:
    """Clear, flush, and only then drop the references: a page must not be freed while a TLB can still reach it."""
    pages, stale = await zap_pte_range(k, mm, vma)
    if counted(k, vma.flags):
        await k.strategy.after_zap_writable(k, mm, vma, pages)
    await flush_tlb(k, mm, stale)
    for page in pages:
        await put_page(k, page)
