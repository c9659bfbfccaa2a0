"""Page migration: giving a file's page another place in memory while nobody but the page cache holds it.

Follows mm/migrate.c (unmap_and_move, migrate_page_move_mapping, remove_migration_ptes, migration_entry_wait), v3.17,
and mm/rmap.c (try_to_unmap_one with TTU_MIGRATION).  First every PTE becomes a migration entry, then the reference
count is frozen at exactly what the cache and the migration account for: whoever holds one more makes it fail, and
while it is frozen nobody can get one.  The PTEs go first: what get_user_pages() took through one shows in the count,
and no CPU stores any more into a page that has been copied.

The copy is made while the count is frozen.  Linux makes it under the page lock alone, which everybody who looks into
the page waits for there; here a lookup takes no page lock, and the frozen count holds him back instead.

Not modelled: anonymous and huge pages, the ten passes of migrate_pages(), tree_lock (of those who change a slot all
hold the page's lock, and those who look hold RCU alone).
"""

from __future__ import annotations

import attrs

from mmsim.errors import UserError
from mmsim.kernel.filemap import read_page, set_page_dirty, unlock_and_put
from mmsim.kernel.page_alloc import alloc_page, get_page, put_page
from mmsim.kernel.page_ref import page_ref_freeze, page_ref_unfreeze, spin_while_frozen
from mmsim.kernel.releases import WAITS_WITHOUT_REFERENCE
from mmsim.kernel.shmem import write_page
from mmsim.kernel.strategy import counted
from mmsim.kernel.swap import lru_add_drain_all
from mmsim.kernel.tlb import flush_tlb
from mmsim.kernel.truncate import place_in_tree
from mmsim.kernel.types import AddressSpace, Inode, InPlaceOf, Kernel, Mm, Page, Pte, Vma
from mmsim.syscalls import EACCES, EAGAIN, EBUSY, EFAULT, ENOENT, PAGE_SIZE

CACHE_AND_ISOLATION = 2
"""The references of a page that is unmapped and isolated from the LRU lists, if nobody else has one."""


async def replace_page_in_cache(mapping: AddressSpace, index: int, old: Page, new: Page) -> None:
    """Put `new` where `old` is, whose lock the caller holds; the cache's reference to `old` is the caller's now."""
    await new.mapping.store(mapping)
    await new.index.store(index)
    await get_page(new)  # before it can be seen, as any page added to the cache
    await mapping.slot(index).store(new)
    await old.mapping.store(None)


async def migrate_page_copy(k: Kernel, old: Page, new: Page) -> None:
    """Content and flags, of a page that is frozen."""
    await write_page(k, new, 0, await read_page(k, old, 0, PAGE_SIZE))
    await new.flags.store(await old.flags.load() | {InPlaceOf(old)})


def places(vmas: frozenset[tuple[Mm, Vma]], index: int) -> tuple[tuple[Mm, Vma, int], ...]:
    """rmap_walk_file(): every mm, VMA and address at which page `index` of the file would be mapped."""
    found = ((mm, vma, vma.address_of(index)) for mm, vma in sorted(vmas, key=place_in_tree))
    return tuple((mm, vma, address) for mm, vma, address in found if address is not None)


async def try_to_unmap(k: Kernel, mapping: AddressSpace, index: int, page: Page) -> None:
    """Make every PTE of the page a migration entry, which holds no reference and no map count."""
    async with mapping.i_mmap_mutex:
        for mm, vma, address in places(await mapping.i_mmap.load(), index):
            slot = mm.pte(address)
            async with mm.page_table_lock:
                pte = await slot.load()
                mapped = pte is not None and pte.page is page and not pte.migrating
                if pte is not None and mapped:
                    old = await slot.exchange(attrs.evolve(pte, migrating=True))
                    # Before the freeze: a store through a TLB after the copy would be lost with the old page.
                    await flush_tlb(k, mm, (address,))
                    if old is not None and old.dirty:
                        await set_page_dirty(page)
                    await page.mapcount.dec()
            if mapped:
                # A munmap() that finds the migration entry finds no page.  The mapping is still linked, so it counts.
                if counted(k, vma.flags):
                    await k.strategy.after_zap_writable(k, mm, vma, (page,))
                await put_page(k, page)


async def remove_migration_ptes(mapping: AddressSpace, index: int, old: Page, new: Page) -> None:
    """Make every migration entry of `old` a PTE of `new`; they are the same page where the migration failed."""
    async with mapping.i_mmap_mutex:
        for mm, _, address in places(await mapping.i_mmap.load(), index):
            slot = mm.pte(address)
            async with mm.page_table_lock:
                pte = await slot.load()
                if pte is not None and pte.page is old and pte.migrating:
                    await get_page(new)
                    await new.mapcount.inc()
                    await slot.store(attrs.evolve(pte, page=new, migrating=False))


async def migration_entry_wait(k: Kernel, mm: Mm, address: int, pte: Pte) -> None:
    """A fault met a migration entry: wait until the page is unlocked, and let the access be tried again."""
    referred = not k.release.has(WAITS_WITHOUT_REFERENCE)
    async with mm.page_table_lock:
        there = await mm.pte(address).load() == pte
        waits = there and (not referred or await pte.page.refcount.inc_not_zero())
    if waits:
        async with pte.page.lock:  # wait_on_page_locked(), which takes it for a moment here
            pass
        if referred:
            await put_page(k, pte.page)
    elif there:
        # Linux faults again and again.
        await spin_while_frozen(pte.page)


async def migrate_page(k: Kernel, page: Page) -> int:
    """unmap_and_move() of a page of which the caller holds a reference: 0, or -EAGAIN where others hold one too."""
    error = -EAGAIN
    async with page.lock:
        mapping, index = await page.mapping.load(), await page.index.load()
        if mapping is None or page.nr_pages > 1:
            return error  # truncated meanwhile; or huge
        await try_to_unmap(k, mapping, index, page)
        new = page
        if await page_ref_freeze(page, CACHE_AND_ISOLATION):
            new = await alloc_page(k)
            # Locked before it can be seen: who takes it out of the cache must find all page tables that have it.
            await new.lock.acquire()
            await migrate_page_copy(k, page, new)
            await replace_page_in_cache(mapping, index, page, new)
            await page_ref_unfreeze(page, CACHE_AND_ISOLATION - 1)
            error = 0
        await remove_migration_ptes(mapping, index, page, new)
    if not error:
        await unlock_and_put(k, new)  # the cache and the page tables have references of their own by now
    return error


async def isolate_and_migrate(k: Kernel, page: Page) -> int:
    """Migrate a page with the reference that the caller took to isolate it, and give that back."""
    error = await migrate_page(k, page)
    await put_page(k, page)
    return error


async def move_pages(k: Kernel, address: int) -> int:
    """move_pages(2) of one page of the caller's own: 0, -EFAULT, -ENOENT, -EACCES (others map it too) or -EBUSY."""
    await lru_add_drain_all(k)  # migrate_prep(): a page in a CPU's cache cannot be isolated
    mm = k.mm
    async with mm.mmap_lock.read():
        if not any(vma.start <= address < vma.end for vma in await mm.mmap.load()):
            return -EFAULT
        async with mm.page_table_lock:
            pte = await mm.pte(address).load()
            if pte is None or pte.migrating:
                return -ENOENT
            if pte.anon:
                msg = "move_pages() of a private copy is not modelled"
                raise UserError(msg)
            await get_page(pte.page)
        shared = await pte.page.mapcount.load() > 1
    if shared:
        await put_page(k, pte.page)
        return -EACCES
    return -EBUSY if await isolate_and_migrate(k, pte.page) else 0


async def compact_memory(k: Kernel, inodes: tuple[Inode, ...]) -> None:
    """/proc/sys/vm/compact_memory: migrate every cached page of these files that can be."""
    await lru_add_drain_all(k)
    for inode in inodes:
        for index in range(-(-await inode.i_size.load() // PAGE_SIZE)):
            page = await inode.mapping.slot(index).load()
            # Compaction comes by PFN and has to get a reference before it may look, as isolate_migratepages_block().
            if page is not None and await page.refcount.inc_not_zero():
                await isolate_and_migrate(k, page)
