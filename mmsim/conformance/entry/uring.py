"""io_uring's registered buffers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmsim.conformance.real import Calls, in_arena
from mmsim.conformance.uring import RealBuffer
from mmsim.errors import UserError
from mmsim.syscalls import EFAULT, ENXIO, PAGE_SIZE

if TYPE_CHECKING:
    from mmsim.syscalls import Device


class RegisteredBufferCalls(Calls):
    """Registering, reading into a buffer, unregistering; a number in a buffer's place is the errno it came to be."""

    async def register_buffer(self, address: int, length: int = PAGE_SIZE) -> Any:
        """IORING_REGISTER_BUFFERS, on a ring of its own for each buffer."""
        self.begin()
        number, ring = self.host.resources.next_ring()
        answer = ring.register(in_arena(address, length), length)
        return answer if answer < 0 else RealBuffer(number, address, length)

    async def submit_read_fixed(self, device: Device, buffer: Any, data: bytes) -> Any:
        """IORING_OP_READ_FIXED: a `RealIo` once the device has the request, or the negative errno."""
        self.begin()
        if isinstance(buffer, int):
            return -EFAULT
        return self.host.submit(device, self.index, self._buffer(buffer).address, data, buffer)

    async def unregister_buffer(self, buffer: Any) -> int:
        """IORING_UNREGISTER_BUFFERS."""
        self.begin()
        if isinstance(buffer, int):
            return -ENXIO
        return self.host.resources.rings[self._buffer(buffer).ring].unregister()

    def _buffer(self, buffer: Any) -> RealBuffer:
        if isinstance(buffer, RealBuffer):
            return buffer
        msg = f"thread {self.thread} means {buffer!r}, which is no buffer that was registered"
        raise UserError(msg)
