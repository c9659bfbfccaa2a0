"""Memory reached otherwise than by the CPU: another process's, a protected one, one whose faults a program resolves.

Not modelled: permission to reach it; the descriptors of /proc/PID/mem and of the userfaultfd, one of each being enough.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from mmsim.errors import UserError
from mmsim.kernel.entry.descriptors import Descriptors
from mmsim.kernel.process_vm_access import process_vm_writev
from mmsim.kernel.ptrace import mem_read, mem_write
from mmsim.kernel.types import Mm
from mmsim.kernel.userfaultfd import mcontinue_atomic, mcopy_atomic, userfaultfd_register

ThreadFunction = Callable[..., Coroutine[Any, Any, object]]


class OtherMemoryCalls(Descriptors):
    """process_vm_writev(), /proc/PID/mem and userfaultfd."""

    async def process_vm_writev(self, of: ThreadFunction | None, address: int, data: bytes) -> int:
        return await process_vm_writev(self.k, self._mm_of(of), address, data)

    async def mem_write(self, address: int, data: bytes, of: ThreadFunction | None = None) -> int:
        return await mem_write(self.k, self._mm_of(of), address, data)

    async def mem_read(self, address: int, length: int, of: ThreadFunction | None = None) -> bytes | int:
        return await mem_read(self.k, self._mm_of(of), address, length)

    async def uffd_register(self, address: int, length: int, mode: int) -> int:
        return await userfaultfd_register(self.k, address, length, mode)

    async def uffd_copy(self, address: int, data: bytes) -> int:
        return await mcopy_atomic(self.k, address, data)

    async def uffd_continue(self, address: int) -> int:
        return await mcontinue_atomic(self.k, address)

    def _mm_of(self, of: ThreadFunction | None) -> Mm:
        if of is None:
            return self.k.mm
        process = self.k.cpus.process_of(of.__name__)
        if process is None:
            msg = f"{of.__name__}: no thread or child of the scenario has that name"
            raise UserError(msg)
        return process.mm
