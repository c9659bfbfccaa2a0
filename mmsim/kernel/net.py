"""What all sockets share that hold pages: fragments of socket buffers.

Follows include/linux/skbuff.h (skb_frag_t) and net/socket.c (sock_write_iter), v6.1.  A fragment is a reference to a
page, to be read: whether the page is the socket's own or a file's, nothing in it says.

Not modelled: the linear part of a socket buffer, because what write() copied is nobody else's memory either way;
blocking of a sender whose peer does not read; sendmsg() with MSG_ZEROCOPY.
"""

from __future__ import annotations

from functools import partial

import attrs

from mmsim.cells import World
from mmsim.kernel.page_alloc import alloc_page, put_page
from mmsim.kernel.shmem import write_page
from mmsim.kernel.types import File, Inode, Kernel, Page, SuperBlock
from mmsim.syscalls import O_RDWR, PAGE_SIZE


@attrs.frozen
class Frag:
    """skb_frag_t, or an entry of a scatterlist: part of a page, with a reference."""

    page: Page
    offset: int
    length: int


class SocketFile(File):
    """A socket as its descriptor knows it."""

    def __init__(self, world: World, name: str) -> None:
        inode = world.handle(
            partial(Inode, sb=world.handle(partial(SuperBlock, kind="sockfs"), "sockfs")), f"{name}.inode"
        )
        super().__init__(world, name, inode, O_RDWR)


async def sock_write(k: Kernel, file: SocketFile, data: bytes) -> int:
    """write(): send a copy, page by page: the bytes sent, or an errno if there are none."""
    sent = 0
    while sent < len(data):
        chunk = data[sent : sent + PAGE_SIZE]
        page = await alloc_page(k)
        await write_page(k, page, 0, chunk)
        result = await sendpage(k, file, page, 0, len(chunk))
        await put_page(k, page)
        if result < 0:
            return sent or result
        sent += result
    return sent


async def sendpage(k: Kernel, file: SocketFile, page: Page, offset: int, length: int) -> int:
    """kernel_sendpage(), MSG_SPLICE_PAGES since v6.5: send part of a page, which stays the caller's as well."""
    assert file.f_op is not None
    assert file.f_op.sendpage is not None
    return await file.f_op.sendpage(k, file, page, offset, length)
