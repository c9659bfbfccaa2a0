"""fork() and exit().

Follows kernel/fork.c (dup_mmap), fs/file.c (dup_fd), mm/memory.c (copy_pte_range), fs/aio.c (exit_aio) and
kernel/exit.c (do_exit), v3.17, and for private pages that are pinned v5.9 (copy_present_page) and v5.11
(write_protect_seq).

A private page that a device is to fill must stay the parent's: were it shared like the others, the parent's next store
would give the parent a copy, and what the device brings would go to the child.

Not modelled: the child's own page-table lock and mmap_lock during the copy, because the child does not run before it
is complete; dropping the parent's page-table lock to allocate the copy of a pinned page, after which Linux begins again
with that page; wait() and signals; exit of one of several threads; files->file_lock, so between two descriptors that
fork() copies another thread may close or open some.
"""

from __future__ import annotations

import attrs

from mmsim.kernel.exec import dup_mm_exe_file, mmput, nothing_in_flight
from mmsim.kernel.file_table import fget, fput, get_file
from mmsim.kernel.io_uring import io_ring_exit
from mmsim.kernel.memory import new_anon_page
from mmsim.kernel.mmap import vma_link_file
from mmsim.kernel.page_alloc import get_page
from mmsim.kernel.releases import ANON_EXCLUSIVE, FORK_COPIES_PINNED, FORK_HOLDS_OFF_GUP_FAST
from mmsim.kernel.tlb import flush_tlb
from mmsim.kernel.types import PG_ANON_EXCLUSIVE, Kernel, Mm, PageFlags, Process, Pte, Vma
from mmsim.kernel.userfaultfd import dup_userfaultfd


def without(flags: PageFlags, flag: str) -> PageFlags:
    """clear_bit()."""
    return flags - {flag}


async def dup_mmap(k: Kernel, child: Process) -> None:
    """Copy the address space.  Each copied VMA counts at once: the parent's own count keeps sealing away meanwhile."""
    parent, mm = k.mm, child.mm
    async with parent.mmap_lock:
        await dup_mm_exe_file(k, mm)
        vmas = await parent.mmap.load()
        await mm.mmap.store(tuple(map(dup_userfaultfd, vmas)))
        for vma in vmas:
            await get_file(vma.file)
            await vma_link_file(k, mm, dup_userfaultfd(vma))
            guarded = vma.cow and k.release.has(FORK_HOLDS_OFF_GUP_FAST)
            if guarded:
                await parent.write_protect_seq.inc()
            protected = await copy_pte_range(k, mm, vma)
            if guarded:
                await parent.write_protect_seq.inc()
            # Before the child runs: a parent's CPU that still thinks a private page writable would write both copies.
            await flush_tlb(k, parent, protected)


async def copy_pte_range(k: Kernel, mm: Mm, vma: Vma) -> tuple[int, ...]:
    """Give the child what the parent has mapped: the addresses at which the parent may no longer write."""
    parent = k.mm
    protected: list[int] = []
    async with parent.page_table_lock:
        for address in vma.pages():
            pte = await parent.pte(address).load()
            if pte is None:
                continue
            if pte.special:
                await mm.pte(address).store(pte)
                continue
            if pte.anon and k.release.has(FORK_COPIES_PINNED) and await pte.page.pincount.load():
                copy = await new_anon_page(k, pte.page)
                await copy.mapcount.inc()
                await mm.pte(address).store(attrs.evolve(pte, page=copy))
                continue
            if pte.anon and k.release.has(ANON_EXCLUSIVE):
                await pte.page.flags.update(without, PG_ANON_EXCLUSIVE)
            # A mapping without VM_MAYWRITE is not looked at: it cannot have been written, says is_cow_mapping().
            if pte.write and vma.cow:
                await parent.pte(address).update(wrprotected)
                pte = attrs.evolve(pte, write=False)
                protected.append(address)
            if not pte.migrating:
                await get_page(pte.page)
                await pte.page.mapcount.inc()
            await mm.pte(address).store(pte)
    return tuple(protected)


def wrprotected(pte: Pte) -> Pte:
    """ptep_set_wrprotect(): the dirty bit, which a CPU may set at any moment, stays."""
    return attrs.evolve(pte, write=False)


async def copy_files(k: Kernel, child: Process) -> None:
    """dup_fd(): give the child descriptors of its own for the files that the caller has open.

    One that another thread has closed meanwhile, or not installed yet, is free in the child.
    """
    copied = []
    for number in await k.process.open_fds.load():
        file = await fget(k, number)
        if file is not None:
            await child.fd(number).store(file)
            copied.append(number)
    await child.open_fds.store(tuple(copied))


async def do_fork(k: Kernel, child: Process) -> int:
    """Make `child` a copy of the caller's process, ready to run; its pid."""
    await copy_files(k, child)
    await dup_mmap(k, child)
    return 2


async def do_exit(k: Kernel) -> None:
    """exit_aio() waits for every asynchronous I/O of the process *before* exit_mmap() lets the mappings go."""
    await k.process.reqs_active.wait_until(nothing_in_flight)
    await mmput(k)
    await exit_files(k)
    await io_ring_exit(k)


async def exit_files(k: Kernel) -> None:
    """Close every descriptor of the process."""
    for number in await k.process.open_fds.exchange(()):
        file = await k.process.fd(number).exchange(None)
        if file is not None:
            await fput(k, file)
