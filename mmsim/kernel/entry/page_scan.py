"""What moves pages, or looks at them, without using them.

Not modelled: pages of files that the caller has not open, which Linux, coming by page frame number, meets as well.
"""

from __future__ import annotations

from mmsim.kernel.entry.descriptors import Descriptors
from mmsim.kernel.migrate import compact_memory, move_pages
from mmsim.kernel.page_idle import page_idle_bitmap_read
from mmsim.kernel.types import Inode


class PageScanCalls(Descriptors):
    """move_pages(), compaction, and a scanner."""

    async def move_pages(self, address: int) -> int:
        return await move_pages(self.k, address)

    async def compact_memory(self) -> int:
        await compact_memory(self.k, await self._open_inodes())
        return 0

    async def scan_pages(self) -> int:
        await page_idle_bitmap_read(self.k, await self._open_inodes())
        return 0

    async def _open_inodes(self) -> tuple[Inode, ...]:
        files = [await self._file(fd) for fd in await self.k.process.open_fds.load()]
        return tuple(dict.fromkeys(file.inode for file in files if file is not None))
