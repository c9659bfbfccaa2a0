"""userfaultfd: a program resolves page faults itself.

Follows fs/userfaultfd.c (userfaultfd_register) and mm/userfaultfd.c (mcopy_atomic, shmem_mcopy_atomic_pte,
mcontinue_atomic_pte, mfill_atomic_install_pte), v4.11 and later.  Each process has one userfaultfd.

Not modelled: reading events, UFFDIO_WAKE and unregistering, because a fault here waits for its page and nothing else;
write-protect mode and UFFDIO_ZEROPAGE; who may create one (vm.unprivileged_userfaultfd); -ENOSYS before v4.3.
"""

from __future__ import annotations

import attrs

from mmsim.kernel.filemap import find_get_page
from mmsim.kernel.memory import anon_pte, find_vma, set_anon_exclusive
from mmsim.kernel.mmap import Linked, split_vma, start_of
from mmsim.kernel.page_alloc import alloc_page, delete_from_page_cache, put_page
from mmsim.kernel.releases import (
    UFFD_ASKS_MAYWRITE,
    UFFD_DIRTIES,
    UFFD_LOOKS_AT_SIZE,
    UFFD_MINOR_SHMEM,
    UFFD_PRIVATE_IS_ANON,
    UFFD_SHMEM,
)
from mmsim.kernel.shmem import shmem_add_to_page_cache, write_page
from mmsim.kernel.swap import lru_cache_add
from mmsim.kernel.types import (
    VM_MAYWRITE,
    VM_UFFD,
    VM_UFFD_MINOR,
    VM_UFFD_MISSING,
    VM_WRITE,
    Kernel,
    Mm,
    Page,
    Pte,
    Vma,
)
from mmsim.syscalls import (
    EEXIST,
    EFAULT,
    EINVAL,
    ENOENT,
    EPERM,
    PAGE_SIZE,
    UFFDIO_REGISTER_MODE_MINOR,
    UFFDIO_REGISTER_MODE_MISSING,
)


def replaced(tree: Linked, mm: Mm, old: Vma, new: Vma) -> Linked:
    """The tree after `vma->vm_flags` of one of its mappings changed."""
    return tree - {(mm, old)} | {(mm, new)}


def dup_userfaultfd(vma: Vma) -> Vma:
    """The same mapping in a child: nobody hears of its faults."""
    return attrs.evolve(vma, flags=vma.flags & ~VM_UFFD)


async def userfaultfd_register(k: Kernel, start: int, length: int, mode: int) -> int:
    """Have the faults in a range told: 0, -EINVAL, or -EPERM where a mapping may never be written."""
    known = UFFDIO_REGISTER_MODE_MISSING if k.release.has(UFFD_SHMEM) else 0
    known |= UFFDIO_REGISTER_MODE_MINOR if k.release.has(UFFD_MINOR_SHMEM) else 0
    if not mode or mode & ~known or start % PAGE_SIZE or length % PAGE_SIZE or length <= 0:
        return -EINVAL
    told = VM_UFFD_MISSING if mode & UFFDIO_REGISTER_MODE_MISSING else 0
    told |= VM_UFFD_MINOR if mode & UFFDIO_REGISTER_MODE_MINOR else 0
    end = start + length
    mm = k.mm
    async with mm.mmap_lock:
        vmas = await mm.mmap.load()
        inside = [vma for vma in vmas if vma.start < end and vma.end > start]
        if not inside:
            return -EINVAL
        if k.release.has(UFFD_ASKS_MAYWRITE) and not all(vma.flags & VM_MAYWRITE for vma in inside):
            return -EPERM
        after = [vma for vma in vmas if vma not in inside]
        for vma in inside:
            for piece in await split_vma(k, mm, vma, max(start, vma.start), min(end, vma.end)):
                new = piece
                if start <= piece.start < end:
                    new = attrs.evolve(piece, flags=piece.flags & ~VM_UFFD | told)
                    await piece.file.inode.mapping.i_mmap.update(replaced, mm, piece, new)
                after.append(new)
        await mm.mmap.store(tuple(sorted(after, key=start_of)))
    return 0


async def mcopy_atomic(k: Kernel, start: int, data: bytes) -> int:
    """UFFDIO_COPY: the bytes copied into pages that were missing, or -EINVAL, -ENOENT, -EEXIST, -EFAULT."""
    if start % PAGE_SIZE or len(data) % PAGE_SIZE or not data:
        return -EINVAL
    copied = 0
    async with k.mm.mmap_lock.read():
        vma = await registered(k.mm, start, len(data))
        if vma is None:
            return -ENOENT
        anon = not vma.shared and k.release.has(UFFD_PRIVATE_IS_ANON)
        while copied < len(data):
            page = await alloc_page(k)
            await write_page(k, page, 0, data[copied : copied + PAGE_SIZE])
            fill = mcopy_atomic_pte if anon else shmem_mcopy_atomic_pte
            error = await fill(k, vma, start + copied, page)
            if error:
                await put_page(k, page)
                return copied or error
            copied += PAGE_SIZE
    return copied


async def mcontinue_atomic(k: Kernel, start: int) -> int:
    """UFFDIO_CONTINUE for one page: map what the file has there.  PAGE_SIZE, or -EINVAL, -ENOENT, -EEXIST, -EFAULT."""
    if start % PAGE_SIZE or not k.release.has(UFFD_MINOR_SHMEM):
        return -EINVAL
    async with k.mm.mmap_lock.read():
        vma = await registered(k.mm, start, PAGE_SIZE)
        if vma is None:
            return -ENOENT
        error = await mcontinue_atomic_pte(k, vma, start)
    return error or PAGE_SIZE


async def registered(mm: Mm, start: int, length: int) -> Vma | None:
    """The VMA that holds the range and tells its faults."""
    vma = find_vma(await mm.mmap.load(), start)
    return vma if vma is not None and vma.flags & VM_UFFD and start + length <= vma.end else None


async def mcopy_atomic_pte(k: Kernel, vma: Vma, address: int, page: Page) -> int:
    """Map a private page: 0, or an errno and the reference stays with the caller."""
    await set_anon_exclusive(k, page)
    return await install_pte(k, vma, address, anon_pte(vma, page))


async def shmem_mcopy_atomic_pte(k: Kernel, vma: Vma, address: int, page: Page) -> int:
    """Make a page the file's own and map it: 0, or an errno and the reference stays with the caller."""
    mapping, index = vma.file.inode.mapping, vma.index(address)
    # Locked before it can be found: truncation must find it either not there yet or mapped.
    async with page.lock:
        if await beyond_the_end(k, vma, address):
            return -EFAULT
        if not await shmem_add_to_page_cache(k, page, mapping, index):
            return -EEXIST
        await lru_cache_add(k, page)
        error = await install_pte(k, vma, address, cache_pte(k, vma, page))
        if error:
            await delete_from_page_cache(page, mapping, index)
            await put_page(k, page)
    return error


async def mcontinue_atomic_pte(k: Kernel, vma: Vma, address: int) -> int:
    """Map the page that the file has: 0 or an errno, -EFAULT for a hole."""
    mapping = vma.file.inode.mapping
    page = await find_get_page(k, mapping, vma.index(address))
    if page is None:
        return -EFAULT
    async with page.lock:
        attached = await page.mapping.load() is mapping
        error = await install_pte(k, vma, address, cache_pte(k, vma, page)) if attached else -EFAULT
    if error:
        await put_page(k, page)
    return error


def cache_pte(k: Kernel, vma: Vma, page: Page) -> Pte:
    """A PTE of the file's own page.  Through a private mapping it must not be written, and once it could be."""
    writable = bool(vma.flags & VM_WRITE) and (vma.shared or not k.release.has(UFFD_PRIVATE_IS_ANON))
    return Pte(page, write=writable, dirty=writable or k.release.has(UFFD_DIRTIES))


async def install_pte(k: Kernel, vma: Vma, address: int, pte: Pte) -> int:
    """mfill_atomic_install_pte(): 0, and the PTE has the caller's reference; else -EEXIST or -EFAULT."""
    async with k.mm.page_table_lock:
        # Truncation lowers the size before it looks into page tables, so one of the two sees the other.
        if await beyond_the_end(k, vma, address):
            return -EFAULT
        if await k.mm.pte(address).load() is not None:
            return -EEXIST
        await pte.page.mapcount.inc()
        await k.mm.pte(address).store(pte)
    return 0


async def beyond_the_end(k: Kernel, vma: Vma, address: int) -> bool:
    """Whether the file does not reach so far."""
    return k.release.has(UFFD_LOOKS_AT_SIZE) and vma.index(address) * PAGE_SIZE >= await vma.file.inode.i_size.load()
