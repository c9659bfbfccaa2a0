"""Page faults and the CPU's own loads and stores.

Follows mm/memory.c (handle_mm_fault, do_read_fault, do_cow_fault, do_shared_fault, do_wp_page) and
arch/x86/mm/fault.c (__do_page_fault), v3.17.  One instruction accesses one word.

Not modelled: anonymous mappings and the zero page, fault-around, PROT_NONE faults of NUMA balancing.
"""

from __future__ import annotations

import signal

import attrs

from mmsim.kernel.ext4 import ext4_page_mkwrite
from mmsim.kernel.filemap import filemap_fault, read_page, set_page_dirty
from mmsim.kernel.page_alloc import alloc_page, get_page, put_page
from mmsim.kernel.shmem import shmem_fault, write_page
from mmsim.kernel.tlb import begin_instruction, flush_tlb
from mmsim.kernel.types import VM_READ, VM_WRITE, Kernel, Mm, Page, Pte, TlbEntry, Vma
from mmsim.syscalls import PAGE_SIZE, SIGBUS, SIGSEGV


def find_vma(vmas: tuple[Vma, ...], address: int) -> Vma | None:
    """The VMA that holds `address`."""
    return next((vma for vma in vmas if vma.start <= address < vma.end), None)


async def handle_mm_fault(k: Kernel, mm: Mm, vma: Vma, address: int, *, write: bool) -> signal.Signals | None:
    """Make the page at `address` accessible, or say which signal to raise.  The caller holds mmap_lock for reading."""
    address &= -PAGE_SIZE
    pte = await mm.pte(address).load()
    if pte is not None:
        if write and not pte.write:
            if vma.shared and vma.file.inode.sb.block_backed:
                return await wp_page_shared(k, mm, vma, address, pte)
            await do_wp_page(k, mm, vma, address, pte)
        return None
    fault = filemap_fault if vma.file.inode.sb.block_backed else shmem_fault
    page = await fault(k, vma.file.inode, vma.index(address))
    if page is None:
        return SIGBUS
    if write and not vma.shared:
        copy = await copy_page(k, page)
        await page.lock.release()
        await put_page(k, page)
        await do_set_pte(k, mm, address, Pte(copy, write=True, dirty=True, anon=True))
        return None
    if vma.shared and vma.file.inode.sb.block_backed:
        return await map_noticed(k, mm, vma, address, page, write=write)
    # Shared and writable is mapped so at once, even for a load: shmem asks for no notice of the first store.
    await do_set_pte(k, mm, address, Pte(page, write=vma.shared and bool(vma.flags & VM_WRITE), dirty=write))
    # Unlocked only now: truncation, which needs the lock, must find the page either unmapped or in the page table.
    await page.lock.release()
    return None


async def map_noticed(k: Kernel, mm: Mm, vma: Vma, address: int, page: Page, *, write: bool) -> signal.Signals | None:
    """do_shared_fault() and do_read_fault() where the file system wants to hear of the first store."""
    if write:
        await page.lock.release()
        locked, fatal = await ext4_page_mkwrite(k, vma.file.inode, page, vma.index(address))
        if not locked:
            await put_page(k, page)
            return fatal
    await do_set_pte(k, mm, address, Pte(page, write=write, dirty=write))
    await page.lock.release()
    return None


async def wp_page_shared(k: Kernel, mm: Mm, vma: Vma, address: int, pte: Pte) -> signal.Signals | None:
    """A store to a shared page that is mapped read-only until the file system has heard of it."""
    cell = mm.pte(address)
    async with mm.page_table_lock:
        if not same_page(await cell.load(), pte):
            return None
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
    return fatal


def same_page(now: Pte | None, pte: Pte) -> bool:
    """Whether an entry still maps that page read-only."""
    return now is not None and (now.page, now.write) == (pte.page, False)


async def do_set_pte(k: Kernel, mm: Mm, address: int, pte: Pte) -> None:
    """Install a PTE and hand it the caller's reference, unless another thread was first."""
    async with mm.page_table_lock:
        first = await mm.pte(address).load() is None
        if first:
            await pte.page.mapcount.inc()
            await mm.pte(address).store(pte)
    if not first:
        await put_page(k, pte.page)


async def copy_page(k: Kernel, page: Page) -> Page:
    """copy_user_highpage(): a new page with the same content and one reference."""
    copy = await alloc_page(k)
    await write_page(k, copy, 0, await read_page(k, page, 0, PAGE_SIZE))
    return copy


async def do_wp_page(k: Kernel, mm: Mm, _vma: Vma, address: int, pte: Pte) -> None:
    """A store to a private page that is mapped read-only: reuse it if nobody else maps it, else copy it."""
    cell = mm.pte(address)
    async with mm.page_table_lock:
        now = await cell.load()
        if now is None or (now.page, now.write) != (pte.page, False):
            return
        if now.anon and await now.page.mapcount.load() == 1:
            await cell.store(Pte(now.page, write=True, dirty=True, anon=True))
            return
        await get_page(now.page)
    copy = await copy_page(k, pte.page)
    async with mm.page_table_lock:
        now = await cell.load()
        mine = now is not None and (now.page, now.write) == (pte.page, False)
        if mine:
            await cell.store(None)
            # Flushed before the copy appears: no thread may still read the old page after another wrote the new one.
            await flush_tlb(k, mm, (address,))
            await copy.mapcount.inc()
            await cell.store(Pte(copy, write=True, dirty=True, anon=True))
            await pte.page.mapcount.dec()
    await put_page(k, pte.page)
    await put_page(k, pte.page if mine else copy)


async def page_fault(k: Kernel, address: int, *, write: bool) -> signal.Signals | None:
    """__do_page_fault(): find the VMA, judge the access, repair the page table."""
    async with k.mm.mmap_lock.read():
        vma = find_vma(await k.mm.mmap.load(), address)
        if vma is None or not vma.flags & (VM_WRITE if write else VM_READ | VM_WRITE):
            return SIGSEGV
        return await handle_mm_fault(k, k.mm, vma, address, write=write)


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
