"""Asynchronous direct I/O.

Not modelled: io_cancel(), for most drivers cannot.
"""

from __future__ import annotations

from typing import Any

from mmsim.kernel.direct_io import io_submit, wait_for_io
from mmsim.kernel.entry.descriptors import Descriptors
from mmsim.syscalls import PAGE_SIZE, Device


class DirectIoCalls(Descriptors):
    """io_submit() and what follows."""

    async def submit_direct_read(self, device: Device, address: int, data: bytes) -> Any:
        return await io_submit(self.k, self._device(device), address, len(data), data, device.transport)

    async def submit_direct_write(self, device: Device, address: int, length: int = PAGE_SIZE) -> Any:
        return await io_submit(self.k, self._device(device), address, length, None, device.transport)

    async def wait_for(self, io: Any) -> int:
        return io if isinstance(io, int) else await wait_for_io(io)

    async def device_contents(self, device: Device) -> bytes:
        return await self._device(device).contents.load()
