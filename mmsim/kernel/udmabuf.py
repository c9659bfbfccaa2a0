"""udmabuf: a dma-buf made of a memfd's own pages.

Follows drivers/dma-buf/udmabuf.c (udmabuf_create, udmabuf_vm_fault), v4.20 and v6.12.  The dma-buf holds a reference to
each page and has an inode of its own, so mapping it writable counts in its own i_mmap_writable and not in the memfd's:
who seals the memfd can learn of it by the references alone.

Up to v6.10 a mapping of it raises reference and map count of the page like any other, so a fault while the sealer
samples the two can hide the dma-buf's own reference; from v6.11 on it maps page frame numbers, which raise neither.

Up to v6.10 the references are those of a page cache lookup; from v6.11 on they are pins that may write (FOLL_PIN), but
no get_user_pages() took them and no mapping of the memfd stands for them.

Up to v6.12.6 the seals are looked at first and the pages taken later, with no lock around both, and F_SEAL_WRITE that
came in between saw neither a mapping nor a reference.

Not modelled: read(2), write(2) and the device's own access, because a mapping is enough to write; the release of the
pages when the last user of the dma-buf is gone (struct file's own reference count is not modelled), so a memfd stays
refused to F_SEAL_WRITE once it has one; UDMABUF_CREATE_LIST.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from mmsim.cells import Cell, World
from mmsim.kernel.page_alloc import get_page, put_page
from mmsim.kernel.releases import UDMABUF, UDMABUF_CHECKS_UNLOCKED, UDMABUF_HEEDS_FUTURE_WRITE, UDMABUF_PINS
from mmsim.kernel.shmem import shmem_getpage
from mmsim.kernel.types import Caller, File, Inode, Kernel, Page, Pin, SuperBlock
from mmsim.syscalls import (
    EBADF,
    EBADFD,
    EINVAL,
    ENOENT,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    PAGE_SIZE,
)


class DmaBuf(Inode):
    """struct udmabuf, with the inode that dma_buf_getfile() makes, whose page cache is the list of pages."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name, world.handle(functools.partial(SuperBlock, kind="dma-buf"), "dma_buf_mnt"))
        self.held: Cell[tuple[Page | Pin, ...]] = self.cell("held", ())

    def holds(self, view: Any) -> Iterator[Page | Pin]:
        """Every page, or its pin."""
        yield from view[self.held]


async def udmabuf_create(k: Kernel, memfd: File | None, offset: int, length: int) -> File | int:
    """The dma-buf, or an errno."""
    if not k.release.has(UDMABUF):
        return -ENOENT
    if offset % PAGE_SIZE or length % PAGE_SIZE or offset < 0 or length <= 0:
        return -EINVAL
    if memfd is None:
        return -EBADF
    inode = memfd.inode
    if inode.sb.kind not in ("tmpfs", "hugetlbfs"):
        return -EBADFD
    if k.release.has(UDMABUF_CHECKS_UNLOCKED):
        return await check_memfd_seals(k, inode) or await pin_and_export(k, inode, offset, length)
    # A seal is added under the same lock: it comes before the check, or finds the references.
    async with inode.i_mutex:
        return await check_memfd_seals(k, inode) or await pin_and_export(k, inode, offset, length)


async def check_memfd_seals(k: Kernel, inode: Inode) -> int:
    """The file may not shrink under the dma-buf, and the dma-buf may not write a file that is sealed."""
    seals = await inode.seals.load()
    denied = F_SEAL_WRITE | (F_SEAL_FUTURE_WRITE if k.release.has(UDMABUF_HEEDS_FUTURE_WRITE) else 0)
    return 0 if seals & F_SEAL_SHRINK and not seals & denied else -EINVAL


async def pin_and_export(k: Kernel, inode: Inode, offset: int, length: int) -> File | int:
    """memfd_pin_folios() and dma_buf_export(): a reference to each page of the range, which must be in the file."""
    if offset + length > await inode.i_size.load():
        return -EINVAL
    pages: list[Page] = []
    pins: list[Pin] = []
    for index in range(offset // PAGE_SIZE, (offset + length) // PAGE_SIZE):
        page, _ = await shmem_getpage(k, inode, index)
        pages.append(page)
        if k.release.has(UDMABUF_PINS):
            pin = Pin(page, write=True, caller=Caller.UDMABUF)
            pinned = await k.strategy.pin(k, pin)
            await put_page(k, page)  # what the lookup took
            if not pinned:
                for other in pins:
                    await k.strategy.unpin(k, other)
                return -EINVAL
            pins.append(pin)
    number = await k.number("dma_bufs_made")
    name = f"{k.cpu}.dmabuf[{number}]"
    buffer = k.world.handle(DmaBuf, f"{name}.inode")
    await buffer.held.store(tuple(pins or pages))
    for index, page in enumerate(pages):
        await buffer.mapping.slot(index).store(page)
    await buffer.i_size.store(length)
    return k.world.handle(functools.partial(File, inode=buffer), name)


async def udmabuf_vm_fault(buffer: Inode, index: int) -> Page | None:
    """The page to map, locked and with a reference; None beyond the end (SIGBUS)."""
    page = await buffer.mapping.slot(index).load()
    if page is not None:
        await get_page(page)
        await page.lock.acquire()
    return page
