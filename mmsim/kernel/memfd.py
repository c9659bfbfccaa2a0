"""memfd_create() and sealing.

Follows mm/shmem.c of v3.17 (memfd_create, shmem_add_seals, shmem_tag_pins, shmem_wait_for_pins), which is mm/memfd.c
under the names used here since v4.18.

The tag of a page is not a cell but a local of the sealing thread: only code that holds this inode's i_mutex sets,
reads or clears PAGECACHE_TAG_TOWRITE on a shmem mapping, so nobody else can tell.

Not modelled: lru_add_drain() and lru_add_drain_all(), because nothing here keeps pages in per-CPU LRU caches yet;
signals that cut a sleep short; F_SEAL_EXEC and F_SEAL_FUTURE_WRITE, which are younger than this issue's releases.
"""

from __future__ import annotations

from mmsim.kernel.readonly import become_read_only
from mmsim.kernel.releases import HIGH_BITS_ARE_EINVAL, RECHECKS_ANY_DIFFERENCE
from mmsim.kernel.strategy import Guarantee
from mmsim.kernel.types import AddressSpace, File, Inode, Kernel, Page
from mmsim.steps import sleep
from mmsim.syscalls import (
    EBUSY,
    EINVAL,
    EPERM,
    F_SEAL_SEAL,
    F_SEAL_WRITE,
    MFD_ALLOW_SEALING,
    MFD_CLOEXEC,
    PAGE_SIZE,
)

HZ = 250
LAST_SCAN = 4
MFD_NAME_MAX_LEN = 249


async def memfd_create(k: Kernel, name: str, flags: int) -> File | int:
    """A new file of size 0, sealed against sealing unless MFD_ALLOW_SEALING is given."""
    if flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING) or len(name.encode()) > MFD_NAME_MAX_LEN:
        return -EINVAL
    number = await k.world.cell(f"{k.cpu}.memfds_made", 0).add_return(1) - 1
    file = k.world.handle(File, f"memfd:{name}" + (f"#{number}" if number else ""))
    if not flags & MFD_ALLOW_SEALING:
        await file.inode.seals.store(F_SEAL_SEAL)
    return file


async def memfd_add_seals(k: Kernel, file: File, seals: int) -> int:
    """fcntl(F_ADD_SEALS): all of the seals are set, or none."""
    inode = file.inode
    if inode.sb.block_backed:
        return -EINVAL
    if not file.writable:
        return -EPERM
    if k.release.has(HIGH_BITS_ARE_EINVAL) and seals >> 32:
        return -EINVAL
    seals &= 0xFFFFFFFF
    if seals & ~k.release.known_seals:
        return -EINVAL
    async with inode.i_mutex:
        now = await inode.seals.load()
        if now & F_SEAL_SEAL:
            return -EPERM
        if seals & F_SEAL_WRITE and not now & F_SEAL_WRITE:
            error = await become_read_only(k, inode, Guarantee.SEALED)
            if error:
                return error
        await inode.seals.store(now | seals)
    return 0


async def memfd_get_seals(file: File) -> int:
    """fcntl(F_GET_SEALS).  Takes no lock."""
    return -EINVAL if file.inode.sb.block_backed else await file.inode.seals.load()


async def memfd_tag_pins(k: Kernel, mapping: AddressSpace, last: int) -> tuple[tuple[int, Page], ...]:
    """Every cached page that seems to have a reference beyond the cache's and the page tables', with its index."""
    tagged: list[tuple[int, Page]] = []
    for index in range(last):
        page = await mapping.slot(index).load()
        if page is not None and await has_extra_refs(k, page, tagging=True):
            tagged.append((index, page))
    return tuple(tagged)


async def has_extra_refs(k: Kernel, page: Page, *, tagging: bool = False) -> bool:
    """page_count(page) - page_mapcount(page) != 1: two loads, one after the other, and no lock between them."""
    extra = await page.refcount.load() - await page.mapcount.load() - 1
    return extra > 0 if tagging and not k.release.has(RECHECKS_ANY_DIFFERENCE) else extra != 0


async def memfd_wait_for_pins(k: Kernel, mapping: AddressSpace) -> int:
    """Wait up to about 150 ms for every pin to go: 0 or -EBUSY.  Called with i_mutex held, writers denied."""
    size = await inode_of(k, mapping).i_size.load()
    tagged = await memfd_tag_pins(k, mapping, -(-size // PAGE_SIZE))
    error = 0
    for scan in range(LAST_SCAN + 1):
        if not tagged:
            break
        if scan:
            jiffies = (HZ << scan) // 200
            await sleep(jiffies * 1_000_000_000 // HZ)
        still: list[tuple[int, Page]] = []
        for index, page in tagged:
            # A page that left the cache lost its tag with its slot.
            if await mapping.slot(index).load() is page and await has_extra_refs(k, page):
                still.append((index, page))
        tagged = tuple(still)
        if scan == LAST_SCAN and tagged:
            error = -EBUSY  # a page judged clean before is never looked at again
            break
    return error


def inode_of(k: Kernel, mapping: AddressSpace) -> Inode:
    """mapping->host."""
    return k.world.handle(Inode, mapping.name.removesuffix(".i_data"))
