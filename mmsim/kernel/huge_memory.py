"""Huge pages of anonymous memory, and the one page of zeros that everybody reads who has not written yet.

Follows mm/huge_memory.c (get_huge_zero_page, touch_pmd), v4.14.  An entry of a page table that maps a huge page is a
pmd; here it is a `Pte` that says `huge`, and what is mapped behind it is the huge page's first page.

follow_trans_huge_pmd() tells the CPU's bits that the page was used.  Up to v4.14 touch_pmd() set the dirty bit also for
those who only read, since "the dirty bit in the pmd is meaningless"; from v4.10 on it was not: a forced write takes it
for the sign that its private copy is there (CVE-2017-1000405, Huge Dirty COW).

Not modelled: small anonymous pages and ZERO_PAGE, so that transparent_hugepage/enabled is `always` and every mapping
large enough; splitting; huge pages of files, which are mapped page by page here, as their private copies are in Linux
(wp_huge_pmd); the shrinker, which frees the page of zeros.  Each entry that maps it has a reference and a map count,
where Linux has one reference for each mm, because nobody but the shrinker asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from mmsim.cells import Cell, Handle, World
from mmsim.kernel.page_alloc import alloc_page, get_page, put_page
from mmsim.kernel.releases import TOUCH_PMD_DIRTIES
from mmsim.kernel.types import HPAGE_PMD_NR, Kernel, Page, Pte, Vma


class HugeZeroPage(Handle):
    """huge_zero_page, which is made when it is first asked for, and has a reference of its own."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.page: Cell[Page | None] = self.cell("page", None)

    def holds(self, view: Any) -> Iterator[Page]:
        """The page, once it is there."""
        if view[self.page] is not None:
            yield view[self.page]


def vma_is_anonymous(vma: Vma) -> bool:
    """Whether a mapping has no file behind it: a private one of /dev/zero."""
    return vma.file.inode.sb.kind == "zero" and not vma.shared


async def get_huge_zero_page(k: Kernel) -> Page:
    """The page of zeros, with a reference.  Two who make it at once agree on one."""
    zero = k.world.handle(HugeZeroPage, "huge_zero_page")
    page = await zero.page.load()
    if page is None:
        mine = await alloc_page(k, HPAGE_PMD_NR)
        if not await zero.page.cmpxchg(None, mine):
            await put_page(k, mine)
        page = await zero.page.load()
    assert page is not None
    await get_page(page)
    return page


async def touch_pmd(k: Kernel, slot: Cell[Pte | None], pte: Pte, *, write: bool) -> None:
    """Tell the entry that its page is used; the caller holds page_table_lock."""
    if write or k.release.has(TOUCH_PMD_DIRTIES):
        await slot.cmpxchg(pte, attrs.evolve(pte, dirty=True))
