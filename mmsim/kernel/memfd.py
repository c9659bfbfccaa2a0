"""memfd_create() and sealing.

Follows mm/shmem.c of v3.17 (memfd_create, shmem_add_seals, shmem_tag_pins, shmem_wait_for_pins), which is mm/memfd.c
under the names used here since v4.18, and for the younger flags and seals v6.12 and v7.3.

A file of huge pages (MFD_HUGETLB) lives on hugetlbfs.  One of its pages is one `Page` here, PAGE_SIZE bytes long: no
rule about seals depends on how large a page is, and the page cache holds one reference to it as to any other.

The tag of a page is not a cell but a local of the sealing thread: only code that holds this inode's i_mutex sets,
reads or clears PAGECACHE_TAG_TOWRITE on a shmem mapping, so nobody else can tell.

Not modelled: signals that cut a sleep short; MFD_HUGETLB without seals (v4.14 and v4.15).
"""

from __future__ import annotations

import functools

from mmsim.cells import World
from mmsim.kernel.inode import inode_init_always
from mmsim.kernel.readonly import become_read_only
from mmsim.kernel.releases import (
    ASKS_THE_FILE_SYSTEM_FIRST,
    EXEC_IMPLIES_WRITE_UNASKED,
    HAS_SEAL_EXEC,
    HIGH_BITS_ARE_EINVAL,
    HUGETLB_MEMFDS,
    RECHECKS_ANY_DIFFERENCE,
)
from mmsim.kernel.slab import kmem_cache_alloc
from mmsim.kernel.strategy import Guarantee
from mmsim.kernel.swap import lru_add_drain, lru_add_drain_all
from mmsim.kernel.types import AddressSpace, File, Inode, Kernel, Page, SuperBlock
from mmsim.steps import sleep
from mmsim.syscalls import (
    EBUSY,
    EINVAL,
    EPERM,
    F_SEAL_EXEC,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_GROW,
    F_SEAL_SEAL,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    MFD_ALLOW_SEALING,
    MFD_CLOEXEC,
    MFD_EXEC,
    MFD_HUGETLB,
    MFD_NOEXEC_SEAL,
    PAGE_SIZE,
)

F_ALL_IMPLIED_BY_EXEC = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE
HUGE_SIZES = 0x3F << 26
"""The bits in which MFD_HUGETLB says how large its pages are to be."""
ANY_X = 0o111
SEALABLE = ("tmpfs", "hugetlbfs")

HZ = 250
LAST_SCAN = 4
MFD_NAME_MAX_LEN = 249


def known_flags(k: Kernel, flags: int) -> int:
    """The flags that memfd_create() accepts together with these."""
    known = MFD_CLOEXEC | MFD_ALLOW_SEALING
    if k.release.has(HUGETLB_MEMFDS):
        known |= MFD_HUGETLB | (HUGE_SIZES if flags & MFD_HUGETLB else 0)
    return known | (MFD_EXEC | MFD_NOEXEC_SEAL if k.release.has(HAS_SEAL_EXEC) else 0)


def hugetlb_inode(world: World, name: str) -> Inode:
    """hugetlb_file_setup(): an inode of the kernel's own hugetlbfs."""
    return Inode(world, name, world.handle(functools.partial(SuperBlock, kind="hugetlbfs"), "hugetlbfs_mnt"))


async def memfd_create(k: Kernel, name: str, flags: int) -> File | int:
    """A new file of size 0, sealed against sealing unless MFD_ALLOW_SEALING or MFD_NOEXEC_SEAL is given."""
    if flags & ~known_flags(k, flags) or (flags & MFD_EXEC and flags & MFD_NOEXEC_SEAL):
        return -EINVAL
    if len(name.encode()) > MFD_NAME_MAX_LEN:
        return -EINVAL
    hugetlb = flags & MFD_HUGETLB
    inode = await kmem_cache_alloc(k, "memfds", new_inode, name, hugetlb)
    file = k.world.handle(functools.partial(File, inode=inode), inode.name.removesuffix(".inode"))
    if k.reuses:
        await inode_init_always(inode)
        await file.f_pos.store(0)
    if flags & MFD_NOEXEC_SEAL:
        await inode.i_mode.store(inode.i_mode.initial & ~ANY_X)
        await inode.seals.store(F_SEAL_EXEC)
    elif not flags & MFD_ALLOW_SEALING:
        await inode.seals.store(F_SEAL_SEAL)
    return file


def new_inode(k: Kernel, number: int, name: str, hugetlb: int) -> Inode:
    """The inode of this CPU's memfd of that number; a file's name is no part of who it is, for others may have it."""
    whose = "" if k.cpu == "setup" else f"{k.cpu}."
    full_name = f"{whose}memfd{f'#{number}' if number else ''}:{name}.inode"
    return k.world.handle(hugetlb_inode if hugetlb else Inode, full_name)


async def memfd_add_seals(k: Kernel, file: File, seals: int) -> int:
    """fcntl(F_ADD_SEALS): all of the seals are set, or none."""
    inode = file.inode
    if k.release.has(HIGH_BITS_ARE_EINVAL) and seals >> 32:
        return -EINVAL
    seals &= 0xFFFFFFFF
    sealable = inode.sb.kind in SEALABLE
    if k.release.has(ASKS_THE_FILE_SYSTEM_FIRST) and not sealable:
        return -EINVAL
    if not file.writable:
        return -EPERM
    if seals & ~k.release.known_seals:
        return -EINVAL
    async with inode.i_mutex:
        if not sealable:
            return -EINVAL
        now = await inode.seals.load()
        if now & F_SEAL_SEAL:
            return -EPERM
        implied = F_ALL_IMPLIED_BY_EXEC if seals & F_SEAL_EXEC and await inode.i_mode.load() & ANY_X else 0
        # Before the next test: what is implied must be asked for like what was asked for.
        if not k.release.has(EXEC_IMPLIES_WRITE_UNASKED):
            seals |= implied
        if seals & F_SEAL_WRITE and not now & F_SEAL_WRITE:
            error = await become_read_only(k, inode, Guarantee.SEALED)
            if error:
                return error
        await inode.seals.store(now | seals | implied)
    return 0


async def memfd_get_seals(_k: Kernel, file: File) -> int:
    """fcntl(F_GET_SEALS).  Takes no lock."""
    return await file.inode.seals.load() if file.inode.sb.kind in SEALABLE else -EINVAL


async def memfd_tag_pins(k: Kernel, mapping: AddressSpace, last: int) -> tuple[tuple[int, Page], ...]:
    """Every cached page that seems to have a reference beyond the cache's and the page tables', with its index."""
    await lru_add_drain(k)
    tagged: list[tuple[int, Page]] = []
    for index in range(last):
        page = await mapping.slot(index).load()
        if page is not None and await has_extra_refs(k, page, tagging=True):
            tagged.append((index, page))
    return tuple(tagged)


async def has_extra_refs(k: Kernel, page: Page, *, tagging: bool = False) -> bool:
    """page_count(page) - page_mapcount(page) != 1: two loads, one after the other, and no lock between them.

    1 is what the cache has of a small page; before v5.17 a huge one, of which it has more, always looked pinned.
    """
    cached = page.nr_pages if k.release.has(RECHECKS_ANY_DIFFERENCE) else 1
    extra = await page.refcount.load() - await page.mapcount.load() - cached
    return extra > 0 if tagging and not k.release.has(RECHECKS_ANY_DIFFERENCE) else extra != 0


async def memfd_wait_for_pins(k: Kernel, mapping: AddressSpace) -> int:
    """Wait up to about 150 ms for every pin to go: 0 or -EBUSY.  Called with i_mutex held, writers denied."""
    size = await inode_of(k, mapping).i_size.load()
    tagged = await memfd_tag_pins(k, mapping, -(-size // PAGE_SIZE))
    error = 0
    for scan in range(LAST_SCAN + 1):
        if not tagged:
            break
        if not scan:
            await lru_add_drain_all(k)  # once: what enters a CPU's cache later on stays there through all the scans
        else:
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
