"""Pages: allocating, referring to, freeing.

Follows mm/page_alloc.c (per-CPU lists) and mm/swap.c (put_page), v3.17.  Each CPU makes its own pages, so that
allocation conflicts with nobody, as per-CPU lists are there to achieve.  A free page is poisoned, word by word, and
is not handed out again while the checker looks (`mmsim.kernel.slab`): a use after free is a bug in the model whether or
not somebody else got the page meanwhile, so nothing is hidden by leaving reuse out, and gup's second look at the PTE is
judged by who owns the page.

Not modelled: reclaim, the buddy allocator and running out of memory, because no scenario is about them yet.
"""

from __future__ import annotations

from functools import partial

from mmsim.kernel.paths import learnable
from mmsim.kernel.slab import kmem_cache_alloc, kmem_cache_free
from mmsim.kernel.types import CACHED, POISON, AddressSpace, Kernel, Page
from mmsim.steps import KernelBug

ONE_REFERENCE = 1


@learnable
async def alloc_page(k: Kernel, nr_pages: int = 1) -> Page:
    """A page of zeros with one reference."""
    page = await kmem_cache_alloc(k, "pages", new_page, nr_pages)
    if k.reuses:
        # What free_pages_prepare() and __page_cache_release() clear of page->flags.
        await page.flags.store(frozenset())
        await page.lru.store(CACHED)
    for word in k.words:
        await page.word(word).store(bytes(k.word_size))
    await page.refcount.store(ONE_REFERENCE)
    return page


def new_page(k: Kernel, number: int, nr_pages: int) -> Page:
    """The page of that number that this CPU makes."""
    return k.world.handle(partial(Page, nr_pages=nr_pages), f"{k.cpu}.page[{number}]")


async def get_page(page: Page) -> None:
    """One more reference to a page that has some."""
    await page.refcount.get_reference()


async def put_page(k: Kernel, page: Page) -> None:
    """Give back a reference as the strategy does it; may run in an interrupt."""
    await k.strategy.put_page(k, page)


async def drop_reference(k: Kernel, page: Page) -> None:
    """put_page() of Linux: the last reference frees the page.  Safe in any context: atomics only."""
    if await page.refcount.dec_and_test():
        await free_page(k, page)


async def free_page(k: Kernel, page: Page) -> None:
    """__free_page(): nobody has a reference any more."""
    for word in k.words:
        await page.word(word).update(poisoned)
    await kmem_cache_free(page)


def poisoned(old: bytes) -> bytes:
    """A word of a page that is freed.  A bug if it is free already: somebody got his reference from nowhere."""
    if old == POISON:
        msg = "a page is freed that is free already"
        raise KernelBug(msg)
    return POISON


async def get_cache_references(page: Page) -> None:
    """The page cache has a reference for each page of a huge one; the caller has taken the first."""
    if page.nr_pages > 1:
        await page.refcount.add(page.nr_pages - 1)


async def put_cache_references(page: Page) -> None:
    """All of them but the first, which is left for the caller to give back."""
    if page.nr_pages > 1:
        await page.refcount.add(1 - page.nr_pages)


async def delete_from_page_cache(page: Page, mapping: AddressSpace, index: int) -> None:
    """Undo add_to_page_cache(): the cache's reference is the caller's again, who holds the page's lock."""
    await page.mapping.store(None)
    await mapping.slot(index).store(None)
    await put_cache_references(page)
