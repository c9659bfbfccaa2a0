"""Mappings, and what the CPU does by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmsim.conformance import native
from mmsim.conformance.real import Calls, in_arena, own
from mmsim.errors import UserError
from mmsim.syscalls import MAP_FIXED, MREMAP_FIXED, PAGE_SIZE

if TYPE_CHECKING:
    import signal


class MemoryCalls(Calls):
    """mmap() and its kin, loads and stores."""

    async def mmap(
        self, fd: int, prot: int, flags: int, length: int = PAGE_SIZE, offset: int = 0, address: int = 0
    ) -> int:
        """mmap(2), at the hint that the arena gives, or with MAP_FIXED over the scenario's own mappings."""
        hint = in_arena(address, length) if flags & MAP_FIXED else self.host.arena.next(length)
        address = self.call(native.SYS_MMAP, hint, length, prot, flags, own(fd), offset)
        if address >= 0 and address != hint:
            native.syscall(native.SYS_MUNMAP, address, length)
            msg = f"the kernel did not map at {hint:#x} as asked; something of this process lies there"
            raise UserError(msg)
        return address

    async def munmap(self, address: int, length: int = PAGE_SIZE) -> int:
        """munmap(2), of the scenario's own mappings."""
        return self.call(native.SYS_MUNMAP, in_arena(address, length), length)

    async def mprotect(self, address: int, length: int, prot: int) -> int:
        """mprotect(2), of the scenario's own mappings."""
        return self.call(native.SYS_MPROTECT, in_arena(address, length), length, prot)

    async def mremap(self, address: int, old_length: int, new_length: int, flags: int = 0, to: int = 0) -> int:
        """mremap(2), of the scenario's own mappings.  What the kernel moves unasked it puts outside the arena."""
        target = in_arena(to, new_length) if flags & MREMAP_FIXED else 0
        moved = self.call(native.SYS_MREMAP, in_arena(address, old_length), old_length, new_length, flags, target)
        self.host.arena.keep_free(moved + new_length)
        return moved

    async def load(self, address: int, length: int = PAGE_SIZE) -> bytes | signal.Signals:
        """One `rep movsb` from the address."""
        self.begin()
        return self.host.memory.load(in_arena(address, length), length)

    async def store(self, address: int, data: bytes) -> signal.Signals | None:
        """One `rep movsb` to the address."""
        self.begin()
        return self.host.memory.store(in_arena(address, len(data)), data)

    async def madvise(self, address: int, length: int, advice: int) -> int:
        """madvise(2), of the scenario's own mappings."""
        return self.call(native.SYS_MADVISE, in_arena(address, length), length, advice)
