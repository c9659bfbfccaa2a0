"""The machine below Python: raw system calls, futexes, mounts, and a load and a store that survive their faults.

Not covered: machines other than x86-64 (see `mmsim.conformance.machine_code`).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import signal
import struct
from typing import Final

import attrs

from mmsim.conformance import machine_code
from mmsim.errors import UserError
from mmsim.syscalls import PAGE_SIZE

SYS_READ: Final = 0
SYS_WRITE: Final = 1
SYS_OPEN: Final = 2
SYS_CLOSE: Final = 3
SYS_MMAP: Final = 9
SYS_MPROTECT: Final = 10
SYS_MUNMAP: Final = 11
SYS_RT_SIGACTION: Final = 13
SYS_PREAD64: Final = 17
SYS_PWRITE64: Final = 18
SYS_IOCTL: Final = 16
SYS_MREMAP: Final = 25
SYS_MADVISE: Final = 28
SYS_DUP: Final = 32
SYS_SENDFILE: Final = 40
SYS_SENDMSG: Final = 46
SYS_RECVMSG: Final = 47
SYS_SOCKETPAIR: Final = 53
SYS_CLONE: Final = 56
SYS_FCNTL: Final = 72
SYS_FTRUNCATE: Final = 77
SYS_UNLINK: Final = 87
SYS_FCHMOD: Final = 91
SYS_SIGALTSTACK: Final = 131
SYS_ARCH_PRCTL: Final = 158
SYS_SYNC: Final = 162
SYS_MOUNT: Final = 165
SYS_FUTEX: Final = 202
SYS_EXIT_GROUP: Final = 231
SYS_SPLICE: Final = 275
SYS_TEE: Final = 276
SYS_VMSPLICE: Final = 278
SYS_MOVE_PAGES: Final = 279
SYS_FALLOCATE: Final = 285
SYS_PIPE2: Final = 293
SYS_PROCESS_VM_WRITEV: Final = 311
SYS_MEMFD_CREATE: Final = 319
SYS_USERFAULTFD: Final = 323
SYS_IO_URING_SETUP: Final = 425
SYS_IO_URING_ENTER: Final = 426
SYS_IO_URING_REGISTER: Final = 427
SYS_CLOSE_RANGE: Final = 436

F_ADD_SEALS: Final = 1033
F_GET_SEALS: Final = 1034

FS_IOC_GETFLAGS: Final = 0x80086601
FS_IOC_SETFLAGS: Final = 0x40086602
UFFDIO_API: Final = 0xC018AA3F
UFFDIO_REGISTER: Final = 0xC020AA00
UFFDIO_COPY: Final = 0xC028AA03
UFFDIO_CONTINUE: Final = 0xC020AA07
UDMABUF_CREATE: Final = 0x40187542
LOOP_CTL_GET_FREE: Final = 0x4C82
LOOP_CONFIGURE: Final = 0x4C0A

CLONE_FILES: Final = 0x00000400
CLONE_PARENT: Final = 0x00008000
CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUSER: Final = 0x10000000
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_REMOUNT: Final = 0x20
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 1 << 18
MNT_DETACH: Final = 2

PR_SET_PDEATHSIG: Final = 1
PR_SET_TIMERSLACK: Final = 29
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_PTRACER: Final = 0x59616D61
PR_SET_PTRACER_ANY: Final = -1

_FUTEX_WAIT, _FUTEX_WAKE = 0, 1
_SA_SIGINFO, _SA_RESTORER, _SA_ONSTACK, _SA_NODEFER = 4, 0x04000000, 0x08000000, 0x40000000


class Impossible(UserError):
    """Not the user's mistake but this machine's limit: the sentence with which a run or a test is skipped."""


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def syscall(number: int, *arguments: int) -> int:
    """The raw system call: its result, or a negative errno.  Other threads run meanwhile."""
    result: int = _libc.syscall(ctypes.c_long(number), *(ctypes.c_long(a) for a in arguments))
    return -ctypes.get_errno() if result == -1 else result


def address_of(buffer: ctypes.Array[ctypes.c_char] | mmap.mmap) -> int:
    """Where a writable buffer lies in memory.  Only good while the buffer lives."""
    if isinstance(buffer, mmap.mmap):
        return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    return ctypes.addressof(buffer)


def private_memory(length: int) -> mmap.mmap:
    """So many zeros, a whole number of pages, which a fork copies."""
    return mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE)


def futex_wait(address: int, while_it_is: int, seconds: float) -> None:
    """Sleep while the 32-bit word at `address` (shared between processes) holds the value, at most so long."""
    timeout = ctypes.create_string_buffer(struct.pack("qq", int(seconds), int(seconds % 1 * 1e9)))
    syscall(SYS_FUTEX, address, _FUTEX_WAIT, while_it_is, address_of(timeout), 0, 0)


def futex_wake(address: int) -> None:
    """Wake whoever sleeps on the word."""
    syscall(SYS_FUTEX, address, _FUTEX_WAKE, 0x7FFFFFFF, 0, 0, 0)


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def prctl(option: int, value: int) -> None:
    """prctl(2).  OSError."""
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), "prctl")


def unshare(flags: int) -> None:
    """unshare(2).  OSError."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    """mount(2).  OSError."""
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _check(_libc.mount(*arguments), f"mount {target}")


def umount(target: str) -> None:
    """umount2(2) with MNT_DETACH.  OSError."""
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"umount {target}")


@attrs.frozen
class Memory:
    """Loads and stores as the CPU makes them, faults included."""

    page: mmap.mmap
    start: int
    """Where the page of machine code lies."""
    copy: ctypes._CFunctionType
    run: ctypes._CFunctionType
    serve: ctypes._CFunctionType
    """These are described in `mmsim.conformance.machine_code`."""

    def load(self, address: int, length: int) -> bytes | signal.Signals:
        """The bytes at `address`, or the signal that reading them raised."""
        into = ctypes.create_string_buffer(length)
        fault = self.copy(address_of(into), address, length)
        return signal.Signals(fault) if fault else into.raw

    def store(self, address: int, data: bytes) -> signal.Signals | None:
        """Write the bytes; the signal that this raised, if any (what lies before the fault is written)."""
        source = ctypes.create_string_buffer(data, len(data))  # a name of its own keeps it alive over the copy
        fault = self.copy(address, address_of(source), len(data))
        return signal.Signals(fault) if fault else None


def fault_safe_memory() -> Memory:
    """Make the code page and install its handler in this process.  `Impossible` where it may not be."""
    if platform.machine() != "x86_64" or struct.calcsize("P") != struct.calcsize("q"):
        msg = f"running on a real kernel needs a 64-bit x86 machine, and this one is {platform.machine()}"
        raise Impossible(msg)
    code, labels = machine_code.assembled()
    page = private_memory(PAGE_SIZE)
    page.write(code)
    start = address_of(page)
    if _libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(PAGE_SIZE), mmap.PROT_READ | mmap.PROT_EXEC):
        msg = f"this system forbids machine code made at run time (mprotect: {os.strerror(ctypes.get_errno())})"
        raise Impossible(msg)
    _handle_faults(start + labels["handler"], start + labels["restorer"])
    word = ctypes.c_size_t
    copy = ctypes.CFUNCTYPE(ctypes.c_long, word, word, word)(start + labels["copy"])
    run = ctypes.CFUNCTYPE(None, word, word)(start + labels["run"])
    serve = ctypes.CFUNCTYPE(None, word, word, word)(start + labels["serve"])
    return Memory(page, start, copy, run, serve)


def _handle_faults(handler: int, restorer: int) -> None:
    """Install the handler without libc, whose restorer is not there any more in a process that has unmapped libc."""
    flags = _SA_SIGINFO | _SA_RESTORER | _SA_ONSTACK | _SA_NODEFER
    action = ctypes.create_string_buffer(struct.pack("=QQQQ", handler, flags, restorer, 0))
    for number in (signal.SIGSEGV, signal.SIGBUS):
        error = syscall(SYS_RT_SIGACTION, int(number), address_of(action), 0, 8)
        if error:
            raise OSError(-error, f"rt_sigaction: {os.strerror(-error)}")


def private_mounts() -> None:
    """Enter a mount namespace of our own, which takes its mounts with it when its last process ends.

    Without the privilege, through a user namespace.  OSError where that is forbidden too.
    """
    user, group = os.getuid(), os.getgid()
    try:
        unshare(CLONE_NEWNS)
    except PermissionError:
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        for file, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            descriptor = os.open(f"/proc/self/{file}", os.O_WRONLY)
            try:
                os.write(descriptor, text.encode())
            finally:
                os.close(descriptor)
    mount("none", "/", "none", MS_REC | MS_PRIVATE, "")


def iovec(address: int, length: int) -> ctypes.Array[ctypes.c_char]:
    """A struct iovec in memory."""
    return ctypes.create_string_buffer(struct.pack("=QQ", address, length), 16)


def ioctl(fd: int, request: int, argument: bytes) -> tuple[int, bytes]:
    """ioctl(2) with a struct: its result, or a negative errno, and what it left of the struct."""
    struct_ = ctypes.create_string_buffer(argument, len(argument))
    return syscall(SYS_IOCTL, fd, request, address_of(struct_)), struct_.raw


def close_all(first: int, last: int) -> None:
    """Close every descriptor from `first` to `last`."""
    if syscall(SYS_CLOSE_RANGE, first, last, 0) == -errno.ENOSYS:
        os.closerange(first, last + 1)
