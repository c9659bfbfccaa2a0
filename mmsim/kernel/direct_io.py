"""Asynchronous direct I/O: pin, submit, be written to or read from at any later time, complete.

Follows fs/direct-io.c, fs/aio.c (io_submit, io_getevents) and block/bio.c (bio_set_pages_dirty, bio_check_pages_dirty),
v3.17, and for a registered buffer io_uring/rw.c (IORING_OP_READ_FIXED), v5.1.  A device is a thread of its own that
may stay silent for ever, between any two steps.  What its transport changes (`TRANSPORTS`) is where the data is copied
and who took the references, which is what a design that converts callers one by one tells apart:

    block    the disk's DMA, then an interrupt
    loop     a worker reads the backing file into the pages of the bio, to which it adds no reference
    fuse     the server's write to /dev/fuse copies into the pages, in the context of that process
    nfs      the answer is copied in a softirq; the references are get_user_pages()'s to this day
    rdma     memory registered as drivers/infiniband/core/umem.c does it, with FOLL_PIN since v5.7; then as block

Not modelled: the deferral of dirtying to a worker where writeback cleaned a page meanwhile, because who makes the page
dirty while it is still pinned changes no content; errors of the device; readv; the order of a loop's worker and its
interrupt (which here are one thread).
"""

from __future__ import annotations

import attrs

from mmsim.kernel.filemap import read_page, set_page_dirty
from mmsim.kernel.gup import get_user_pages_fast, unpin_page
from mmsim.kernel.io_uring import get_rsrc_node, io_put_rsrc_node
from mmsim.kernel.paths import learnable
from mmsim.kernel.slab import kmem_cache_alloc, kmem_cache_free
from mmsim.kernel.types import (
    BlockDevice,
    Caller,
    Io,
    Kernel,
    Page,
    Pin,
    RegisteredBuffer,
    Request,
    patched,
)
from mmsim.steps import Context
from mmsim.syscalls import EINVAL, PAGE_SIZE


@attrs.frozen
class Transport:
    """Where the data is copied and the I/O completed, and who pins the pages."""

    context: Context
    caller: Caller


TRANSPORTS = {
    "block": Transport(Context.HARDIRQ, Caller.DIRECT_IO),
    "loop": Transport(Context.TASK, Caller.DIRECT_IO),
    "fuse": Transport(Context.TASK, Caller.FUSE_DIRECT),
    "nfs": Transport(Context.SOFTIRQ, Caller.NFS_DIRECT),
    "rdma": Transport(Context.HARDIRQ, Caller.RDMA),
}


def queued(queue: tuple[Request, ...], request: Request) -> tuple[Request, ...]:
    """The queue with one more request."""
    return (*queue, request)


def first_done(queue: tuple[Request, ...]) -> tuple[Request, ...]:
    """The queue without the request that was served."""
    return queue[1:]


def waiting(queue: tuple[Request, ...]) -> bool:
    """Whether there is work."""
    return bool(queue)


async def io_submit(
    k: Kernel, device: BlockDevice, caller: Caller, address: int, length: int, data: bytes | None
) -> Io | int:
    """Pin the buffer and queue the I/O: its handle at once, or an errno.  `data` is what a read will bring."""
    if address % PAGE_SIZE or length <= 0:
        return -EINVAL
    # A read from the device writes memory, so it needs pages that may be written.
    pins = await get_user_pages_fast(k, address, -(-length // PAGE_SIZE), caller, write=data is not None)
    return pins if isinstance(pins, int) else await queue_io(k, device, address, pins, data)


async def io_read_fixed(k: Kernel, device: BlockDevice, buffer: RegisteredBuffer, data: bytes) -> Io | int:
    """IORING_OP_READ_FIXED from the device into a registered buffer: the I/O under way, or -EFAULT."""
    pins = await get_rsrc_node(k, buffer, len(data))
    return pins if isinstance(pins, int) else await queue_io(k, device, await buffer.address.load(), pins, data, buffer)


async def queue_io(
    k: Kernel,
    device: BlockDevice,
    address: int,
    pins: tuple[Pin, ...],
    data: bytes | None,
    node: RegisteredBuffer | None = None,
) -> Io:
    """submit_bio()."""
    io = await kmem_cache_alloc(k, "ios", new_io)
    if k.reuses:
        await io.result.store(None)
    await k.process.reqs_active.inc()
    await device.queue.update(queued, Request(io, k.mm, address, pins, data, k.process, node))
    return io


def new_io(k: Kernel, number: int) -> Io:
    """The I/O of that number that this CPU submits."""
    return k.world.handle(Io, f"{k.cpu}.io[{number}]")


def completed(result: int | None) -> bool:
    """Whether the I/O is over."""
    return result is not None


async def wait_for_io(io: Io) -> int:
    """io_getevents(): wait for one I/O; the bytes transferred."""
    result = await io.result.wait_until(completed)
    await kmem_cache_free(io)
    return result or 0


async def device_interrupts(k: Kernel, device: BlockDevice) -> None:
    """What a device does for ever: take a request, transfer it word by word, complete it."""
    while True:
        request = (await device.queue.wait_until(waiting))[0]
        await bio_endio(k, device, request)


@learnable
async def bio_endio(k: Kernel, device: BlockDevice, request: Request) -> None:
    """Transfer and complete one request."""
    if request.data is None:
        await dma_from_memory(k, device, request.pages)
    else:
        await dma_to_memory(k, request.pages, request.data)
    if request.node is None:
        for pin in request.pins:
            if pin.write:
                await set_page_dirty(pin.page)
            await unpin_page(k, pin)
    else:
        await io_put_rsrc_node(k, request.node)  # whose pages are not dirtied (bvecs are not user_backed_iter())
    length = len(request.data) if request.data is not None else len(request.pages) * PAGE_SIZE
    await request.process.reqs_active.dec()
    await request.io.result.store(length)
    # Only now: what is judged at the moment of completion (mmsim.check.properties) is looked up in the queue.
    await device.queue.update(first_done)


async def dma_to_memory(k: Kernel, pages: tuple[Page, ...], data: bytes) -> None:
    """Write `data` into the pinned pages."""
    for number, page in enumerate(pages):
        for word in k.words:
            chunk = data[number * PAGE_SIZE + word * k.word_size :][: k.word_size]
            if chunk:
                await page.word(word).update(transferred, 0, chunk)


def transferred(old: bytes, offset: int, data: bytes) -> bytes:
    """The word with what a device has written."""
    return patched(old, offset, data)


async def dma_from_memory(k: Kernel, device: BlockDevice, pages: tuple[Page, ...]) -> None:
    """Read the pinned pages."""
    seen = b""
    for page in pages:
        seen += await read_page(k, page, 0, PAGE_SIZE)
    await device.contents.store(seen)
