"""/dev/zero: memory without a file.

Follows drivers/char/mem.c (mmap_zero, read_iter_zero, write_null), v4.14.  A private mapping of it is anonymous memory,
as MAP_ANONYMOUS makes it.

Not modelled: a shared mapping, which is a tmpfs file that nobody else can name; pread() and pwrite(), for which it is
no regular file here.
"""

from __future__ import annotations

from functools import partial

from mmsim.cells import World
from mmsim.kernel.types import File, FileOperations, Inode, Kernel, SuperBlock
from mmsim.syscalls import O_RDWR


async def read_zero(_k: Kernel, _file: File, length: int) -> bytes:
    """read(): as many zeros as were asked for."""
    return bytes(length)


async def write_null(_k: Kernel, _file: File, data: bytes) -> int:
    """write(): all of it goes nowhere."""
    return len(data)


async def release_nothing(_k: Kernel, _file: File) -> None:
    """The device stays."""


class ZeroFile(File):
    """/dev/zero as one who opened it knows it."""

    f_op: FileOperations | None = FileOperations(
        read=read_zero, write=write_null, release=release_nothing, maps_privately=True
    )

    def __init__(self, world: World, name: str) -> None:
        device = partial(Inode, sb=world.handle(partial(SuperBlock, kind="zero"), "devtmpfs"))
        super().__init__(world, name, world.handle(device, "/dev/zero"), O_RDWR)


async def open_zero(k: Kernel) -> ZeroFile:
    """The device, opened once more."""
    number = await k.world.cell(f"{k.cpu}.zeros_opened", 0).add_return(1) - 1
    return k.world.handle(ZeroFile, f"{k.cpu}.zero[{number}]")
