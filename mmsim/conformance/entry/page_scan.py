"""What moves pages, or looks at them, without using them."""

from __future__ import annotations

import ctypes
import os
import struct

from mmsim.conformance import native
from mmsim.conformance.real import Calls, in_arena
from mmsim.syscalls import PAGE_SIZE

MPOL_MF_MOVE = 2
BITMAP_CHUNK = 1 << 16


class PageScanCalls(Calls):
    """move_pages(), compaction, and a scanner."""

    async def move_pages(self, address: int) -> int:
        """move_pages(2) of one page, to a node on which it is not: 0 once it is there, or the status."""
        self.begin()
        pages = ctypes.create_string_buffer(struct.pack("=Q", in_arena(address, PAGE_SIZE)), 8)
        for node in self.host.resources.nodes:
            nodes = ctypes.create_string_buffer(struct.pack("=i", node), 4)
            status = ctypes.create_string_buffer(4)
            where = [native.address_of(one) for one in (pages, nodes, status)]
            before = _status(native.syscall(native.SYS_MOVE_PAGES, 0, 1, where[0], 0, where[2], 0), status)
            if before != node:
                answer = _status(native.syscall(native.SYS_MOVE_PAGES, 0, 1, *where, MPOL_MF_MOVE), status)
                return min(answer, 0)
        return 0

    async def compact_memory(self) -> int:
        """A write to /proc/sys/vm/compact_memory."""
        self.begin()
        os.write(self.host.resources.compact_memory, b"1")
        return 0

    async def scan_pages(self) -> int:
        """A read of /sys/kernel/mm/page_idle/bitmap, from its beginning to its end."""
        self.begin()
        offset = 0
        while got := os.pread(self.host.resources.page_idle, BITMAP_CHUNK, offset):
            offset += len(got)
        return 0


def _status(answer: int, status: ctypes.Array[ctypes.c_char]) -> int:
    """What became of the page: its node, or a negative errno.  The call may answer how many pages it did not move."""
    return answer if answer < 0 else int(struct.unpack("=i", status.raw)[0])
