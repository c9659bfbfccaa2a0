"""Changing what a mapping allows.

Follows mm/mprotect.c (mprotect_fixup, change_pte_range, change_protection), v3.17.  VM_MAYWRITE, which mmap() may have
cleared, is never set again here, and i_mmap_writable is not touched: it counts who may write, not who does.

The PTEs are changed under the page-table lock and the TLBs flushed before mprotect() returns, so a store that a
CPU still makes in between belongs to the time before.

Not modelled: merging of VMAs (see mmsim.kernel.mmap); PROT_EXEC, because no instruction is fetched here.
"""

from __future__ import annotations

import attrs

from mmsim.kernel.mmap import page_align, replace_vma, split_vma, vm_access_flags
from mmsim.kernel.tlb import flush_tlb
from mmsim.kernel.types import VM_MAYWRITE, VM_READ, VM_WRITE, Kernel, Mm, Pte, Vma
from mmsim.syscalls import EACCES, EINVAL, ENOMEM, PAGE_SIZE


async def mprotect(k: Kernel, start: int, length: int, prot: int) -> int:
    """0 or an errno.  What lies before the first VMA that refuses is changed all the same."""
    end = start + page_align(length)
    if start % PAGE_SIZE or length < 0:
        return -EINVAL
    mm = k.mm
    async with mm.mmap_lock:
        at = start
        for vma in await mm.mmap.load():
            if vma.end <= at or at >= end:
                continue
            if vma.start > at:
                break
            if vm_access_flags(prot) & VM_WRITE and not vma.flags & VM_MAYWRITE:
                return -EACCES
            await mprotect_fixup(k, mm, vma, at, min(end, vma.end), prot)
            at = vma.end
    return 0 if at >= end else -ENOMEM


async def mprotect_fixup(k: Kernel, mm: Mm, vma: Vma, start: int, end: int, prot: int) -> None:
    """Split off the part that is meant, and change it and its page-table entries, if anything is to be changed."""
    flags = vma.flags & ~(VM_READ | VM_WRITE) | vm_access_flags(prot)
    if flags == vma.flags:
        return
    pieces = await split_vma(k, mm, vma, start, end)
    old = next(piece for piece in pieces if piece.start == start)
    new = attrs.evolve(old, flags=flags)
    await mm.mmap.update(replaced, vma, tuple(new if piece is old else piece for piece in pieces))
    await replace_vma(mm, old, new)
    await change_protection(k, mm, new)


def replaced(vmas: tuple[Vma, ...], old: Vma, new: tuple[Vma, ...]) -> tuple[Vma, ...]:
    """The VMAs with `new` in the place of `old`."""
    at = vmas.index(old)
    return (*vmas[:at], *new, *vmas[at + 1 :])


async def change_protection(k: Kernel, mm: Mm, vma: Vma) -> None:
    """Give every PTE what the VMA allows; a private page is made writable by its next store, not here."""
    changed: list[int] = []
    write = vma.shared and bool(vma.flags & VM_WRITE)
    async with mm.page_table_lock:
        for address in vma.pages():
            # Read, changed and written back in one: a CPU may set the dirty bit at any moment.
            if await mm.pte(address).fetch_update(protected, write, not vma.flags & (VM_READ | VM_WRITE)):
                changed.append(address)
    await flush_tlb(k, mm, tuple(changed))


def protected(pte: Pte | None, write: bool, none: bool) -> tuple[Pte | None, bool]:
    """pte_modify(), and whether there was an entry to modify."""
    return (None, False) if pte is None else (attrs.evolve(pte, write=write, none=none), True)
