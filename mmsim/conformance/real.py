"""`Syscalls` performed by the running kernel: coroutines that never yield, so one `send(None)` runs a thread.

Every call is the raw system call and its answer the raw answer.  What differs from a plain program, and why:

- mmap() passes a hint, a fresh address of an arena far from the interpreter's own memory.  An address that a scenario
  has unmapped is therefore never used again for Python's memory, which a scenario's store would otherwise overwrite.
- Asynchronous I/O is a helper thread that makes the blocking read(2) or write(2) on the slow device.  The submission
  returns once the device has the request (the pages are pinned), or with the error that the call had at once.
- exit() lets the coroutine run to its end first, for what it returns, and then leaves by exit_group(2).

Not covered: I/O that pins one part of a buffer and fails on the next (FUSE transfers the first part).
"""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import stat
import struct
from typing import TYPE_CHECKING, Any, Final, Protocol

from mmsim.conformance import native
from mmsim.errors import UserError
from mmsim.syscalls import MAP_FIXED, MREMAP_FIXED, PAGE_SIZE, Device

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Coroutine
    from threading import Thread

    from mmsim.conformance.native import Memory

ARENA: Final = 0x10_0000_0000
LARGEST_MAPPING: Final = 1 << 26
MAPPINGS: Final = 512
INT: Final = 4
POINTER: Final = 8
FIRST: Final = 3
FIRST_OF_HARNESS: Final = 200
"""Descriptors from here on are the harness's own; those from `FIRST` up to here are the scenario's."""


class Arena:
    """Fresh addresses for a scenario's mappings, in one process."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def next(self, length: int) -> int:
        """An address never handed out before in this run."""
        number = next(self._numbers)
        if length > LARGEST_MAPPING or number >= MAPPINGS:
            msg = f"on a real kernel a scenario may make {MAPPINGS} mappings of up to {LARGEST_MAPPING >> 20} MiB"
            raise UserError(msg)
        return ARENA + number * LARGEST_MAPPING

    def clear(self) -> None:
        """Unmap all that the scenario mapped, and close what it opened."""
        native.syscall(native.SYS_MUNMAP, ARENA, MAPPINGS * LARGEST_MAPPING)
        native.close_all(FIRST, FIRST_OF_HARNESS - 1)
        self._numbers = itertools.count()


class RealIo:
    """An I/O in flight: the thread that makes the call, and what the call returned."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.result: int | None = None
        self.thread: Thread | None = None


class Host(Protocol):
    """What the tested process around a scenario's thread provides."""

    arena: Arena
    memory: Memory

    def submit(self, device: Device, index: int, address: int, data: bytes | int) -> RealIo | int:
        """Start a read of `data` into memory, or a write of so many bytes from it; returns when pages are pinned."""
        ...

    def wait_for(self, io: RealIo, thread: str) -> int:
        """Wait for its end."""
        ...

    def contents(self, device: Device, index: int) -> bytes:
        """What the last write left on the device."""
        ...

    def fork(self, child: Callable[..., Coroutine[Any, Any, object]]) -> int:
        """The child's pid.  Returns in the parent only."""
        ...


class RealSyscalls:
    """The calls of one thread.  `before` is called before each of them, to stir the timing."""

    def __init__(
        self, host: Host, thread: str = "main", index: int = 0, before: Callable[[], None] | None = None
    ) -> None:
        self.index = index
        self.exiting = False
        self._host = host
        self._thread = thread
        self._before = before

    def _begin(self) -> None:
        if self.exiting:
            msg = f"thread {self._thread} makes a system call after sys.exit(), which must be its last"
            raise UserError(msg)
        if self._before is not None:
            self._before()

    def _call(self, number: int, *arguments: int) -> int:
        self._begin()
        return native.syscall(number, *arguments)

    def _fill(self, number: int, fd: int, length: int, *rest: int) -> bytes | int:
        into = ctypes.create_string_buffer(max(length, 1))
        got = self._call(number, fd, native.address_of(into), length, *rest)
        return got if got < 0 else into.raw[:got]

    def _drain(self, number: int, fd: int, data: bytes, *rest: int) -> int:
        source = ctypes.create_string_buffer(data, max(len(data), 1))
        return self._call(number, fd, native.address_of(source), len(data), *rest)

    async def memfd_create(self, name: str, flags: int = 0) -> int:
        """memfd_create(2)."""
        text = ctypes.create_string_buffer(name.encode())
        return self._call(native.SYS_MEMFD_CREATE, native.address_of(text), flags)

    async def close(self, fd: int) -> int:
        """close(2), of the scenario's own descriptors."""
        return self._call(native.SYS_CLOSE, _own(fd))

    async def dup(self, fd: int) -> int:
        """dup(2)."""
        return self._call(native.SYS_DUP, _own(fd))

    async def ftruncate(self, fd: int, length: int) -> int:
        """ftruncate(2)."""
        return self._call(native.SYS_FTRUNCATE, _own(fd), length)

    async def fallocate(self, fd: int, mode: int, offset: int, length: int) -> int:
        """fallocate(2)."""
        return self._call(native.SYS_FALLOCATE, _own(fd), mode, offset, length)

    async def fchmod(self, fd: int, mode: int) -> int:
        """fchmod(2)."""
        return self._call(native.SYS_FCHMOD, _own(fd), mode)

    async def read(self, fd: int, length: int) -> bytes | int:
        """read(2)."""
        return self._fill(native.SYS_READ, _own(fd), length)

    async def pread(self, fd: int, length: int, offset: int = 0) -> bytes | int:
        """pread(2)."""
        return self._fill(native.SYS_PREAD64, _own(fd), length, offset)

    async def write(self, fd: int, data: bytes) -> int:
        """write(2)."""
        return self._drain(native.SYS_WRITE, _own(fd), data)

    async def pwrite(self, fd: int, data: bytes, offset: int = 0) -> int:
        """pwrite(2)."""
        return self._drain(native.SYS_PWRITE64, _own(fd), data, offset)

    async def mmap(
        self, fd: int, prot: int, flags: int, length: int = PAGE_SIZE, offset: int = 0, address: int = 0
    ) -> int:
        """mmap(2), at the hint that the arena gives, or with MAP_FIXED over the scenario's own mappings."""
        hint = _arena(address, length) if flags & MAP_FIXED else self._host.arena.next(length)
        address = self._call(native.SYS_MMAP, hint, length, prot, flags, _own(fd), offset)
        if address >= 0 and address != hint:
            native.syscall(native.SYS_MUNMAP, address, length)
            msg = f"the kernel did not map at {hint:#x} as asked; something of this process lies there"
            raise UserError(msg)
        return address

    async def munmap(self, address: int, length: int = PAGE_SIZE) -> int:
        """munmap(2), of the scenario's own mappings."""
        return self._call(native.SYS_MUNMAP, _arena(address, length), length)

    async def mprotect(self, address: int, length: int, prot: int) -> int:
        """mprotect(2), of the scenario's own mappings."""
        return self._call(native.SYS_MPROTECT, _arena(address, length), length, prot)

    async def mremap(self, address: int, old_length: int, new_length: int, flags: int = 0, to: int = 0) -> int:
        """mremap(2), of the scenario's own mappings.  What the kernel moves unasked it puts outside the arena."""
        target = _arena(to, new_length) if flags & MREMAP_FIXED else 0
        return self._call(native.SYS_MREMAP, _arena(address, old_length), old_length, new_length, flags, target)

    async def load(self, address: int, length: int = PAGE_SIZE) -> bytes | signal.Signals:
        """One `rep movsb` from the address."""
        self._begin()
        return self._host.memory.load(_arena(address, length), length)

    async def store(self, address: int, data: bytes) -> signal.Signals | None:
        """One `rep movsb` to the address."""
        self._begin()
        return self._host.memory.store(_arena(address, len(data)), data)

    async def add_seals(self, fd: int, seals: int) -> int:
        """fcntl(F_ADD_SEALS)."""
        return self._call(native.SYS_FCNTL, _own(fd), native.F_ADD_SEALS, seals)

    async def get_seals(self, fd: int) -> int:
        """fcntl(F_GET_SEALS)."""
        return self._call(native.SYS_FCNTL, _own(fd), native.F_GET_SEALS)

    async def pipe(self) -> tuple[int, int]:
        """pipe(2)."""
        pair = ctypes.create_string_buffer(2 * INT)
        return _pair(self._call(native.SYS_PIPE2, native.address_of(pair), 0), pair.raw)

    async def socketpair(self) -> tuple[int, int]:
        """socketpair(AF_UNIX, SOCK_STREAM)."""
        pair = ctypes.create_string_buffer(2 * INT)
        kind = socket.AF_UNIX, socket.SOCK_STREAM, 0
        return _pair(self._call(native.SYS_SOCKETPAIR, *kind, native.address_of(pair)), pair.raw)

    async def splice(self, fd_in: int, offset: int | None, fd_out: int, length: int) -> int:
        """splice(2); the offset is that of the end which is no pipe."""
        at = _pointer(offset)
        where = native.address_of(at) if at else 0
        off_in, off_out = (0, where) if _is_pipe(fd_in) else (where, 0)
        return self._call(native.SYS_SPLICE, _own(fd_in), off_in, _own(fd_out), off_out, length, 0)

    async def sendfile(self, fd_out: int, fd_in: int, offset: int | None, length: int) -> int:
        """sendfile(2)."""
        at = _pointer(offset)
        return self._call(native.SYS_SENDFILE, _own(fd_out), _own(fd_in), native.address_of(at) if at else 0, length)

    async def tee(self, fd_in: int, fd_out: int, length: int) -> int:
        """tee(2)."""
        return self._call(native.SYS_TEE, _own(fd_in), _own(fd_out), length, 0)

    async def vmsplice(self, fd: int, address: int, length: int, flags: int = 0) -> int:
        """vmsplice(2) of one piece of memory."""
        iovec = ctypes.create_string_buffer(struct.pack("=QQ", _arena(address, length), length), 2 * POINTER)
        return self._call(native.SYS_VMSPLICE, _own(fd), native.address_of(iovec), 1, flags)

    async def fork(self, child: Callable[..., Coroutine[Any, Any, object]]) -> int:
        """fork(2)."""
        self._begin()
        return self._host.fork(child)

    async def exit(self) -> None:
        """exit_group(2), made when the coroutine has returned."""
        self._begin()
        self.exiting = True

    async def submit_direct_read(self, device: Device, address: int, data: bytes) -> Any:
        """A direct read(2) in a helper thread: a `RealIo` once the pages are pinned, or the negative errno."""
        self._begin()
        return self._host.submit(device, self.index, _arena(address, len(data)), data)

    async def submit_direct_write(self, device: Device, address: int, length: int = PAGE_SIZE) -> Any:
        """A direct write(2) in a helper thread: a `RealIo` once the pages are pinned, or the negative errno."""
        self._begin()
        return self._host.submit(device, self.index, _arena(address, length), length)

    async def wait_for(self, io: Any) -> int:
        """The bytes transferred, when the helper thread is back."""
        self._begin()
        if not isinstance(io, RealIo):
            msg = f"thread {self._thread} waits for {io!r}, which is no I/O that was submitted"
            raise UserError(msg)
        return self._host.wait_for(io, self._thread)

    async def device_contents(self, device: Device) -> bytes:
        """What the last completed write left on the device."""
        self._begin()
        return self._host.contents(device, self.index)


def _pair(result: int, raw: bytes) -> tuple[int, int]:
    """The two descriptors that the kernel left in memory."""
    if result < 0:
        msg = f"a pair of descriptors is refused: {os.strerror(-result)}"
        raise UserError(msg)
    first, second = struct.unpack("=ii", raw)
    return first, second


def _pointer(offset: int | None) -> ctypes.Array[ctypes.c_char] | None:
    """A loff_t in memory, or none."""
    return None if offset is None else ctypes.create_string_buffer(struct.pack("=q", offset), POINTER)


def _is_pipe(fd: int) -> bool:
    """Whether this open descriptor is an end of a pipe."""
    try:
        return stat.S_ISFIFO(os.fstat(_own(fd)).st_mode)
    except OSError:
        return False


def _own(fd: int) -> int:
    """The descriptor, or -1 for one that only the harness has: to a scenario it is not open."""
    return fd if FIRST <= fd < FIRST_OF_HARNESS else -1


def _arena(address: int, length: int) -> int:
    """The address, unless it lies where the interpreter's memory may be."""
    nothing_there = address < PAGE_SIZE and length <= 1 << 20  # below what mmap() ever gives, or no user address
    if nothing_there or ARENA <= address <= ARENA + MAPPINGS * LARGEST_MAPPING - max(length, 0):
        return address
    msg = f"address {address:#x} is none that mmap() gave to the scenario"
    raise UserError(msg)
