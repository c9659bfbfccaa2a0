"""What all sockets share that hold pages: fragments of socket buffers, and the queue in which they wait.

Follows include/linux/skbuff.h (skb_frag_t), include/net/sock.h (sk_receive_queue) and net/socket.c (sock_write_iter),
v6.1.  A fragment is a reference to a page, to be read: whether the page is the socket's own or a file's, nothing in it
says.

Not modelled: the linear part of a socket buffer, because what write() copied is nobody else's memory either way;
blocking of a sender whose peer does not read; sendmsg() with MSG_ZEROCOPY.
"""

from __future__ import annotations

from functools import partial
from typing import Generic, TypeVar

import attrs

from mmsim.cells import World
from mmsim.kernel.page_alloc import alloc_page, put_page
from mmsim.kernel.shmem import write_page
from mmsim.kernel.types import File, Inode, Kernel, Page, SuperBlock
from mmsim.syscalls import O_RDWR, PAGE_SIZE

MSG_NO_SHARED_FRAGS = 0x80000


@attrs.frozen
class Frag:
    """skb_frag_t, or an entry of a scatterlist: part of a page, with a reference."""

    page: Page
    offset: int
    length: int


T = TypeVar("T")


@attrs.frozen
class ReceiveQueue(Generic[T]):
    """sk_receive_queue: what the peer sent, whether the peer is gone, and whether the owner is."""

    sent: tuple[T, ...] = ()
    peer_gone: bool = False
    dead: bool = False


def queued(queue: ReceiveQueue[T], one: T) -> tuple[ReceiveQueue[T], bool]:
    """The queue with one more, unless its owner is gone; whether it was taken."""
    return (queue if queue.dead else attrs.evolve(queue, sent=(*queue.sent, one))), not queue.dead


def without_peer(queue: ReceiveQueue[T]) -> ReceiveQueue[T]:
    """The queue of one whose peer is gone."""
    return attrs.evolve(queue, peer_gone=True)


def purged(queue: ReceiveQueue[T]) -> tuple[ReceiveQueue[T], tuple[T, ...]]:
    """The queue of one who is gone; what he had not read."""
    return attrs.evolve(queue, sent=(), dead=True), queue.sent


def something_to_read(queue: ReceiveQueue[T]) -> bool:
    """Whether recv() need not wait."""
    return bool(queue.sent) or queue.peer_gone


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
        result = await sendpage(k, file, page, 0, len(chunk), MSG_NO_SHARED_FRAGS)
        await put_page(k, page)
        if result < 0:
            return sent or result
        sent += result
    return sent


async def sendpage(k: Kernel, file: SocketFile, page: Page, offset: int, length: int, flags: int = 0) -> int:
    """kernel_sendpage(), MSG_SPLICE_PAGES since v6.5: send part of a page, which stays the caller's as well."""
    assert file.f_op is not None
    assert file.f_op.sendpage is not None
    return await file.f_op.sendpage(k, file, page, offset, length, flags)
