"""Asynchronous direct I/O: pin, submit, be written to or read from at any later time, complete.

Follows fs/direct-io.c, fs/aio.c (io_submit, io_getevents) and block/bio.c (bio_set_pages_dirty, bio_check_pages_dirty),
v3.17.  A device is a thread of its own in hardirq context that may stay silent for ever, between any two steps.

Not modelled: the deferral of dirtying to a worker where writeback cleaned a page meanwhile, because who makes the page
dirty while it is still pinned changes no content; errors of the device.
"""

from __future__ import annotations

from mmsim.kernel.filemap import read_page, set_page_dirty
from mmsim.kernel.gup import get_user_pages_fast
from mmsim.kernel.types import BlockDevice, Caller, Io, Kernel, Page, Request, patched
from mmsim.syscalls import EINVAL, PAGE_SIZE


def queued(queue: tuple[Request, ...], request: Request) -> tuple[Request, ...]:
    """The queue with one more request."""
    return (*queue, request)


def first_done(queue: tuple[Request, ...]) -> tuple[Request, ...]:
    """The queue without the request that was served."""
    return queue[1:]


def waiting(queue: tuple[Request, ...]) -> bool:
    """Whether there is work."""
    return bool(queue)


async def io_submit(k: Kernel, device: BlockDevice, address: int, length: int, data: bytes | None) -> Io | int:
    """Pin the buffer and queue the I/O: its handle at once, or an errno.  `data` is what a read will bring."""
    if address % PAGE_SIZE or length <= 0:
        return -EINVAL
    # A read from the device writes memory, so it needs pages that may be written.
    pins = await get_user_pages_fast(k, address, -(-length // PAGE_SIZE), Caller.DIRECT_IO, write=data is not None)
    if isinstance(pins, int):
        return pins
    number = await k.next_io.add_return(1) - 1
    io = k.world.handle(Io, f"{k.cpu}.io[{number}]")
    await k.process.reqs_active.inc()
    await device.queue.update(queued, Request(io, k.mm, address, pins, data, k.process))
    return io


def completed(result: int | None) -> bool:
    """Whether the I/O is over."""
    return result is not None


async def wait_for_io(io: Io) -> int:
    """io_getevents(): wait for one I/O; the bytes transferred."""
    result = await io.result.wait_until(completed)
    return result or 0


async def device_interrupts(k: Kernel, device: BlockDevice) -> None:
    """What a device does for ever: take a request, transfer it word by word, complete it in an interrupt."""
    while True:
        request = (await device.queue.wait_until(waiting))[0]
        await bio_endio(k, device, request)


async def bio_endio(k: Kernel, device: BlockDevice, request: Request) -> None:
    """Transfer and complete one request."""
    if request.data is None:
        await dma_from_memory(k, device, request.pages)
    else:
        await dma_to_memory(k, request.pages, request.data)
    for pin in request.pins:
        if pin.write:
            await set_page_dirty(pin.page)
        await k.strategy.unpin(k, pin)
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
                await page.word(word).update(patched, 0, chunk)


async def dma_from_memory(k: Kernel, device: BlockDevice, pages: tuple[Page, ...]) -> None:
    """Read the pinned pages."""
    seen = b""
    for page in pages:
        seen += await read_page(k, page, 0, PAGE_SIZE)
    await device.contents.store(seen)
