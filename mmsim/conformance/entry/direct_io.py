"""Asynchronous direct I/O: a blocking read(2) or write(2) in a helper thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmsim.conformance.real import Calls, RealIo, in_arena
from mmsim.errors import UserError
from mmsim.syscalls import PAGE_SIZE

if TYPE_CHECKING:
    from mmsim.syscalls import Device


class DirectIoCalls(Calls):
    """io_submit() and what follows."""

    async def submit_direct_read(self, device: Device, address: int, data: bytes) -> Any:
        """A direct read(2) in a helper thread: a `RealIo` once the pages are pinned, or the negative errno."""
        self.begin()
        return self.host.submit(device, self.index, in_arena(address, len(data)), data)

    async def submit_direct_write(self, device: Device, address: int, length: int = PAGE_SIZE) -> Any:
        """A direct write(2) in a helper thread: a `RealIo` once the pages are pinned, or the negative errno."""
        self.begin()
        return self.host.submit(device, self.index, in_arena(address, length), length)

    async def wait_for(self, io: Any) -> int:
        """The bytes transferred, when the helper thread is back."""
        self.begin()
        if isinstance(io, int):  # what the submission came to at once, as in the model
            return io
        if not isinstance(io, RealIo):
            msg = f"thread {self.thread} waits for {io!r}, which is no I/O that was submitted"
            raise UserError(msg)
        return self.host.wait_for(io, self.thread)

    async def device_contents(self, device: Device) -> bytes:
        """What the last completed write left on the device."""
        self.begin()
        return self.host.contents(device, self.index)
