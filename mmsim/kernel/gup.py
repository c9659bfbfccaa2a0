"""get_user_pages: references to the pages behind a user's addresses.

Follows mm/gup.c (__get_user_pages, check_vma_flags, follow_page_pte, faultin_page, gup_fast_pte_range), v3.17 and
later.  The lock-less walk looks at the PTE again after it took its reference, as all architectures do today (x86 of
v3.17 relied on interrupts being off, which holds back the flush, and not on a second look).

Every reference taken is a `Pin`, which its holder gives back as it is: what a design must know of it, it knows.

Where a release pins with FOLL_PIN, a private page shows that in `_pincount`, for fork() to see.  Linux adds 1024 to the
reference count of a small page instead; a count of its own says the same without false alarms, and leaves the
reference count to the designs.  It is raised before the reference is taken and lowered before that is given back, so
whoever finds it 0 either comes before the pin or after the last write through it.

Not modelled: huge pages of files; the page-table walk above the PTE; FOLL_LONGTERM, because who says it here writes,
and so has its private copy anyway; FOLL_FORCE into a PROT_NONE mapping, whose pages no CPU could see.
"""

from __future__ import annotations

from mmsim.kernel.huge_memory import touch_pmd
from mmsim.kernel.memory import (
    VM_FAULT_OOM,
    VM_FAULT_RETRY,
    VM_FAULT_SIGBUS,
    VM_FAULT_WRITE,
    anon_exclusive,
    find_vma,
    handle_mm_fault,
    present,
)
from mmsim.kernel.page_ref import page_ref_overflows
from mmsim.kernel.releases import (
    ANON_EXCLUSIVE,
    DIRECT_IO_PINS,
    FOLL_PIN,
    FORCE_NEEDS_EXCLUSIVE,
    FORCED_COW_IS_REMEMBERED,
    FORCED_COW_OF_HUGE_PAGES,
    FORK_HOLDS_OFF_GUP_FAST,
    FUSE_DIRECT_PINS,
    RDMA_PINS,
    UDMABUF_PINS,
)
from mmsim.kernel.types import VM_PFNMAP, VM_READ, VM_WRITE, Caller, Kernel, Mm, Pin, Pte, Vma
from mmsim.syscalls import EFAULT, ENOMEM, PAGE_SIZE

FOLL_WRITE, FOLL_FORCE, FOLL_COW = 0x1, 0x10, 0x4000

FOLL_PIN_SINCE = {
    Caller.DIRECT_IO: DIRECT_IO_PINS,
    Caller.FUSE_DIRECT: FUSE_DIRECT_PINS,
    Caller.RDMA: RDMA_PINS,
    Caller.PROCESS_VM: FOLL_PIN,
    Caller.IO_URING: FOLL_PIN,
    Caller.UDMABUF: UDMABUF_PINS,
}
"""Who says FOLL_PIN from when on: what he reads must stay what the user has.  The others say FOLL_GET to this day."""


async def gup_fast_pte(k: Kernel, mm: Mm, address: int, caller: Caller, *, write: bool) -> Pin | None:
    """Pin one page without mmap_lock, or give up."""
    slot = mm.pte(address)
    pte = await slot.load()
    if pte is None or pte.special or not pte.allows(write=write):
        return None
    pin = Pin(pte.page, write, caller, fast=True, private=pte.anon, counted=foll_pin(k, caller) and pte.anon)
    if await page_ref_overflows(k, pte.page) or not await try_grab_page(k, pin):
        return None
    # The reference is raised before this second look, so either munmap() sees the reference or we see its work.
    now = await slot.load()
    kept = now is not None and now.page is pin.page and now.allows(write=write)
    if not kept or await gup_must_unshare(k, pin, pte):
        await unpin_page(k, pin)
        return None
    return pin


def foll_pin(k: Kernel, caller: Caller) -> bool:
    """Whether this caller says FOLL_PIN in this release."""
    return caller in FOLL_PIN_SINCE and k.release.has(FOLL_PIN_SINCE[caller])


async def try_grab_page(k: Kernel, pin: Pin) -> bool:
    """try_grab_page(): take the reference, as the strategy does."""
    if pin.counted:
        await pin.page.pincount.inc()
    if await k.strategy.pin(k, pin):
        return True
    if pin.counted:
        await pin.page.pincount.dec()
    return False


async def unpin_page(k: Kernel, pin: Pin) -> None:
    """unpin_user_page(): give it back; may run in an interrupt."""
    if pin.counted:
        await pin.page.pincount.dec()
    await k.strategy.unpin(k, pin)


async def get_user_pages(
    k: Kernel, mm: Mm, address: int, count: int, caller: Caller, *, write: bool
) -> tuple[Pin, ...] | int:
    """Pin `count` pages through the VMAs, faulting them in as needed.  -EFAULT or -ENOMEM, with nothing left pinned."""
    pins, fault = await get_user_pages_unlocked(k, mm, address, count, caller, write=write)
    if len(pins) < count:
        await unpin_pages(k, pins)
        return -ENOMEM if fault & VM_FAULT_OOM else -EFAULT
    return pins


async def get_user_pages_unlocked(
    k: Kernel, mm: Mm, address: int, count: int, caller: Caller, *, write: bool
) -> tuple[tuple[Pin, ...], int]:
    """Pin up to `count` pages: those before the first that cannot be had, and the VM_FAULT_ bits that it met.

    Waits for a userfaultfd without mmap_lock, then goes on.
    """
    pins: tuple[Pin, ...] = ()
    while True:
        at = address + len(pins) * PAGE_SIZE
        async with mm.mmap_lock.read():
            more, fault = await get_user_pages_remote(k, mm, at, count - len(pins), caller, write=write)
        pins += more
        if not fault & VM_FAULT_RETRY:
            return pins, fault
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
    if vma.flags & VM_PFNMAP:
        return False
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
                pin = Pin(pte.page, write, caller, private=pte.anon, counted=foll_pin(k, caller) and pte.anon)
                unshare = await gup_must_unshare(k, pin, pte)
                if not unshare and await page_ref_overflows(k, pte.page):
                    return VM_FAULT_OOM  # what no fault says here: follow_page_mask() returns -ENOMEM by itself
                # Under page_table_lock nobody can take the page away meanwhile.
                if not unshare and await try_grab_page(k, pin):
                    if pte.huge:
                        await touch_pmd(k, mm.pte(address), pte, write=bool(flags & FOLL_WRITE))
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
    if pte.migrating or pte.none or pte.special:
        return False
    return not flags & FOLL_WRITE or await can_follow_write_pte(k, vma, pte, flags)


async def can_follow_write_pte(k: Kernel, vma: Vma, pte: Pte, flags: int) -> bool:
    """Whether the page may be written through this PTE; if it is read-only, only by force, and only a private copy."""
    if pte.write or not flags & FOLL_FORCE:
        return pte.write
    if k.release.has(FORCE_NEEDS_EXCLUSIVE):
        return vma.cow and not vma.flags & VM_WRITE and pte.anon and await anon_exclusive(k, pte.page)
    if pte.huge and not k.release.has(FORCED_COW_OF_HUGE_PAGES):
        return False
    return bool(flags & FOLL_COW) and pte.dirty


async def gup_must_unshare(k: Kernel, pin: Pin, pte: Pte) -> bool:
    """Whether a reader's pin needs a private page of its own first: the next store would copy the page away from it."""
    if pin.write or not pte.anon or not k.release.has(ANON_EXCLUSIVE) or not foll_pin(k, pin.caller):
        return False
    return not await anon_exclusive(k, pte.page)


async def get_user_pages_fast(
    k: Kernel, address: int, count: int, caller: Caller, *, write: bool
) -> tuple[Pin, ...] | int:
    """Pin as many pages as the lock-less walk gets, the rest through the VMAs.

    -EFAULT, or -ENOMEM for a page with too many references, with nothing left pinned.
    """
    pins = await lockless_pages_from_mm(k, address, count, caller, write=write)
    missing = count - len(pins)
    if missing:
        rest = await get_user_pages(k, k.mm, address + len(pins) * PAGE_SIZE, missing, caller, write=write)
        if isinstance(rest, int):
            await unpin_pages(k, pins)
            return rest
        pins += rest
    return pins


async def lockless_pages_from_mm(
    k: Kernel, address: int, count: int, caller: Caller, *, write: bool
) -> tuple[Pin, ...]:
    """As many pages, from the first on, as can be pinned without mmap_lock: none where a fork() ran meanwhile.

    fork() looks whether a page is pinned and makes it read-only after that; a pin that came in between, and a second
    look at the PTE that was still early enough, would leave the device a page that is no longer ours alone.
    """
    guarded = foll_pin(k, caller) and k.release.has(FORK_HOLDS_OFF_GUP_FAST)
    seq = await k.mm.write_protect_seq.load() if guarded else 0
    if seq % 2:
        return ()
    pins: tuple[Pin, ...] = ()
    while len(pins) < count:
        pin = await gup_fast_pte(k, k.mm, address + len(pins) * PAGE_SIZE, caller, write=write)
        if pin is None:
            break
        pins = (*pins, pin)
    if pins and guarded and await k.mm.write_protect_seq.load() != seq:
        await unpin_pages(k, pins)
        return ()
    return pins


async def unpin_pages(k: Kernel, pins: tuple[Pin, ...]) -> None:
    """Give every pin back."""
    for pin in pins:
        await unpin_page(k, pin)
