"""TLBs: what each CPU remembers of a page table until it is told to forget.

Follows arch/x86/mm/tlb.c (flush_tlb_mm_range) and the x86 rules of a page walk, v3.17.  An instruction marks its CPU's
entry busy from its walk to its last access, and a flush waits for that: an interrupt is taken between instructions,
so when flush_tlb() returns nothing more can happen through the old translation.  A store through an entry that is not
known dirty walks again, for the CPU must set the dirty bit in memory, and faults if the PTE is gone by then.

Not modelled: lazy TLB mode, PCIDs and the ceiling above which everything is flushed, because they flush more, not less.
"""

from __future__ import annotations

from mmsim.kernel.types import EMPTY_TLB, Kernel, Mm, Pte, TlbEntry


def begin_instruction(entry: TlbEntry) -> tuple[TlbEntry, Pte | None]:
    """Mark the entry busy; what it says of the page."""
    return TlbEntry(entry.pte, busy=True), entry.pte


def between_instructions(entry: TlbEntry) -> bool:
    """Whether an interrupt can be taken."""
    return not entry.busy


def forget(_entry: TlbEntry) -> TlbEntry:
    """invlpg."""
    return EMPTY_TLB


async def flush_tlb(k: Kernel, mm: Mm, addresses: tuple[int, ...]) -> None:
    """Make every CPU that runs `mm` forget these pages; returns when all have."""
    for cpu in k.cpus.running(mm):
        for address in addresses:
            await mm.tlb(cpu, address).spin_update(between_instructions, forget)
