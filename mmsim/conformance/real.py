"""What every group of real system calls starts from: one thread, and the process that it is in.

The calls themselves are in `mmsim.conformance.entry`: coroutines that never yield, so one `send(None)` runs a thread.

Every call is the raw system call and its answer the raw answer.  What differs from a plain program, and why:

- mmap() passes a hint, the next address of an arena far from the interpreter's own memory.  An address that a scenario
  has unmapped is therefore never used again for Python's memory, which a scenario's store would otherwise overwrite.
- Asynchronous I/O is a helper thread that makes the blocking read(2) or write(2) on the slow device.  The submission
  returns once the device has the request (the pages are pinned), or with the error that the call had at once.
- What a call needs besides (a userfaultfd, a ring, /proc/PID/mem) is opened before a run begins, under numbers that no
  scenario sees; see `mmsim.conformance.resources`.
- exit() lets the coroutine run to its end first, for what it returns, and then leaves by exit_group(2).

Not covered: I/O that pins one part of a buffer and fails on the next (FUSE transfers the first part).
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol

from mmsim.conformance import native
from mmsim.errors import UserError
from mmsim.syscalls import PAGE_SIZE

if TYPE_CHECKING:
    from threading import Thread

    from mmsim.conformance.native import Memory
    from mmsim.conformance.resources import Resources
    from mmsim.conformance.uring import RealBuffer
    from mmsim.syscalls import Device, Mount

ThreadFunction = Callable[..., Coroutine[Any, Any, object]]

ARENA: Final = 0x10_0000_0000
ARENA_BYTES: Final = 1 << 35
ARENA_END: Final = ARENA + ARENA_BYTES
INT: Final = 4
POINTER: Final = 8
FIRST: Final = 3
FIRST_OF_HARNESS: Final = 200
"""Descriptors from here on are the harness's own; those from `FIRST` up to here are the scenario's."""


class Arena:
    """Fresh addresses for a scenario's mappings, in one process: one mapping right after the other, as in the model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = ARENA

    def next(self, length: int) -> int:
        """An address never handed out before in this run."""
        with self._lock:
            address = self._next
            self._next += -(-max(length, 1) // PAGE_SIZE) * PAGE_SIZE
            if self._next > ARENA_END:
                self._next = address
                msg = f"on a real kernel a process may map {ARENA_BYTES >> 30} GiB in one run"
                raise UserError(msg)
        return address

    def keep_free(self, end: int) -> None:
        """A mapping has grown up to there."""
        with self._lock:
            if end <= ARENA_END:
                self._next = max(self._next, end)

    def clear(self) -> None:
        """Unmap all that the scenario mapped, and close what it opened."""
        native.syscall(native.SYS_MUNMAP, ARENA, ARENA_BYTES)
        native.close_all(FIRST, FIRST_OF_HARNESS - 1)
        self._next = ARENA


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
    resources: Resources

    def submit(
        self, device: Device, index: int, address: int, data: bytes | int, buffer: RealBuffer | None = None
    ) -> RealIo | int:
        """Start a read of `data` into memory, or a write of so many bytes from it; returns when pages are pinned.

        With a registered buffer the read goes through its ring.
        """
        ...

    def wait_for(self, io: RealIo, thread: str) -> int:
        """Wait for its end."""
        ...

    def contents(self, device: Device, index: int) -> bytes:
        """What the last write left on the device."""
        ...

    def fork(self, child: ThreadFunction) -> int:
        """The child's pid.  Returns in the parent only."""
        ...

    def pid_of(self, thread: ThreadFunction | None) -> int:
        """The process that a thread of the scenario is in; None is one's own."""
        ...

    def write_memory(self, pid: int, address: int, data: bytes) -> int:
        """pwrite() to /proc/PID/mem."""
        ...

    def read_memory(self, pid: int, address: int, length: int) -> bytes | int:
        """pread() of /proc/PID/mem."""
        ...

    def directory(self, mount: Mount) -> str:
        """Where it is mounted."""
        ...

    def path(self, mount: Mount, name: str) -> str:
        """A file on it, of this run."""
        ...

    def disk_contents(self, mount: Mount, name: str) -> bytes:
        """What the file would hold if the disk were mounted afresh this moment."""
        ...


class Calls:
    """The calls of one thread.  `before` is called before each of them, to stir the timing."""

    def __init__(
        self, host: Host, thread: str = "main", index: int = 0, before: Callable[[], None] | None = None
    ) -> None:
        self.index = index
        self.exiting = False
        self.host = host
        self.thread = thread
        self._before = before

    def begin(self) -> None:
        """What precedes every call."""
        if self.exiting:
            msg = f"thread {self.thread} makes a system call after sys.exit(), which must be its last"
            raise UserError(msg)
        if self._before is not None:
            self._before()

    def call(self, number: int, *arguments: int) -> int:
        """A raw system call."""
        self.begin()
        return native.syscall(number, *arguments)

    def fill(self, number: int, fd: int, length: int, *rest: int) -> bytes | int:
        """A call that fills a buffer of so many bytes."""
        into = ctypes.create_string_buffer(max(length, 1))
        got = self.call(number, fd, native.address_of(into), length, *rest)
        return got if got < 0 else into.raw[:got]

    def drain(self, number: int, fd: int, data: bytes, *rest: int) -> int:
        """A call that takes bytes out of a buffer."""
        source = ctypes.create_string_buffer(data, max(len(data), 1))
        return self.call(number, fd, native.address_of(source), len(data), *rest)


def own(fd: int) -> int:
    """The descriptor, or -1 for one that only the harness has: to a scenario it is not open."""
    return fd if FIRST <= fd < FIRST_OF_HARNESS else -1


def in_arena(address: int, length: int) -> int:
    """The address, unless it lies where the interpreter's memory may be."""
    nothing_there = address < PAGE_SIZE and length <= 1 << 20  # below what mmap() ever gives, or no user address
    if nothing_there or ARENA <= address <= ARENA_END - max(length, 0):
        return address
    msg = f"address {address:#x} is none that mmap() gave to the scenario"
    raise UserError(msg)
