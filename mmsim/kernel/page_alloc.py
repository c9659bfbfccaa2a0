"""Pages: allocating, referring to, freeing.

Follows mm/page_alloc.c (per-CPU lists) and mm/swap.c (put_page), v3.17.  Each CPU makes its own pages, so that
allocation conflicts with nobody, as per-CPU lists are there to achieve.  A free page is poisoned, word by word, and
is not handed out again: a use after free is a bug in the model whether or not somebody else got the page meanwhile,
so nothing is hidden by leaving reuse out, and gup's second look at the PTE is judged by who owns the page.

Not modelled: reclaim, the buddy allocator and running out of memory, because no scenario is about them yet.
"""

from __future__ import annotations

from functools import partial

from mmsim.kernel.types import POISON, AddressSpace, Kernel, Page
from mmsim.steps import KernelBug

ONE_REFERENCE = 1


async def alloc_page(k: Kernel, nr_pages: int = 1) -> Page:
    """A page of zeros with one reference."""
    number = await k.number("pages_made")
    page = k.world.handle(partial(Page, nr_pages=nr_pages), f"{k.cpu}.page[{number}]")
    for word in k.words:
        await page.word(word).store(bytes(k.word_size))
    await page.refcount.store(ONE_REFERENCE)
    return page


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
