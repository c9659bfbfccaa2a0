"""get_user_pages: references to the pages behind a user's addresses.

Follows mm/gup.c (get_user_pages, follow_page_pte, gup_fast_pte_range), v3.17 and later.  The lock-less walk looks at
the PTE again after it took its reference, as all architectures do today (x86 of v3.17 relied on interrupts being off,
which holds back the flush, and not on a second look).

Every reference taken is a `Pin`, which its holder gives back as it is: what a design must know of it, it knows.

Where a release pins with FOLL_PIN, a private page shows that in `_pincount`, for fork() to see.  Linux adds 1024 to the
reference count of a small page instead; a count of its own says the same without false alarms, and leaves the
reference count to the designs.  It is raised before the reference is taken and lowered before that is given back, so
whoever finds it 0 either comes before the pin or after the last write through it.

Not modelled: FOLL_FORCE, huge pages, the page-table walk above the PTE.
"""

from __future__ import annotations

from mmsim.kernel.memory import find_vma, handle_mm_fault
from mmsim.kernel.releases import DIRECT_IO_PINS, FORK_HOLDS_OFF_GUP_FAST, RDMA_PINS
from mmsim.kernel.types import VM_PFNMAP, VM_READ, VM_WRITE, Caller, Kernel, Mm, Pin
from mmsim.syscalls import EFAULT, PAGE_SIZE

FOLL_PIN_SINCE = {Caller.DIRECT_IO: DIRECT_IO_PINS, Caller.RDMA: RDMA_PINS}


async def gup_fast_pte(k: Kernel, mm: Mm, address: int, caller: Caller, *, write: bool) -> Pin | None:
    """Pin one page without mmap_lock, or give up."""
    slot = mm.pte(address)
    pte = await slot.load()
    if pte is None or pte.special or not pte.allows(write=write):
        return None
    pin = Pin(pte.page, write, caller, fast=True, counted=pins_are_counted(k, caller) and pte.anon)
    if not await try_grab_page(k, pin):
        return None
    # The reference is raised before this second look, so either munmap() sees the reference or we see its work.
    now = await slot.load()
    if now is None or now.page is not pin.page or not now.allows(write=write):
        await unpin_page(k, pin)
        return None
    return pin


def pins_are_counted(k: Kernel, caller: Caller) -> bool:
    """Whether this caller says FOLL_PIN."""
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
    """Pin `count` pages through the VMAs, faulting them in as needed.  -EFAULT, with nothing left pinned."""
    pins: list[Pin] = []
    async with mm.mmap_lock.read():
        vmas = await mm.mmap.load()
        while len(pins) < count:
            at = address + len(pins) * PAGE_SIZE
            vma = find_vma(vmas, at)
            wanted = VM_WRITE if write else VM_READ
            allowed = vma is not None and vma.flags & (wanted | VM_PFNMAP) == wanted
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
        if pte is None or pte.special or not pte.allows(write=write):
            return None
        pin = Pin(pte.page, write, caller, counted=pins_are_counted(k, caller) and pte.anon)
        return pin if await try_grab_page(k, pin) else None


async def get_user_pages_fast(
    k: Kernel, address: int, count: int, caller: Caller, *, write: bool
) -> tuple[Pin, ...] | int:
    """Pin as many pages as the lock-less walk gets, the rest through the VMAs.  -EFAULT, with nothing left pinned."""
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
    guarded = pins_are_counted(k, caller) and k.release.has(FORK_HOLDS_OFF_GUP_FAST)
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
