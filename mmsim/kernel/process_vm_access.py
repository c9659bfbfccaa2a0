"""process_vm_writev(): writing another process's memory through its page tables.

Follows mm/process_vm_access.c (process_vm_rw_core, process_vm_rw_single_vec, process_vm_rw_pages), v3.17 and later.
The pages are pinned under the other's mmap_lock, written without it, and given back: what he unmaps meanwhile is
written all the same.

Not modelled: several vectors and more pages than one kmalloc() holds pointers to, because each is the same path again;
permission to do it (ptrace_may_access), and -ESRCH for a process that has ended: it has no mapping left, so -EFAULT.
"""

from __future__ import annotations

from mmsim.kernel.filemap import set_page_dirty
from mmsim.kernel.gup import get_user_pages_unlocked, unpin_pages
from mmsim.kernel.shmem import write_page
from mmsim.kernel.types import Caller, Kernel, Mm
from mmsim.syscalls import EFAULT, PAGE_SIZE


async def process_vm_writev(k: Kernel, mm: Mm, address: int, data: bytes) -> int:
    """Write `data` at `address` of `mm`: the bytes written, up to the first page that cannot be, or -EFAULT."""
    start = address % PAGE_SIZE
    wanted = -(-(start + len(data)) // PAGE_SIZE)
    pins, _ = await get_user_pages_unlocked(k, mm, address - start, wanted, Caller.PROCESS_VM, write=True)
    written = 0
    for pin in pins:
        chunk = data[written : written + PAGE_SIZE - start]
        await write_page(k, pin.page, start, chunk)
        await set_page_dirty(pin.page)
        written += len(chunk)
        start = 0
    await unpin_pages(k, pins)
    return written if pins or not data else -EFAULT
