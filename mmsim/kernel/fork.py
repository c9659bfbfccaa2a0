"""fork() and exit().

Follows kernel/fork.c (dup_mmap), mm/memory.c (copy_pte_range), fs/aio.c (exit_aio) and kernel/exit.c (do_exit), v3.17.

Not modelled: the child's own page-table lock and mmap_lock during the copy, because the child does not run before it
is complete; wait() and signals; exit of one of several threads.
"""

from __future__ import annotations

import attrs

from mmsim.kernel.file_table import fput, get_file
from mmsim.kernel.mmap import exit_mmap, vma_link_file
from mmsim.kernel.page_alloc import get_page
from mmsim.kernel.tlb import flush_tlb
from mmsim.kernel.types import Kernel, Process


async def dup_mmap(k: Kernel, child: Process) -> None:
    """Copy the address space.  Each copied VMA counts at once: the parent's own count keeps sealing away meanwhile."""
    parent, mm = k.mm, child.mm
    async with parent.mmap_lock:
        vmas = await parent.mmap.load()
        await mm.mmap.store(vmas)
        for vma in vmas:
            await get_file(vma.file)
            await vma_link_file(k, mm, vma)
            protected: list[int] = []
            async with parent.page_table_lock:
                for address in vma.pages():
                    pte = await parent.pte(address).load()
                    if pte is None:
                        continue
                    if pte.write and not vma.shared:
                        pte = attrs.evolve(pte, write=False)
                        await parent.pte(address).store(pte)
                        protected.append(address)
                    await get_page(pte.page)
                    await pte.page.mapcount.inc()
                    await mm.pte(address).store(pte)
            # Before the child runs: a parent's CPU that still thinks a private page writable would write both copies.
            await flush_tlb(k, parent, tuple(protected))


async def do_fork(k: Kernel, child: Process) -> int:
    """Make `child` a copy of the caller's process, ready to run; its pid."""
    open_fds = await k.process.open_fds.load()
    for number in open_fds:
        file = await k.process.fd(number).load()
        if file is not None:
            await get_file(file)
        await child.fd(number).store(file)
    await child.open_fds.store(open_fds)
    await dup_mmap(k, child)
    return 2


def nothing_in_flight(active: int) -> bool:
    """Whether all asynchronous I/O has completed."""
    return not active


async def do_exit(k: Kernel) -> None:
    """exit_aio() waits for every asynchronous I/O of the process *before* exit_mmap() lets the mappings go."""
    await k.process.reqs_active.wait_until(nothing_in_flight)
    await exit_mmap(k)
    for number in await k.process.open_fds.exchange(()):
        file = await k.process.fd(number).exchange(None)
        if file is not None:
            await fput(file)
