"""The system calls a scenario may make, and their constants: the one vocabulary of the model and of a real kernel.

A scenario's threads are written against `Syscalls` and cannot tell who answers: `mmsim.kernel` (a model of Linux, one
step at a time) or `mmsim.conformance` (Linux itself).  Calls answer as the raw system call does: a count, an address
or a descriptor, or a negative errno.  Constants have the values of x86-64 Linux (include/uapi).
"""

from __future__ import annotations

import errno
import signal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

PAGE_SIZE: Final = 4096

PROT_NONE: Final = 0
PROT_READ: Final = 1
PROT_WRITE: Final = 2
MAP_SHARED: Final = 1
MAP_PRIVATE: Final = 2
MAP_FIXED: Final = 0x10
MREMAP_MAYMOVE: Final = 1
MREMAP_FIXED: Final = 2

FALLOC_FL_KEEP_SIZE: Final = 1
FALLOC_FL_PUNCH_HOLE: Final = 2
FALLOC_FL_ZERO_RANGE: Final = 0x10

MADV_DONTNEED: Final = 4

UFFDIO_REGISTER_MODE_MISSING: Final = 1
UFFDIO_REGISTER_MODE_MINOR: Final = 4

MFD_CLOEXEC: Final = 1
MFD_ALLOW_SEALING: Final = 2
MFD_HUGETLB: Final = 4
MFD_NOEXEC_SEAL: Final = 8
MFD_EXEC: Final = 0x10

O_RDONLY: Final = 0
O_WRONLY: Final = 1
O_RDWR: Final = 2
O_CREAT: Final = 0o100
O_TRUNC: Final = 0o1000

MS_RDONLY: Final = 1
"""For `remount`, as mount(2) takes it beside MS_REMOUNT."""

FS_IMMUTABLE_FL: Final = 0x10
"""For `chattr`, as FS_IOC_SETFLAGS takes it."""

F_SEAL_SEAL: Final = 0x1
F_SEAL_SHRINK: Final = 0x2
F_SEAL_GROW: Final = 0x4
F_SEAL_WRITE: Final = 0x8
F_SEAL_FUTURE_WRITE: Final = 0x10
F_SEAL_EXEC: Final = 0x20

SPLICE_F_GIFT: Final = 8

IPPROTO_TCP: Final = 6
IPPROTO_UDP: Final = 17

EPERM: Final = errno.EPERM
EBADF: Final = errno.EBADF
EAGAIN: Final = errno.EAGAIN
ENOENT: Final = errno.ENOENT
ENOSYS: Final = errno.ENOSYS
ENXIO: Final = errno.ENXIO
EBADFD: Final = errno.EBADFD
EIO: Final = errno.EIO
EEXIST: Final = errno.EEXIST
ENOMEM: Final = errno.ENOMEM
EROFS: Final = errno.EROFS
EOPNOTSUPP: Final = errno.EOPNOTSUPP
EACCES: Final = errno.EACCES
EFAULT: Final = errno.EFAULT
EBUSY: Final = errno.EBUSY
EINVAL: Final = errno.EINVAL
EPIPE: Final = errno.EPIPE
ESPIPE: Final = errno.ESPIPE
ENODEV: Final = errno.ENODEV
EBADMSG: Final = errno.EBADMSG
ECONNREFUSED: Final = errno.ECONNREFUSED
ENOTTY: Final = errno.ENOTTY
ETXTBSY: Final = errno.ETXTBSY

SIGBUS: Final = signal.SIGBUS
SIGSEGV: Final = signal.SIGSEGV


@attrs.frozen(cache_hash=True)
class Device:
    """A device whose answers come late, or never.  A scenario names those it uses."""

    name: str
    transport: str = "block"
    """How it moves data and what its driver does with user pages; see `mmsim.kernel.direct_io`."""


class Consumer(Enum):
    """What changes a packet before it is read; see `Syscalls.inet_socketpair`."""

    ESP = "IPsec decrypts it"
    RXRPC = "rxrpc decrypts it"
    PEDIT = "a pedit rule of traffic control edits it"


@attrs.frozen
class Mount:
    """A mounted file system: `tmpfs`, or `ext4` on a disk of its own.  A scenario names those it uses."""

    name: str
    kind: str = "tmpfs"
    checksums: bool = False
    """Whether its disk needs a page to stay as it is while it is written (bdi_cap_stable_pages_required)."""


def fill(pattern: bytes, pages: int = 1) -> bytes:
    """`pages` pages of `pattern` over and over.  Raises ValueError unless its length divides PAGE_SIZE."""
    if not pattern or PAGE_SIZE % len(pattern):
        msg = f"a fill pattern must have a length that divides {PAGE_SIZE}, and {pattern!r} has {len(pattern)} bytes"
        raise ValueError(msg)
    return pattern * (pages * PAGE_SIZE // len(pattern))


class Io(Protocol):
    """An asynchronous I/O in flight, as io_submit() knows it by its iocb."""


class Syscalls(Protocol):
    """What a thread of a scenario can ask of the kernel.  Sizes and offsets are in bytes."""

    index: int
    """Which of several copies of one process this is, from 0; 0 where there is only one."""

    # ---- descriptors and files

    async def memfd_create(self, name: str, flags: int = 0) -> int:
        """memfd_create(2): a descriptor.  -EINVAL for flags unknown to the release or a name of more than 249 bytes."""
        ...

    async def close(self, fd: int) -> int:
        """close(2).  -EBADF."""
        ...

    async def dup(self, fd: int) -> int:
        """dup(2): the lowest free descriptor.  -EBADF."""
        ...

    async def ftruncate(self, fd: int, length: int) -> int:
        """ftruncate(2).  -EPERM where F_SEAL_SHRINK, F_SEAL_GROW or S_IMMUTABLE forbids it; -EINVAL if read-only."""
        ...

    async def fallocate(self, fd: int, mode: int, offset: int, length: int) -> int:
        """fallocate(2): 0, -EPERM where a seal forbids it, -EOPNOTSUPP for a mode that memfds do not have."""
        ...

    async def fchmod(self, fd: int, mode: int) -> int:
        """fchmod(2).  -EPERM where F_SEAL_EXEC guards an x bit."""
        ...

    async def read(self, fd: int, length: int) -> bytes | int:
        """read(2) at the file's position."""
        ...

    async def pread(self, fd: int, length: int, offset: int = 0) -> bytes | int:
        """pread(2): the bytes read (fewer at the end of the file)."""
        ...

    async def write(self, fd: int, data: bytes) -> int:
        """write(2) at the file's position."""
        ...

    async def pwrite(self, fd: int, data: bytes, offset: int = 0) -> int:
        """pwrite(2).  -EPERM under F_SEAL_WRITE, or past the size under F_SEAL_GROW."""
        ...

    # ---- memory

    async def mmap(
        self, fd: int, prot: int, flags: int, length: int = PAGE_SIZE, offset: int = 0, address: int = 0
    ) -> int:
        """mmap(2) at an address of the kernel's choice, or with MAP_FIXED at `address` in place of what is there.

        -EPERM where a seal forbids a writable shared mapping.
        """
        ...

    async def dev_zero(self) -> int:
        """open("/dev/zero", O_RDWR): for read(), write(), and mmap() with MAP_PRIVATE, which is anonymous memory.

        Transparent huge pages are always on, and PAGE_SIZE bytes stand for one of them.
        """
        ...

    async def munmap(self, address: int, length: int = PAGE_SIZE) -> int:
        """munmap(2)."""
        ...

    async def mprotect(self, address: int, length: int, prot: int) -> int:
        """mprotect(2): 0, -EACCES for a mapping that may not be written, -ENOMEM where nothing is mapped."""
        ...

    async def mremap(self, address: int, old_length: int, new_length: int, flags: int = 0, to: int = 0) -> int:
        """mremap(2): the address, which is another one if MREMAP_MAYMOVE allows it and the mapping cannot grow.

        With MREMAP_FIXED it is `to`, and what was mapped there is gone.
        """
        ...

    async def load(self, address: int, length: int = PAGE_SIZE) -> bytes | signal.Signals:
        """Read memory as the CPU does: the bytes, or the signal (SIGSEGV, SIGBUS) that a fault would raise."""
        ...

    async def store(self, address: int, data: bytes) -> signal.Signals | None:
        """Write memory as the CPU does: None, or the signal that a fault would raise."""
        ...

    async def madvise(self, address: int, length: int, advice: int) -> int:
        """madvise(2) with MADV_DONTNEED.  -EINVAL, or -ENOMEM where part of the range is not mapped."""
        ...

    # ---- seals

    async def add_seals(self, fd: int, seals: int) -> int:
        """fcntl(F_ADD_SEALS): 0, or -EBADF, -EINVAL, -EPERM, -EBUSY."""
        ...

    async def get_seals(self, fd: int) -> int:
        """fcntl(F_GET_SEALS): the seals, or -EBADF, -EINVAL."""
        ...

    async def udmabuf_create(self, fd: int, offset: int, length: int) -> int:
        """UDMABUF_CREATE on /dev/udmabuf: a descriptor of a dma-buf made of the memfd's own pages, which can be mapped.

        -EINVAL unless F_SEAL_SHRINK is set and F_SEAL_WRITE is not.
        """
        ...

    # ---- processes

    async def fork(self, child: Callable[..., Coroutine[Any, Any, object]]) -> int:
        """fork(2): the child runs `child(sys, shared)`, which the scenario lists in `children`.  The child's pid."""
        ...

    async def execve(self, mount: Mount, name: str) -> int:
        """execve(2) of a file by a process of one thread: where its first page is mapped, readable, as text.

        The thread that called goes on as the program.  All that was mapped is gone, and descriptors stay open.
        -ENOENT, or -ETXTBSY while the file is open for writing.
        """
        ...

    async def exit(self) -> None:
        """exit_group(2) of a process of one thread: waits for its asynchronous I/O, unmaps, closes.  Last call made."""
        ...

    # ---- direct I/O

    async def submit_direct_read(self, device: Device, address: int, data: bytes) -> Any:
        """io_submit() of an O_DIRECT read: pins the buffer at `address`, which the device fills with `data` later.

        Returns an `Io` at once, or a negative errno (-EFAULT: the buffer cannot be written).
        """
        ...

    async def submit_direct_write(self, device: Device, address: int, length: int = PAGE_SIZE) -> Any:
        """io_submit() of an O_DIRECT write: pins the buffer for the device to read later.  An `Io`, or -EFAULT."""
        ...

    async def wait_for(self, io: Any) -> int:
        """io_getevents() for one I/O: the bytes transferred.  Waits for ever for a device that stays silent."""
        ...

    async def device_contents(self, device: Device) -> bytes:
        """What the last write to the device left on it."""
        ...

    # ---- pipes

    async def pipe(self) -> tuple[int, int]:
        """pipe(2): the read end and the write end, for read(), write() and close(): -EPIPE if nobody can read."""
        ...

    async def socketpair(self) -> tuple[int, int]:
        """socketpair(AF_UNIX, SOCK_STREAM): two connected sockets, for read(), write() and close()."""
        ...

    async def inet_socketpair(self, protocol: int, consumer: Consumer, *, tapped: bool = False) -> tuple[int, int]:
        """Two connected sockets, IPPROTO_UDP or IPPROTO_TCP, for read(), write(), splice() to them and close().

        `consumer` changes what either receives: a write() or a splice() is a packet, and a read() gets one.  Decrypting
        turns every byte into its complement.  Where it is `tapped`, a packet socket has a copy of each, which nobody
        reads.  -ECONNREFUSED if the peer is closed.
        """
        ...

    async def splice(self, fd_in: int, offset: int | None, fd_out: int, length: int) -> int:
        """splice(2) between a pipe and a file (at `offset`, None for its position) or from a pipe to a socket.

        Waits for data, or for a free slot.  -EBADF, -EINVAL without a pipe, -EPERM where a seal forbids the write.
        """
        ...

    async def sendfile(self, fd_out: int, fd_in: int, offset: int | None, length: int) -> int:
        """sendfile(2) from a file to a socket or a pipe."""
        ...

    async def tee(self, fd_in: int, fd_out: int, length: int) -> int:
        """tee(2) from one pipe to another.  -EINVAL unless both are."""
        ...

    async def tee_many(self, fd_in: int, count: int) -> int:
        """`count` times tee(2) of the first page in a pipe, each time into a pipe of its own that nobody reads.

        It stands for as many calls by many processes, of which nothing is left but the references.  How many succeeded,
        or what the first one answered; waits for data.
        """
        ...

    async def vmsplice(self, fd: int, address: int, length: int, flags: int = 0) -> int:
        """vmsplice(2) of memory into a pipe; `flags` 0 or SPLICE_F_GIFT.  -EBADF, -EFAULT."""
        ...

    async def af_alg(self) -> int:
        """socket(AF_ALG), bind() to an aead of authencesn, a key, accept(): the socket of a decryption.

        What is spliced or written into it is decrypted by read(), which answers -EBADMSG, for the tag is never right.
        """
        ...

    # ---- other processes' memory
    # `of` is the function of any thread of the process that is meant (one of which there are no copies), and None one's
    # own process.  `setup` has only its own.

    async def process_vm_writev(
        self, of: Callable[..., Coroutine[Any, Any, object]] | None, address: int, data: bytes
    ) -> int:
        """process_vm_writev(2): the bytes written; -EFAULT where the first page may not be written."""
        ...

    async def mem_write(
        self, address: int, data: bytes, of: Callable[..., Coroutine[Any, Any, object]] | None = None
    ) -> int:
        """pwrite(2) to /proc/PID/mem, which copies a private page that is read-only: the bytes written, or -EIO."""
        ...

    async def mem_read(
        self, address: int, length: int, of: Callable[..., Coroutine[Any, Any, object]] | None = None
    ) -> bytes | int:
        """pread(2) of /proc/PID/mem: the bytes read, or -EIO."""
        ...

    # ---- userfaultfd: the process has one; a load or store at a fault that it was promised waits until it is resolved

    async def uffd_register(self, address: int, length: int, mode: int) -> int:
        """UFFDIO_REGISTER: 0, -EINVAL, or -EPERM where the mapping may never be written."""
        ...

    async def uffd_copy(self, address: int, data: bytes) -> int:
        """UFFDIO_COPY: the bytes copied into missing pages; -ENOENT (not registered), -EEXIST, -EFAULT, -EINVAL."""
        ...

    async def uffd_continue(self, address: int) -> int:
        """UFFDIO_CONTINUE for one page: PAGE_SIZE; -ENOENT, -EEXIST, -EFAULT (the file has a hole there), -EINVAL."""
        ...

    # ---- registered buffers

    async def register_buffer(self, address: int, length: int = PAGE_SIZE) -> Any:
        """io_uring_register(IORING_REGISTER_BUFFERS) of one buffer: pins it for writing until it is unregistered.

        Returns the buffer, or -EFAULT where the memory cannot be written, -ENOSYS before v5.1.
        """
        ...

    async def submit_read_fixed(self, device: Device, buffer: Any, data: bytes) -> Any:
        """IORING_OP_READ_FIXED into a registered buffer, mapped or not.  An `Io`, or -EFAULT."""
        ...

    async def unregister_buffer(self, buffer: Any) -> int:
        """io_uring_register(IORING_UNREGISTER_BUFFERS): 0 or -ENXIO.  Before v6.13 waits for requests under way."""
        ...

    # ---- what moves pages, or looks at them, without using them

    async def move_pages(self, address: int) -> int:
        """move_pages(2) of the caller's page at `address`: 0, or the status -EFAULT, -ENOENT, -EACCES, -EBUSY."""
        ...

    async def compact_memory(self) -> int:
        """A write to /proc/sys/vm/compact_memory: every page that nobody holds moves, of the files open here.  0."""
        ...

    async def scan_pages(self) -> int:
        """A read of /sys/kernel/mm/page_idle/bitmap: a look at every page in use, of the files open here.  0."""
        ...

    # ---- file systems

    async def open(self, mount: Mount, name: str, flags: int) -> int:
        """open(2) of a file on a mount: O_RDONLY, O_WRONLY or O_RDWR, with O_CREAT or O_TRUNC or both.

        -ENOENT; -EROFS where the mount is read-only; -EPERM to write an immutable file (-EACCES before v4.9);
        -ETXTBSY to write what is being executed.
        """
        ...

    async def reopen(self, fd: int, flags: int) -> int:
        """open("/proc/self/fd/N"): another open file of the same inode, with a mode of its own.

        As `open`; -ENOENT where the descriptor is not open.
        """
        ...

    async def remount(self, mount: Mount, flags: int) -> int:
        """mount(2) with MS_REMOUNT: MS_RDONLY, or 0 to write again.  -EBUSY while a file is open for writing."""
        ...

    async def chattr(self, fd: int, flags: int) -> int:
        """ioctl(FS_IOC_SETFLAGS): FS_IMMUTABLE_FL or 0.  -EROFS, or -ENOTTY where the file system has no flags."""
        ...

    async def sync(self) -> None:
        """sync(2): all that is dirty goes to its disk; waits where the mount may be written."""
        ...

    async def disk_contents(self, mount: Mount, name: str) -> bytes:
        """What the file would hold if the disk were mounted afresh this moment."""
        ...
