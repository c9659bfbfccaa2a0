"""io_uring's registered buffers.

Not modelled: the ring as a descriptor; a process has one.
"""

from __future__ import annotations

from typing import Any

from mmsim.kernel.direct_io import io_read_fixed
from mmsim.kernel.entry.descriptors import Descriptors
from mmsim.kernel.io_uring import io_register_buffer, io_unregister_buffer
from mmsim.syscalls import EFAULT, ENXIO, PAGE_SIZE, Device


class RegisteredBufferCalls(Descriptors):
    """Registering, reading into a buffer, unregistering; a number in a buffer's place is the errno it came to be."""

    async def register_buffer(self, address: int, length: int = PAGE_SIZE) -> Any:
        return await io_register_buffer(self.k, address, length)

    async def submit_read_fixed(self, device: Device, buffer: Any, data: bytes) -> Any:
        return -EFAULT if isinstance(buffer, int) else await io_read_fixed(self.k, self._device(device), buffer, data)

    async def unregister_buffer(self, buffer: Any) -> int:
        return -ENXIO if isinstance(buffer, int) else await io_unregister_buffer(self.k, buffer)
