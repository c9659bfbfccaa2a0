"""A pair of connected UDP or TCP sockets on one machine, whose packets something changes on their way.

Follows net/ipv4/ip_output.c (__ip_append_data, ip_append_page before v6.5), net/ipv4/udp.c, net/ipv4/tcp.c
(tcp_sendmsg_locked), net/ipv4/tcp_input.c (tcp_try_coalesce) and net/core/dev.c (dev_queue_xmit_nit), v6.12.  A page
that is spliced to a socket is not copied: the packet refers to it, up to the consumer at the other end.

A consumer runs when the receiver asks for the packet.  Linux runs rxrpc's then too, the others' in softirq as soon as
the packet arrives, which is one of the moments at which the receiver may ask.

Not modelled: routes, headers, windows, acknowledgements and loss; a packet that is as long as a call made it, and is
read by one call (what does not fit is dropped, as of a datagram), because framing moves no page; that ESP in TCP is
there from v5.6 on; a receiver whose packets nobody changes, because an AF_UNIX socket holds pages in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

import attrs

from mmsim.cells import Cell, World
from mmsim.errors import UserError
from mmsim.kernel.act_pedit import tcf_pedit_act
from mmsim.kernel.esp import esp_input
from mmsim.kernel.net import (
    MSG_NO_SHARED_FRAGS,
    Frag,
    ReceiveQueue,
    SocketFile,
    purged,
    queued,
    sock_write,
    something_to_read,
    without_peer,
)
from mmsim.kernel.page_alloc import get_page
from mmsim.kernel.releases import COALESCING_KEEPS_MARKER, UDP_MARKS_SHARED_FRAGS
from mmsim.kernel.rxrpc import rxrpc_input_call_event
from mmsim.kernel.skbuff import SkBuff, kfree_skb, skb_clone, skb_copy_bits, skb_try_coalesce
from mmsim.kernel.types import FileOperations, Kernel, Page
from mmsim.syscalls import ECONNREFUSED, IPPROTO_TCP, IPPROTO_UDP, Consumer

CONSUMERS: dict[Consumer, Callable[[Kernel, SkBuff], Coroutine[Any, Any, SkBuff]]] = {
    Consumer.ESP: esp_input,
    Consumer.RXRPC: rxrpc_input_call_event,
    Consumer.PEDIT: tcf_pedit_act,
}

Queue = ReceiveQueue[SkBuff]


def coalesced(queue: Queue, skb: SkBuff, keeps_marker: bool) -> tuple[Queue, bool]:
    """The queue of a TCP socket with this packet's fragments at the end of the last one, where they can be there."""
    merged = skb_try_coalesce(queue.sent[-1], skb, keeps_marker) if queue.sent and not queue.dead else None
    if merged is None:
        return queued(queue, skb)
    return attrs.evolve(queue, sent=(*queue.sent[:-1], merged)), True


def dequeued(queue: Queue) -> tuple[Queue, SkBuff | None]:
    """The queue without its first packet, and that packet."""
    if not queue.sent:
        return queue, None
    return attrs.evolve(queue, sent=queue.sent[1:]), queue.sent[0]


async def inet_sendpage(k: Kernel, file: InetSocket, page: Page, offset: int, length: int, flags: int) -> int:
    """Send part of a page as a packet: the bytes sent, or -ECONNREFUSED."""
    await get_page(page)
    marks = file.protocol == IPPROTO_TCP or k.release.has(UDP_MARKS_SHARED_FRAGS)
    skb = SkBuff((Frag(page, offset, length),), shared_frag=marks and not flags & MSG_NO_SHARED_FRAGS)
    return await deliver(k, file.peer, skb)


async def deliver(k: Kernel, file: InetSocket, skb: SkBuff) -> int:
    """The packet, at the receiver: its length, or -ECONNREFUSED if he is gone."""
    if file.tapped:
        tapped = await skb_clone(skb)
        await file.tap.update(captured, tapped)
        skb = attrs.evolve(skb, cloned=True)
    if file.protocol == IPPROTO_TCP:
        taken = await file.queue.fetch_update(coalesced, skb, k.release.has(COALESCING_KEEPS_MARKER))
    else:
        taken = await file.queue.fetch_update(queued, skb)
    if taken:
        return skb.length
    await kfree_skb(k, skb)
    return -ECONNREFUSED


def captured(packets: tuple[SkBuff, ...], skb: SkBuff) -> tuple[SkBuff, ...]:
    """What a packet socket has, with one more."""
    return (*packets, skb)


async def inet_recvmsg(k: Kernel, file: InetSocket, length: int) -> bytes:
    """recv(): the next packet as the consumer left it, up to `length` bytes; waits for one."""
    while True:
        queue: Queue = await file.queue.wait_until(something_to_read)
        skb: SkBuff | None = await file.queue.fetch_update(dequeued)
        if skb is not None:
            break
        if queue.peer_gone:
            return b""
    skb = await CONSUMERS[file.consumer](k, skb)
    got = await skb_copy_bits(k, skb, length)
    await kfree_skb(k, skb)
    return got


async def inet_release(k: Kernel, file: InetSocket) -> None:
    """The last descriptor is closed: what was not read is dropped, the peer is told.  A tap keeps what it has."""
    for skb in await file.queue.fetch_update(purged):
        await kfree_skb(k, skb)
    await file.peer.queue.update(without_peer)


class InetSocket(SocketFile):
    """One end of a connection: struct sock and its file.  `tap` is what a packet socket has that nobody reads."""

    f_op: FileOperations | None = FileOperations(
        read=inet_recvmsg, write=sock_write, release=inet_release, sendpage=inet_sendpage
    )

    def __init__(self, world: World, name: str, protocol: int, consumer: Consumer, *, tapped: bool) -> None:
        super().__init__(world, name)
        self.protocol = protocol
        self.consumer = consumer
        self.tapped = tapped
        self.queue: Cell[Queue] = self.cell("receive_queue", ReceiveQueue())
        self.tap: Cell[tuple[SkBuff, ...]] = self.cell("tap", ())

    @property
    def peer(self) -> InetSocket:
        """The other end."""
        pair, end = self.name[:-1], self.name[-1]
        other = partial(InetSocket, protocol=self.protocol, consumer=self.consumer, tapped=self.tapped)
        return self.world.handle(other, pair + ("b" if end == "a" else "a"))

    def holds(self, view: Any) -> Iterable[Page]:
        """The pages that were sent to it and that it has not read, and those that the tap has."""
        return [page for skb in (*view[self.queue].sent, *view[self.tap]) for page in skb.pages]


async def inet_socketpair(
    k: Kernel, protocol: int, consumer: Consumer, *, tapped: bool
) -> tuple[InetSocket, InetSocket]:
    """Two connected sockets."""
    if protocol not in (IPPROTO_UDP, IPPROTO_TCP) or (consumer is Consumer.RXRPC and protocol != IPPROTO_UDP):
        msg = f"sockets of protocol {protocol} with {consumer} are not modelled: take UDP, or TCP for ESP and pedit"
        raise UserError(msg)
    number = await k.number("connections_made")
    kind = partial(InetSocket, protocol=protocol, consumer=consumer, tapped=tapped)
    first, second = (k.world.handle(kind, f"{k.cpu}.connection[{number}].{end}") for end in "ab")
    return first, second
