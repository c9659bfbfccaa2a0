"""Per-CPU caches of the LRU lists: pages that wait, with a reference, to be put on a list or to be moved to another.

Follows mm/swap.c (lru_cache_add, mark_page_accessed, activate_page, __pagevec_lru_add_fn, lru_add_drain,
lru_add_drain_all), v3.17.  A page added to the page cache stays in its CPU's cache until that is full or drained; one
that is read for the second time enters the cache of the CPU that read it, to be activated.  Both hold a reference that
belongs to no user of the page.

Whether a page is the one that fills its CPU's cache is open, for everybody else's pages go through there as well.
What `setup` made has been in use for a long time when the threads begin (`settle`): only pages that threads allocate
can wait in a cache.

Not modelled: the lists themselves and reclaim; PG_referenced (a page that was written has had its first access);
deactivation, rotation and mlock, which no system call here leads to; anonymous pages, whose references nobody counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmsim.cells import Cell, Handle, World
from mmsim.kernel.page_alloc import get_page, put_page
from mmsim.kernel.paths import learnable
from mmsim.kernel.types import CACHED, Kernel, Page
from mmsim.steps import choose

INACTIVE, ACTIVE = "inactive", "active"


class LruCache(Handle):
    """The pagevecs of one CPU, all of them together: they are drained together."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.pages: Cell[tuple[Page, ...]] = self.cell("pages", ())

    def holds(self, view: Any) -> Iterator[Page]:
        """The pages it holds a reference to, one by one."""
        yield from view[self.pages]


def lru_cache(k: Kernel, cpu: str) -> LruCache:
    """The cache of that CPU."""
    return k.world.handle(LruCache, f"{cpu}.lru_cache")


def one_more(pages: tuple[Page, ...], page: Page) -> tuple[Page, ...]:
    """pagevec_add()."""
    return (*pages, page)


async def _pagevec_add(k: Kernel, page: Page) -> None:
    await get_page(page)
    await lru_cache(k, k.cpu).pages.update(one_more, page)


@learnable
async def lru_cache_add(k: Kernel, page: Page) -> None:
    """A page was added to the page cache."""
    await _pagevec_add(k, page)
    if await choose(2):
        await lru_add_drain(k)


async def mark_page_accessed(k: Kernel, page: Page) -> None:
    """A file was read: a page on the inactive list is to be activated, which is put off."""
    if await page.lru.load() == INACTIVE and await page.lru.cmpxchg(INACTIVE, ACTIVE):
        await _pagevec_add(k, page)


@learnable
async def pagevec_lru_add_fn(k: Kernel, page: Page) -> None:
    """Put one page on the list it was meant for, and give the cache's reference back."""
    await page.lru.cmpxchg(CACHED, INACTIVE)
    await put_page(k, page)


@learnable
async def _drain_cpu(k: Kernel, cpu: str) -> None:
    for page in await lru_cache(k, cpu).pages.exchange(()):
        await pagevec_lru_add_fn(k, page)


async def lru_add_drain(k: Kernel) -> None:
    """Empty this CPU's cache."""
    await _drain_cpu(k, k.cpu)


async def lru_add_drain_all(k: Kernel) -> None:
    """Have every CPU empty its cache, one after the other; while `setup` runs there is no other."""
    online = tuple(cpu for _, cpus in k.cpus.of for cpu in cpus)
    for cpu in online if k.cpu in online else (k.cpu,):
        await _drain_cpu(k, cpu)


async def settle(k: Kernel, pages: tuple[Page, ...]) -> None:
    """A long time passes: no page waits in this CPU's cache, and these, read again and again, are active."""
    await lru_add_drain(k)
    for page in pages:
        await page.lru.store(ACTIVE)
