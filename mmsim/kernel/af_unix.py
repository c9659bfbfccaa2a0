"""A pair of connected AF_UNIX stream sockets.

Follows net/unix/af_unix.c (unix_socketpair, unix_stream_sendpage, unix_stream_read_generic, unix_release_sock), v4.2
to v6.4.  What was sent and not read yet keeps its pages referred to; the one who reads drops them, in his own context.

Not modelled: files in flight (see `mmsim.kernel.scm`), datagrams, shutdown() of one direction; sockets of other
families, whose pages are dropped in softirq when the peer acknowledges, because put_page() is the same there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

from mmsim.cells import Cell, Mutex, World
from mmsim.kernel.filemap import read_page
from mmsim.kernel.memory import copy_page
from mmsim.kernel.net import (
    Frag,
    ReceiveQueue,
    SocketFile,
    purged,
    queued,
    sock_write,
    something_to_read,
    without_peer,
)
from mmsim.kernel.page_alloc import get_page, put_page
from mmsim.kernel.releases import UNIX_SENDPAGE
from mmsim.kernel.types import FileOperations, Kernel, Page
from mmsim.syscalls import EPIPE


def first_read(queue: ReceiveQueue[Frag], length: int) -> ReceiveQueue[Frag]:
    """The queue with so many bytes of its first fragment read."""
    first, *rest = queue.sent
    left = Frag(first.page, first.offset + length, first.length - length)
    return attrs.evolve(queue, sent=(left, *rest) if left.length else tuple(rest))


async def unix_stream_sendpage(k: Kernel, file: UnixSocket, page: Page, offset: int, length: int, _flags: int) -> int:
    """Queue part of a page at the peer.  Before v4.2 a copy of it."""
    if k.release.has(UNIX_SENDPAGE):
        await get_page(page)
    else:
        page = await copy_page(k, page)
    if await file.peer.queue.fetch_update(queued, Frag(page, offset, length)):
        return length
    await put_page(k, page)
    return -EPIPE


async def unix_stream_read(k: Kernel, file: UnixSocket, length: int) -> bytes | int:
    """recv(): what there is, up to `length` bytes; waits for some."""
    got = b""
    while length:
        async with file.iolock:
            queue = await file.queue.load()
            while queue.sent and len(got) < length:
                first = queue.sent[0]
                count = min(first.length, length - len(got))
                got += await read_page(k, first.page, first.offset, first.offset + count)
                await file.queue.update(first_read, count)
                if count == first.length:
                    await put_page(k, first.page)
                queue = await file.queue.load()
        if got or queue.peer_gone:
            break
        await file.queue.wait_until(something_to_read)
    return got


async def unix_release(k: Kernel, file: UnixSocket) -> None:
    """The last descriptor is closed: what was not read is dropped, the peer is told."""
    for frag in await file.queue.fetch_update(purged):
        await put_page(k, frag.page)
    await file.peer.queue.update(without_peer)


class UnixSocket(SocketFile):
    """One end of a socketpair(2): struct unix_sock and its file."""

    f_op: FileOperations | None = FileOperations(
        read=unix_stream_read, write=sock_write, release=unix_release, sendpage=unix_stream_sendpage
    )

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.iolock = world.lock(Mutex, f"{name}.iolock")
        self.queue: Cell[ReceiveQueue[Frag]] = self.cell("receive_queue", ReceiveQueue())

    @property
    def peer(self) -> UnixSocket:
        """unix_peer()."""
        pair, end = self.name[:-1], self.name[-1]
        return self.world.handle(UnixSocket, pair + ("b" if end == "a" else "a"))

    def holds(self, view: Any) -> Iterable[Page]:
        """The pages that were sent to it and that it has not read."""
        return [frag.page for frag in view[self.queue].sent]


async def unix_socketpair(k: Kernel) -> tuple[UnixSocket, UnixSocket]:
    """Two connected sockets."""
    number = await k.number("socketpairs_made")
    first, second = (k.world.handle(UnixSocket, f"{k.cpu}.socketpair[{number}].{end}") for end in "ab")
    return first, second
