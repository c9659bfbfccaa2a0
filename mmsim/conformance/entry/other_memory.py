"""Memory reached otherwise than by the CPU: another process's, a protected one, one whose faults a program resolves.

One answer is not told as the kernel gives it: the memory of a process that has ended is -ESRCH to process_vm_writev()
and end of file to /proc/PID/mem.  The model leaves such a process without a mapping, -EFAULT and -EIO; so does this.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from mmsim.conformance import native
from mmsim.conformance.real import Calls, ThreadFunction, in_arena
from mmsim.syscalls import EFAULT, EIO, PAGE_SIZE


class OtherMemoryCalls(Calls):
    """process_vm_writev(), /proc/PID/mem and userfaultfd."""

    async def process_vm_writev(self, of: ThreadFunction | None, address: int, data: bytes) -> int:
        """process_vm_writev(2) of one piece."""
        source = ctypes.create_string_buffer(data, max(len(data), 1))
        local = native.iovec(native.address_of(source), len(data))
        remote = native.iovec(in_arena(address, len(data)), len(data))
        pieces = native.address_of(local), 1, native.address_of(remote), 1, 0
        answer = self.call(native.SYS_PROCESS_VM_WRITEV, self.host.pid_of(of), *pieces)
        return -EFAULT if answer == -errno.ESRCH else answer

    async def mem_write(self, address: int, data: bytes, of: ThreadFunction | None = None) -> int:
        """pwrite(2) to /proc/PID/mem."""
        self.begin()
        return self.host.write_memory(self.host.pid_of(of), in_arena(address, len(data)), data) or -EIO

    async def mem_read(self, address: int, length: int, of: ThreadFunction | None = None) -> bytes | int:
        """pread(2) of /proc/PID/mem."""
        self.begin()
        return self.host.read_memory(self.host.pid_of(of), in_arena(address, length), length) or -EIO

    async def uffd_register(self, address: int, length: int, mode: int) -> int:
        """UFFDIO_REGISTER."""
        asked = struct.pack("=QQQQ", in_arena(address, length), length & (1 << 64) - 1, mode, 0)
        return self._uffd(native.UFFDIO_REGISTER, asked)[0]

    async def uffd_copy(self, address: int, data: bytes) -> int:
        """UFFDIO_COPY."""
        source = ctypes.create_string_buffer(data, max(len(data), 1))
        asked = struct.pack("=QQQQq", in_arena(address, len(data)), native.address_of(source), len(data), 0, 0)
        return _done(*self._uffd(native.UFFDIO_COPY, asked))

    async def uffd_continue(self, address: int) -> int:
        """UFFDIO_CONTINUE."""
        asked = struct.pack("=QQQq", in_arena(address, PAGE_SIZE), PAGE_SIZE, 0, 0)
        return _done(*self._uffd(native.UFFDIO_CONTINUE, asked))

    def _uffd(self, request: int, asked: bytes) -> tuple[int, bytes]:
        self.begin()
        return native.ioctl(self.host.resources.userfaultfd, request, asked)


def _done(answer: int, left: bytes) -> int:
    """How many bytes were done, which is the struct's last field where any were; else the errno."""
    done: int = struct.unpack("=q", left[-8:])[0]
    return done or answer
