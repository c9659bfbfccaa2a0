"""get_user_pages: references to the pages behind a user's addresses.

Follows mm/gup.c (get_user_pages, follow_page_pte, gup_fast_pte_range), v3.17 and later.  The lock-less walk looks at
the PTE again after it took its reference, as all architectures do today (x86 of v3.17 relied on interrupts being off,
which holds back the flush, and not on a second look).

Not modelled: FOLL_FORCE, huge pages, the page-table walk above the PTE.
"""

from __future__ import annotations

from mmsim.kernel.memory import find_vma, handle_mm_fault
from mmsim.kernel.types import VM_READ, VM_WRITE, Kernel, Mm, Page
from mmsim.syscalls import EFAULT, PAGE_SIZE


async def gup_fast_pte(k: Kernel, mm: Mm, address: int, *, write: bool) -> Page | None:
    """Pin one page without mmap_lock, or give up."""
    slot = mm.pte(address)
    pte = await slot.load()
    if pte is None or not pte.allows(write=write) or not await k.strategy.pin(k, pte.page, write):
        return None
    # The reference is raised before this second look, so either munmap() sees the reference or we see its work.
    now = await slot.load()
    if now is None or now.page is not pte.page or not now.allows(write=write):
        await k.strategy.unpin(k, pte.page, write)
        return None
    return pte.page


async def get_user_pages(k: Kernel, mm: Mm, address: int, count: int, *, write: bool) -> tuple[Page, ...] | int:
    """Pin `count` pages through the VMAs, faulting them in as needed.  -EFAULT, with nothing left pinned."""
    pages: list[Page] = []
    async with mm.mmap_lock.read():
        vmas = await mm.mmap.load()
        while len(pages) < count:
            at = address + len(pages) * PAGE_SIZE
            vma = find_vma(vmas, at)
            allowed = vma is not None and bool(vma.flags & (VM_WRITE if write else VM_READ))
            page = await follow_page_pte(k, mm, at, write=write) if allowed else None
            if page is not None:
                pages.append(page)
            elif vma is None or not allowed or await handle_mm_fault(k, mm, vma, at, write=write) is not None:
                await unpin_pages(k, tuple(pages), write=write)
                return -EFAULT
    return tuple(pages)


async def follow_page_pte(k: Kernel, mm: Mm, address: int, *, write: bool) -> Page | None:
    """Pin the page that the PTE shows; under page_table_lock nobody can take it away meanwhile."""
    async with mm.page_table_lock:
        pte = await mm.pte(address).load()
        if pte is None or not pte.allows(write=write) or not await k.strategy.pin(k, pte.page, write):
            return None
        return pte.page


async def get_user_pages_fast(k: Kernel, address: int, count: int, *, write: bool) -> tuple[Page, ...] | int:
    """Pin as many pages as the lock-less walk gets, the rest through the VMAs.  -EFAULT, with nothing left pinned."""
    pages: tuple[Page, ...] = ()
    while len(pages) < count:
        page = await gup_fast_pte(k, k.mm, address + len(pages) * PAGE_SIZE, write=write)
        if page is None:
            break
        pages = (*pages, page)
    missing = count - len(pages)
    if missing:
        rest = await get_user_pages(k, k.mm, address + len(pages) * PAGE_SIZE, missing, write=write)
        if isinstance(rest, int):
            await unpin_pages(k, pages, write=write)
            return rest
        pages += rest
    return pages


async def unpin_pages(k: Kernel, pages: tuple[Page, ...], *, write: bool) -> None:
    """Give every pin back."""
    for page in pages:
        await k.strategy.unpin(k, page, write)
