"""What memory and files contain in one state, as somebody sees it who reads them."""

from __future__ import annotations

from mmsim.engine.tables import View
from mmsim.kernel.types import PG_UPTODATE, Inode, Page
from mmsim.syscalls import PAGE_SIZE


def file_content(view: View, inode: Inode, index: int) -> bytes:
    """What a reader of the file finds in its page `index`; what is missing at the end is zeros."""
    page = view[inode.mapping.slot(index)]
    if inode.sb.block_backed and (page is None or PG_UPTODATE not in view[page.flags]):
        return view[inode.disk(index)]
    return b"" if page is None else page_content(view, page)


def page_content(view: View, page: Page) -> bytes:
    """All words of a page."""
    words = PAGE_SIZE // len(view[page.word(0)]) or 1
    return b"".join(view[page.word(number)] for number in range(words))
