"""Page faults and the CPU's own loads and stores.

Follows mm/memory.c (handle_mm_fault, do_read_fault, do_cow_fault, do_shared_fault, do_wp_page) and
arch/x86/mm/fault.c (__do_page_fault), v3.17, and where a private mapping is of hugetlbfs mm/hugetlb.c
(hugetlb_no_page).  One instruction accesses one word.  A fault is answered with VM_FAULT_ bits, for get_user_pages()
has to know whether a private page was made (VM_FAULT_WRITE).

From v5.19 on a private page that one page table alone maps is marked PG_ANON_EXCLUSIVE: it may be written in place,
whoever else holds a reference.  The mark is set on a page before its PTE is, and fork() takes it away.

Not modelled: small anonymous pages and the small zero page, fault-around, PROT_NONE faults of NUMA balancing.
"""

from __future__ import annotations

import signal

import attrs

from mmsim.kernel.ext4 import ext4_page_mkwrite
from mmsim.kernel.filemap import filemap_fault, read_page, set_page_dirty
from mmsim.kernel.huge_memory import get_huge_zero_page, vma_is_anonymous
from mmsim.kernel.migrate import migration_entry_wait
from mmsim.kernel.page_alloc import alloc_page, get_page, put_page
from mmsim.kernel.paths import learnable
from mmsim.kernel.releases import ANON_EXCLUSIVE, REUSES_BY_MAPCOUNT, UDMABUF_MAPS_PFNS, USER_MODE
from mmsim.kernel.shmem import beyond_end, is_hole, shmem_fault, write_page
from mmsim.kernel.tlb import begin_instruction, flush_tlb
from mmsim.kernel.types import (
    HPAGE_PMD_NR,
    PG_ANON_EXCLUSIVE,
    VM_READ,
    VM_UFFD,
    VM_UFFD_MINOR,
    VM_UFFD_MISSING,
    VM_WRITE,
    Kernel,
    Mm,
    Page,
    Pte,
    TlbEntry,
    Vma,
)
from mmsim.kernel.udmabuf import udmabuf_vm_fault
from mmsim.syscalls import PAGE_SIZE, SIGBUS, SIGSEGV

VM_FAULT_OOM, VM_FAULT_SIGBUS, VM_FAULT_WRITE, VM_FAULT_RETRY = 0x1, 0x2, 0x8, 0x400


def find_vma(vmas: tuple[Vma, ...], address: int) -> Vma | None:
    """The VMA that holds `address`."""
    return next((vma for vma in vmas if vma.start <= address < vma.end), None)


@learnable
async def handle_mm_fault(k: Kernel, mm: Mm, vma: Vma, address: int, *, write: bool, unshare: bool = False) -> int:
    """Make the page at `address` accessible: VM_FAULT_ bits.  The caller holds mmap_lock for reading.

    A `write` that the mapping does not allow (FOLL_FORCE) gets a private copy all the same, mapped read-only.
    """
    address &= -PAGE_SIZE
    pte = await mm.pte(address).load()
    if pte is not None:
        if pte.migrating:
            await migration_entry_wait(k, mm, address, pte)
            return 0
        if write and not pte.write and vma.shared and vma.file.inode.sb.block_backed:
            return await wp_page_shared(k, mm, vma, address, pte)
        if unshare or (write and not pte.write):
            return await do_wp_page(k, mm, vma, address, pte, unshare=unshare)
        return 0
    if vma_is_anonymous(vma):
        await do_set_pte(k, mm, address, await do_huge_pmd_anonymous_page(k, vma, write=write))
        return 0
    if vma.flags & VM_UFFD and await userfault_due(vma, address):
        return VM_FAULT_RETRY
    if vma.file.inode.sb.kind == "dma-buf" and k.release.has(UDMABUF_MAPS_PFNS):
        return await vmf_insert_pfn(mm, vma, address, write=write)
    if vma.hugetlb and vma.cow:
        fault = await hugetlb_no_page(k, mm, vma, address, write=write)
        if fault is not None:
            return fault
    page = await vma_fault(k, vma, vma.index(address))
    if page is None:
        return VM_FAULT_SIGBUS
    if write and not vma.shared:
        copy = await new_anon_page(k, page)
        await do_set_pte(k, mm, address, anon_pte(vma, copy))
        # Unlocked only now: truncation unmaps once more after it had the lock, and must find the copy.
        await page.lock.release()
        await put_page(k, page)
        return 0
    if vma.shared and vma.file.inode.sb.block_backed:
        return await map_noticed(k, mm, vma, address, page, write=write)
    # Shared and writable is mapped so at once, even for a load: shmem asks for no notice of the first store.
    await do_set_pte(k, mm, address, Pte(page, write=vma.shared and bool(vma.flags & VM_WRITE), dirty=write))
    # Unlocked only now: truncation, which needs the lock, must find the page either unmapped or in the page table.
    await page.lock.release()
    return 0


async def hugetlb_no_page(k: Kernel, mm: Mm, vma: Vma, address: int, *, write: bool) -> int | None:
    """What a private mapping finds in a hole, even to read: a page of its own.  None: there is no hole.

    i_mmap_mutex stands for what keeps truncation away from here (i_mmap_rwsem, and hugetlb_vma_lock since v6.1).
    """
    inode, index = vma.file.inode, vma.index(address)
    async with inode.mapping.i_mmap_mutex:
        if not await is_hole(inode, index):
            return None
        if await beyond_end(k, inode, index, made=True):
            return VM_FAULT_SIGBUS
        page = await alloc_page(k)
        await set_anon_exclusive(k, page)
        await do_set_pte(k, mm, address, anon_pte(vma, page, unshare=not write))
    return 0


async def userfault_due(vma: Vma, address: int) -> bool:
    """Whether a userfaultfd was promised this fault: of a page that is missing, or of one that only is not mapped."""
    cached = await vma.file.inode.mapping.slot(vma.index(address)).load() is not None
    return bool(vma.flags & (VM_UFFD_MINOR if cached else VM_UFFD_MISSING))


def present(pte: Pte | None) -> bool:
    """Whether there is a page."""
    return pte is not None


async def do_huge_pmd_anonymous_page(k: Kernel, vma: Vma, *, write: bool) -> Pte:
    """The entry for memory that nobody has touched: zeros that are everybody's to read, or one's own to write."""
    if not write:
        return Pte(await get_huge_zero_page(k), write=False, huge=True)
    page = await alloc_page(k, HPAGE_PMD_NR)
    await set_anon_exclusive(k, page)
    return attrs.evolve(anon_pte(vma, page), huge=True)


async def vma_fault(k: Kernel, vma: Vma, index: int) -> Page | None:
    """vma->vm_ops->fault: the page, locked and with a reference; None beyond the end."""
    inode = vma.file.inode
    if inode.sb.kind == "dma-buf":
        return await udmabuf_vm_fault(inode, index)
    return await (filemap_fault if inode.sb.block_backed else shmem_fault)(k, inode, index)


async def vmf_insert_pfn(mm: Mm, vma: Vma, address: int, *, write: bool) -> int:
    """Map a page of a dma-buf, which keeps its own reference to it as long as it is mapped."""
    page = await vma.file.inode.mapping.slot(vma.index(address)).load()
    if page is None:
        return VM_FAULT_SIGBUS
    pte = Pte(page, write=bool(vma.flags & VM_WRITE), dirty=write, special=True)
    async with mm.page_table_lock:
        await mm.pte(address).cmpxchg(None, pte)
    return 0


async def map_noticed(k: Kernel, mm: Mm, vma: Vma, address: int, page: Page, *, write: bool) -> int:
    """do_shared_fault() and do_read_fault() where the file system wants to hear of the first store."""
    if write:
        await page.lock.release()
        locked, fatal = await ext4_page_mkwrite(k, vma.file.inode, page, vma.index(address))
        if not locked:
            await put_page(k, page)
            return VM_FAULT_SIGBUS if fatal else 0
    await do_set_pte(k, mm, address, Pte(page, write=write, dirty=write))
    await page.lock.release()
    return 0


async def wp_page_shared(k: Kernel, mm: Mm, vma: Vma, address: int, pte: Pte) -> int:
    """A store to a shared page that is mapped read-only until the file system has heard of it."""
    cell = mm.pte(address)
    async with mm.page_table_lock:
        if not same_page(await cell.load(), pte):
            return 0
        await get_page(pte.page)
    locked, fatal = await ext4_page_mkwrite(k, vma.file.inode, pte.page, vma.index(address))
    if locked:
        async with mm.page_table_lock:
            if same_page(await cell.load(), pte):
                await cell.store(attrs.evolve(pte, write=True, dirty=True))
        # Marked once more: the entry is dirty now, and nothing but the page lock kept writeback away until here.
        await set_page_dirty(pte.page)
        await pte.page.lock.release()
    await put_page(k, pte.page)
    return VM_FAULT_SIGBUS if fatal else 0


def same_page(now: Pte | None, pte: Pte) -> bool:
    """Whether an entry still maps that page read-only."""
    return now is not None and not now.migrating and (now.page, now.write) == (pte.page, False)


@learnable
async def do_set_pte(k: Kernel, mm: Mm, address: int, pte: Pte) -> None:
    """Install a PTE and hand it the caller's reference, unless another thread was first."""
    async with mm.page_table_lock:
        first = await mm.pte(address).load() is None
        if first:
            await pte.page.mapcount.inc()
            await mm.pte(address).store(pte)
    if not first:
        await put_page(k, pte.page)


async def copy_page(k: Kernel, page: Page, nr_pages: int = 1) -> Page:
    """copy_user_highpage(): a new page with the same content and one reference."""
    copy = await alloc_page(k, nr_pages)
    await write_page(k, copy, 0, await read_page(k, page, 0, PAGE_SIZE))
    return copy


async def new_anon_page(k: Kernel, page: Page, nr_pages: int = 1) -> Page:
    """A private copy, which nobody else maps."""
    copy = await copy_page(k, page, nr_pages)
    await set_anon_exclusive(k, copy)
    return copy


async def set_anon_exclusive(k: Kernel, page: Page) -> None:
    """SetPageAnonExclusive()."""
    if k.release.has(ANON_EXCLUSIVE):
        await page.flags.test_and_set(PG_ANON_EXCLUSIVE)


async def anon_exclusive(k: Kernel, page: Page) -> bool:
    """PageAnonExclusive(), of a page of a private mapping."""
    return k.release.has(ANON_EXCLUSIVE) and PG_ANON_EXCLUSIVE in await page.flags.load()


def anon_pte(vma: Vma, page: Page, *, unshare: bool = False) -> Pte:
    """maybe_mkwrite(): writable only if the mapping is, however much the fault was to write."""
    return Pte(page, write=bool(vma.flags & VM_WRITE) and not unshare, dirty=not unshare, anon=True)


async def is_mine_alone(k: Kernel, page: Page) -> bool:
    """Whether a private page may be written where it is: a pipe that still refers to it must not see the store."""
    count = page.mapcount if k.release.has(REUSES_BY_MAPCOUNT) else page.refcount
    return await count.load() == 1


async def do_wp_page(k: Kernel, mm: Mm, vma: Vma, address: int, pte: Pte, *, unshare: bool = False) -> int:
    """A store to a private page that is mapped read-only: reuse it if nobody else maps it, else copy it.

    `unshare` is the same for a reader who wants to keep the page: it becomes his own, and is not made writable.
    """
    cell = mm.pte(address)
    done = 0 if unshare else VM_FAULT_WRITE
    async with mm.page_table_lock:
        now = await cell.load()
        if now is None or now != pte:
            return 0
        if now.anon and (await anon_exclusive(k, now.page) or await is_mine_alone(k, now.page)):
            await set_anon_exclusive(k, now.page)
            if not unshare:
                await cell.store(attrs.evolve(anon_pte(vma, now.page), huge=now.huge))
            return done
        await get_page(now.page)
    copy = await new_anon_page(k, pte.page, HPAGE_PMD_NR if pte.huge else 1)
    async with mm.page_table_lock:
        mine = await cell.load() == pte
        if mine:
            await cell.store(None)
            # Flushed before the copy appears: no thread may still read the old page after another wrote the new one.
            await flush_tlb(k, mm, (address,))
            await copy.mapcount.inc()
            await cell.store(attrs.evolve(anon_pte(vma, copy, unshare=unshare), huge=pte.huge))
            await pte.page.mapcount.dec()
    await put_page(k, pte.page)
    await put_page(k, pte.page if mine else copy)
    return done if mine else 0


def readable(k: Kernel) -> int:
    """Any of these flags lets a load fault its page in.  x86 maps nothing to be written only; arch/um looks at the VMA.

    Of a page that is mapped already even arch/um does not look at it, unless it has to map the page again on its host,
    which fork(), mremap() and fault-around decide and the model does not know of.
    """
    return VM_READ if k.release.built(USER_MODE) else VM_READ | VM_WRITE


async def page_fault(k: Kernel, address: int, *, write: bool) -> signal.Signals | None:
    """__do_page_fault(): find the VMA, judge the access, repair the page table."""
    async with k.mm.mmap_lock.read():
        vma = find_vma(await k.mm.mmap.load(), address)
        if vma is None or not vma.flags & (VM_WRITE if write else readable(k)):
            return SIGSEGV
        fault = await handle_mm_fault(k, k.mm, vma, address, write=write)
    if fault & VM_FAULT_RETRY:
        await k.mm.pte(address).wait_until(present)  # handle_userfault(): until somebody has resolved it
    return SIGBUS if fault & VM_FAULT_SIGBUS else None


async def instruction(k: Kernel, address: int, data: bytes | None, length: int) -> bytes | signal.Signals | None:
    """Load `length` bytes at `address`, or store `data`; within one word.  The bytes, None, or a signal."""
    mm = k.mm
    write = data is not None
    tlb = mm.tlb(k.cpu, address)
    while True:
        pte: Pte | None = await tlb.fetch_update(begin_instruction)
        if pte is None or not pte.allows(write=write) or (write and not pte.dirty):
            pte = await walk(mm, address, write=write)
        if pte is not None:
            start = address % PAGE_SIZE
            if data is None:
                got: bytes | None = await read_page(k, pte.page, start, start + length)
            else:
                got = None
                await write_page(k, pte.page, start, data)
            await tlb.store(TlbEntry(pte))
            return got
        await tlb.store(TlbEntry())
        fatal = await page_fault(k, address, write=write)
        if fatal is not None:
            return fatal


async def walk(mm: Mm, address: int, *, write: bool) -> Pte | None:
    """The hardware's page walk: the PTE, with its dirty bit set by a store; None if it faults."""
    cell = mm.pte(address)
    while True:
        pte = await cell.load()
        if pte is None or not pte.allows(write=write):
            return None
        if not write or pte.dirty:
            return pte
        dirty = attrs.evolve(pte, dirty=True)
        if await cell.cmpxchg(pte, dirty):
            return dirty


async def load_memory(k: Kernel, address: int, length: int) -> bytes | signal.Signals:
    """Load `length` bytes as the CPU does, word by word."""
    parts = b""
    while length > 0:
        size = min(length, k.word_size - address % k.word_size)
        got = await instruction(k, address, None, size)
        if not isinstance(got, bytes):
            assert got is not None
            return got
        parts += got
        address += size
        length -= size
    return parts


async def store_memory(k: Kernel, address: int, data: bytes) -> signal.Signals | None:
    """Store `data` as the CPU does, word by word."""
    while data:
        size = min(len(data), k.word_size - address % k.word_size)
        fault = await instruction(k, address, data[:size], size)
        if fault is not None:
            assert not isinstance(fault, bytes)
            return fault
        address += size
        data = data[size:]
    return None
