"""SCM_RIGHTS: an open file goes over an AF_UNIX socket to another process.

Follows net/core/scm.c (scm_fp_copy, scm_detach_fds) and fs/file.c (receive_fd), v5.9 to v6.18; earlier releases answer
the same.  It is the struct file that is handed over, so its position and how it was opened stay what they are; the
receiver's descriptor is the lowest free one of its own.

Not modelled: the message between sendmsg() and recvmsg(), in which a file stays open without a descriptor, and so
neither sockets that are in flight themselves (net/unix/garbage.c) nor a receiver that never looks; several files in one
message; MSG_CMSG_CLOEXEC, for close-on-exec is looked at nowhere here; EMFILE.
"""

from __future__ import annotations

from mmsim.kernel.file_table import fd_install, fget
from mmsim.kernel.types import File, Kernel
from mmsim.syscalls import EBADF


async def scm_fp_copy(k: Kernel, fd: int) -> File | int:
    """The sender's part: the file of its descriptor, with a reference that goes along, or -EBADF."""
    file = await fget(k, fd)
    return -EBADF if file is None else file


async def scm_detach_fds(k: Kernel, file: File) -> int:
    """The receiver's part: its new descriptor, which has the reference that came along."""
    return await fd_install(k, file)
