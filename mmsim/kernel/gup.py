"""get_user_pages: references to the pages behind a user's addresses.

Follows mm/gup.c (get_user_pages, follow_page_pte, gup_fast_pte_range), v3.17 and later.  The lock-less walk looks at
the PTE again after it took its reference, as all architectures do today (x86 of v3.17 relied on interrupts being off,
which holds back the flush, and not on a second look).

Every reference taken is a `Pin`, which its holder gives back as it is: what a design must know of it, it knows.

Not modelled: FOLL_FORCE, huge pages, the page-table walk above the PTE.
"""

from __future__ import annotations

from mmsim.kernel.memory import find_vma, handle_mm_fault
from mmsim.kernel.types import VM_READ, VM_WRITE, Caller, Kernel, Mm, Pin
from mmsim.syscalls import EFAULT, PAGE_SIZE


async def gup_fast_pte(k: Kernel, mm: Mm, address: int, caller: Caller, *, write: bool) -> Pin | None:
    """Pin one page without mmap_lock, or give up."""
    slot = mm.pte(address)
    pte = await slot.load()
    if pte is None or not pte.allows(write=write):
        return None
    pin = Pin(pte.page, write, caller, fast=True)
    if not await k.strategy.pin(k, pin):
        return None
    # The reference is raised before this second look, so either munmap() sees the reference or we see its work.
    now = await slot.load()
    if now is None or now.page is not pin.page or not now.allows(write=write):
        await k.strategy.unpin(k, pin)
        return None
    return pin


async def get_user_pages(
    k: Kernel, mm: Mm, address: int, count: int, caller: Caller, *, write: bool
) -> tuple[Pin, ...] | int:
    """Pin `count` pages through the VMAs, faulting them in as needed.  -EFAULT, with nothing left pinned."""
    pins: list[Pin] = []
    async with mm.mmap_lock.read():
        vmas = await mm.mmap.load()
        while len(pins) < count:
            at = address + len(pins) * PAGE_SIZE
            vma = find_vma(vmas, at)
            allowed = vma is not None and bool(vma.flags & (VM_WRITE if write else VM_READ))
            pin = await follow_page_pte(k, mm, at, caller, write=write) if allowed else None
            if pin is not None:
                pins.append(pin)
            elif vma is None or not allowed or await handle_mm_fault(k, mm, vma, at, write=write) is not None:
                await unpin_pages(k, tuple(pins))
                return -EFAULT
    return tuple(pins)


async def follow_page_pte(k: Kernel, mm: Mm, address: int, caller: Caller, *, write: bool) -> Pin | None:
    """Pin the page that the PTE shows; under page_table_lock nobody can take it away meanwhile."""
    async with mm.page_table_lock:
        pte = await mm.pte(address).load()
        if pte is None or not pte.allows(write=write):
            return None
        pin = Pin(pte.page, write, caller)
        return pin if await k.strategy.pin(k, pin) else None


async def get_user_pages_fast(
    k: Kernel, address: int, count: int, caller: Caller, *, write: bool
) -> tuple[Pin, ...] | int:
    """Pin as many pages as the lock-less walk gets, the rest through the VMAs.  -EFAULT, with nothing left pinned."""
    pins: tuple[Pin, ...] = ()
    while len(pins) < count:
        pin = await gup_fast_pte(k, k.mm, address + len(pins) * PAGE_SIZE, caller, write=write)
        if pin is None:
            break
        pins = (*pins, pin)
    missing = count - len(pins)
    if missing:
        rest = await get_user_pages(k, k.mm, address + len(pins) * PAGE_SIZE, missing, caller, write=write)
        if isinstance(rest, int):
            await unpin_pages(k, pins)
            return rest
        pins += rest
    return pins


async def unpin_pages(k: Kernel, pins: tuple[Pin, ...]) -> None:
    """Give every pin back."""
    for pin in pins:
        await k.strategy.unpin(k, pin)
