"""get_user_pages: references to the pages behind a user's addresses.

Follows mm/gup.c (__get_user_pages, check_vma_flags, follow_page_pte, faultin_page, gup_fast_pte_range), v3.17 and
later.  The lock-less walk looks at the PTE again after it took its reference, as all architectures do today (x86 of
v3.17 relied on interrupts being off, which holds back the flush, and not on a second look).

Every reference taken is a `Pin`, which its holder gives back as it is: what a design must know of it, it knows.

Not modelled: huge pages; the page-table walk above the PTE; FOLL_LONGTERM, because who says it here writes, and so has
its private copy anyway; waiting for a userfaultfd: who asks for a page that one was promised is told -EFAULT, as every
caller without FAULT_FLAG_ALLOW_RETRY is; FOLL_FORCE into a PROT_NONE mapping, whose pages no CPU could see.
"""

from __future__ import annotations

from mmsim.kernel.memory import (
    VM_FAULT_RETRY,
    VM_FAULT_SIGBUS,
    VM_FAULT_WRITE,
    anon_exclusive,
    find_vma,
    handle_mm_fault,
)
from mmsim.kernel.releases import (
    ANON_EXCLUSIVE,
    DIRECT_IO_PINS,
    FORCE_NEEDS_EXCLUSIVE,
    FORCED_COW_IS_REMEMBERED,
)
from mmsim.kernel.types import VM_READ, VM_WRITE, Caller, Kernel, Mm, Pin, Pte, Vma
from mmsim.syscalls import EFAULT, PAGE_SIZE

FOLL_WRITE, FOLL_FORCE, FOLL_COW = 0x1, 0x10, 0x4000


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
    kept = now is not None and now.page is pin.page and now.allows(write=write)
    if not kept or await gup_must_unshare(k, pin, pte):
        await k.strategy.unpin(k, pin)
        return None
    return pin


async def get_user_pages(
    k: Kernel, mm: Mm, address: int, count: int, caller: Caller, *, write: bool
) -> tuple[Pin, ...] | int:
    """Pin `count` pages through the VMAs, faulting them in as needed.  -EFAULT, with nothing left pinned."""
    async with mm.mmap_lock.read():
        pins = await get_user_pages_remote(k, mm, address, count, caller, write=write)
        if len(pins) < count:
            await unpin_pages(k, pins)
            return -EFAULT
    return pins


async def get_user_pages_remote(
    k: Kernel, mm: Mm, address: int, count: int, caller: Caller, *, write: bool, force: bool = False
) -> tuple[Pin, ...]:
    """Pin up to `count` pages, as far as they can be had one after the other.  The caller holds mmap_lock for reading.

    `force` is FOLL_FORCE: what the mapping forbids is done all the same, as long as no file is changed by it.
    """
    pins: tuple[Pin, ...] = ()
    flags = (FOLL_WRITE if write else 0) | (FOLL_FORCE if force else 0)
    vmas = await mm.mmap.load()
    while len(pins) < count:
        at = address + len(pins) * PAGE_SIZE
        vma = find_vma(vmas, at)
        pin = await get_user_page(k, mm, vma, at, caller, flags) if vma and check_vma_flags(vma, flags) else None
        if pin is None:
            break
        pins = (*pins, pin)
    return pins


def check_vma_flags(vma: Vma, flags: int) -> bool:
    """Whether the mapping allows it.  A forced write wants a private copy, which a shared mapping cannot have."""
    if vma.flags & (VM_WRITE if flags & FOLL_WRITE else VM_READ):
        return True
    forced = bool(flags & FOLL_FORCE) and bool(vma.flags & (VM_READ | VM_WRITE))
    return forced and (vma.cow or not flags & FOLL_WRITE)


async def get_user_page(k: Kernel, mm: Mm, vma: Vma, address: int, caller: Caller, flags: int) -> Pin | None:
    """Follow the PTE, or fault and follow it again: __get_user_pages() for one page.  None if it cannot be had.

    Between the fault and the second look the PTE may have changed, for mmap_lock is held for reading only: what the
    fault did is not what the look finds, so whatever the look relies on it must see for itself.
    """
    write = bool(flags & FOLL_WRITE)
    while True:
        unshare = False
        async with mm.page_table_lock:
            pte = await mm.pte(address).load()
            if pte is not None and (not flags & FOLL_WRITE or await can_follow_write_pte(k, vma, pte, flags)):
                pin = Pin(pte.page, write, caller)
                unshare = await gup_must_unshare(k, pin, pte)
                # Under page_table_lock nobody can take the page away meanwhile.
                if not unshare and await k.strategy.pin(k, pin):
                    return pin
        flags, failed = await faultin_page(k, mm, vma, address, flags, unshare=unshare)
        if failed:
            return None


async def faultin_page(k: Kernel, mm: Mm, vma: Vma, address: int, flags: int, *, unshare: bool) -> tuple[int, bool]:
    """Fault the page in: the flags to follow it with, and whether it failed.

    A private copy in a mapping that cannot be written stays mapped read-only, so the next look needs to be told.
    """
    fault = await handle_mm_fault(k, mm, vma, address, write=bool(flags & FOLL_WRITE), unshare=unshare)
    if fault & VM_FAULT_WRITE and not vma.flags & VM_WRITE:
        if k.release.has(FORCED_COW_IS_REMEMBERED):
            flags |= FOLL_COW
        else:
            flags &= ~FOLL_WRITE
    return flags, bool(fault & (VM_FAULT_SIGBUS | VM_FAULT_RETRY))


async def can_follow_write_pte(k: Kernel, vma: Vma, pte: Pte, flags: int) -> bool:
    """Whether the page may be written through this PTE; if it is read-only, only by force, and only a private copy."""
    if pte.write or not flags & FOLL_FORCE:
        return pte.write
    if k.release.has(FORCE_NEEDS_EXCLUSIVE):
        return vma.cow and not vma.flags & VM_WRITE and pte.anon and await anon_exclusive(k, pte.page)
    return bool(flags & FOLL_COW) and pte.dirty


async def gup_must_unshare(k: Kernel, pin: Pin, pte: Pte) -> bool:
    """Whether a reader's pin needs a private page of its own first: the next store would copy the page away from it."""
    if pin.write or not pte.anon or not k.release.has(ANON_EXCLUSIVE) or not foll_pin(k, pin.caller):
        return False
    return not await anon_exclusive(k, pte.page)


def foll_pin(k: Kernel, caller: Caller) -> bool:
    """Whether this caller says FOLL_PIN, for what it reads must stay what the user has; the others say FOLL_GET."""
    if caller is Caller.DIRECT_IO:
        return bool(k.release.has(DIRECT_IO_PINS))
    return caller in {Caller.PROCESS_VM, Caller.IO_URING}


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
