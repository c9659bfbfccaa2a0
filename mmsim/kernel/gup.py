"""get_user_pages: references to the pages behind a user's addresses.

Follows mm/gup.c (__get_user_pages, check_vma_flags, follow_page_pte, faultin_page, gup_fast_pte_range), v3.17 and
later.  The lock-less walk looks at the PTE again after it took its reference, as all architectures do today (x86 of
v3.17 relied on interrupts being off, which holds back the flush, and not on a second look).

Every reference taken is a `Pin`, which its holder gives back as it is: what a design must know of it, it knows.

Not modelled: huge pages; the page-table walk above the PTE; FOLL_LONGTERM, because who says it here writes, and so has
its private copy anyway; FOLL_FORCE into a PROT_NONE mapping, whose pages no CPU could see.
"""

from __future__ import annotations

from mmsim.kernel.memory import (
    VM_FAULT_RETRY,
    VM_FAULT_SIGBUS,
    VM_FAULT_WRITE,
    anon_exclusive,
    find_vma,
    handle_mm_fault,
    present,
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
    pins = await get_user_pages_unlocked(k, mm, address, count, caller, write=write)
    if len(pins) < count:
        await unpin_pages(k, pins)
        return -EFAULT
    return pins


async def get_user_pages_unlocked(
    k: Kernel, mm: Mm, address: int, count: int, caller: Caller, *, write: bool
) -> tuple[Pin, ...]:
    """Pin up to `count` pages, as far as they can be had.  Waits for a userfaultfd without mmap_lock, then goes on."""
    pins: tuple[Pin, ...] = ()
    while True:
        at = address + len(pins) * PAGE_SIZE
        async with mm.mmap_lock.read():
            more, fault = await get_user_pages_remote(k, mm, at, count - len(pins), caller, write=write)
        pins += more
        if not fault & VM_FAULT_RETRY:
            return pins
        await mm.pte(address + len(pins) * PAGE_SIZE).wait_until(present)


async def get_user_pages_remote(
    k: Kernel, mm: Mm, address: int, count: int, caller: Caller, *, write: bool, force: bool = False
) -> tuple[tuple[Pin, ...], int]:
    """Pin up to `count` pages: those before the first that may not be had, and the VM_FAULT_ bits that it met.

    The caller holds mmap_lock for reading.  `force` is FOLL_FORCE: what the mapping forbids is done all the same, as
    long as no file is changed by it.
    """
    pins: tuple[Pin, ...] = ()
    flags = (FOLL_WRITE if write else 0) | (FOLL_FORCE if force else 0)
    vmas = await mm.mmap.load()
    while len(pins) < count:
        at = address + len(pins) * PAGE_SIZE
        vma = find_vma(vmas, at)
        if vma is None or not check_vma_flags(vma, flags):
            return pins, 0
        pin = await get_user_page(k, mm, vma, at, caller, flags)
        if isinstance(pin, int):
            return pins, pin
        pins = (*pins, pin)
    return pins, 0


def check_vma_flags(vma: Vma, flags: int) -> bool:
    """Whether the mapping allows it.  A forced write wants a private copy, which a shared mapping cannot have."""
    if vma.flags & (VM_WRITE if flags & FOLL_WRITE else VM_READ):
        return True
    forced = bool(flags & FOLL_FORCE) and bool(vma.flags & (VM_READ | VM_WRITE))
    return forced and (vma.cow or not flags & FOLL_WRITE)


async def get_user_page(k: Kernel, mm: Mm, vma: Vma, address: int, caller: Caller, flags: int) -> Pin | int:
    """__get_user_pages() for one page: follow the PTE, or fault and follow it again.  VM_FAULT_ bits if it fails.

    Between the fault and the second look the PTE may have changed, for mmap_lock is held for reading only: what the
    fault did is not what the look finds, so whatever the look relies on it must see for itself.
    """
    write = bool(flags & FOLL_WRITE)
    while True:
        unshare = False
        async with mm.page_table_lock:
            pte = await mm.pte(address).load()
            if pte is not None and await can_follow_pte(k, vma, pte, flags):
                pin = Pin(pte.page, write, caller)
                unshare = await gup_must_unshare(k, pin, pte)
                # Under page_table_lock nobody can take the page away meanwhile.
                if not unshare and await k.strategy.pin(k, pin):
                    return pin
        fault = await handle_mm_fault(k, mm, vma, address, write=bool(flags & FOLL_WRITE), unshare=unshare)
        if fault & (VM_FAULT_SIGBUS | VM_FAULT_RETRY):
            return fault
        if fault & VM_FAULT_WRITE and not vma.flags & VM_WRITE:
            flags = after_forced_cow(k, flags)


def after_forced_cow(k: Kernel, flags: int) -> int:
    """faultin_page() made a private copy and left it mapped read-only, so the next look has to be told."""
    return flags | FOLL_COW if k.release.has(FORCED_COW_IS_REMEMBERED) else flags & ~FOLL_WRITE


async def can_follow_pte(k: Kernel, vma: Vma, pte: Pte, flags: int) -> bool:
    """Whether the page behind this PTE may be had; one that is being migrated is waited for, in the fault."""
    return not pte.migrating and (not flags & FOLL_WRITE or await can_follow_write_pte(k, vma, pte, flags))


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
