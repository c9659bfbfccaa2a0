"""What a process needs for a run beside its descriptors: opened before setup, closed after the last thread.

A call that opened something of its own would take the lowest descriptor for a moment, which a thread beside it might
be given instead.  So everything is opened while nothing of the scenario runs, and moved out of its way.
"""

from __future__ import annotations

import os
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mmsim.conformance import native
from mmsim.conformance.uring import Ring
from mmsim.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from collections.abc import Set as AbstractSet

RINGS: Final = 4
"""Buffers that a process may register in one run."""
COMPACT: Final = Path("/proc/sys/vm/compact_memory")
PAGE_IDLE: Final = Path("/sys/kernel/mm/page_idle/bitmap")
NODES: Final = Path("/sys/devices/system/node/has_memory")
_UFFD_API: Final = 0xAA
_UFFD_SHMEM: Final = (1 << 5) | (1 << 10)  # UFFD_FEATURE_MISSING_SHMEM, UFFD_FEATURE_MINOR_SHMEM


class Resources:
    """The descriptors; -1 for what the scenario does not ask for."""

    def __init__(self, verbs: AbstractSet[str], keep: Callable[[int], int]) -> None:
        """Open what these verbs need; `keep` moves a descriptor out of the way.  `native.Impossible`."""
        self.userfaultfd = self.udmabuf = self.compact_memory = self.page_idle = -1
        self.rings: list[Ring] = []
        self.memories: dict[int, int] = {}
        self.nodes: tuple[int, ...] = ()
        self._next_ring = 0
        self._lock = threading.Lock()
        if verbs & {"uffd_register", "uffd_copy", "uffd_continue"}:
            self.userfaultfd = keep(open_userfaultfd())
        if "register_buffer" in verbs:
            self.rings = [Ring(keep) for _ in range(RINGS)]
        if "move_pages" in verbs:
            self.nodes = nodes_with_memory()
        if "udmabuf_create" in verbs:
            self.udmabuf = keep(open_or_say("udmabuf_create() needs", Path("/dev/udmabuf"), os.O_RDWR))
        if "compact_memory" in verbs:
            self.compact_memory = keep(open_or_say("compaction needs", COMPACT, os.O_WRONLY))
        if "scan_pages" in verbs:
            self.page_idle = keep(open_or_say("a page scan needs", PAGE_IDLE, os.O_RDONLY))

    def open_memories(self, pids: Iterable[int], keep: Callable[[int], int]) -> None:
        """Open /proc/PID/mem of each process that there is from the start."""
        for pid in pids:
            with suppress(ProcessLookupError, FileNotFoundError):
                self.memories[pid] = keep(open_memory(pid))

    def next_ring(self) -> tuple[int, Ring]:
        """A ring that no buffer was registered on, and its number."""
        with self._lock:
            number = self._next_ring
            self._next_ring += 1
        if number >= len(self.rings):
            msg = f"on a real kernel a process may register {RINGS} buffers in one run"
            raise UserError(msg)
        return number, self.rings[number]

    def close(self) -> None:
        """Close everything."""
        for ring in self.rings:
            ring.close()
        for fd in (self.userfaultfd, self.udmabuf, self.compact_memory, self.page_idle, *self.memories.values()):
            if fd >= 0:
                os.close(fd)


def open_memory(pid: int) -> int:
    """/proc/PID/mem.  OSError."""
    return os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)


def open_or_say(what: str, path: Path, flags: int) -> int:
    """Open a file of the kernel's.  `native.Impossible` says who needs it and why it cannot be had."""
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError as error:
        msg = f"{what} {path}, which cannot be opened here ({os.strerror(error.errno or 0)})"
        raise native.Impossible(msg) from None


def open_userfaultfd() -> int:
    """A userfaultfd that serves shared memory.  `native.Impossible`."""
    fd = native.syscall(native.SYS_USERFAULTFD, os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0:
        msg = f"userfaultfd is refused here ({os.strerror(-fd)}); see vm.unprivileged_userfaultfd"
        raise native.Impossible(msg)
    answer, left = native.ioctl(fd, native.UFFDIO_API, struct.pack("=QQQ", _UFFD_API, 0, 0))
    features: int = struct.unpack("=QQQ", left)[1]
    if answer < 0 or features & _UFFD_SHMEM != _UFFD_SHMEM:
        os.close(fd)
        raise native.Impossible("this kernel's userfaultfd does not serve missing and minor faults of shared memory")
    return fd


def nodes_with_memory() -> tuple[int, ...]:
    """The NUMA nodes that have memory; `0-1,3` is three of them."""
    try:
        text = NODES.read_text().strip()
    except OSError:
        return (0,)
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)
