"""io_uring's registered buffers: pages pinned once, for any number of requests, until somebody unregisters them.

Follows io_uring/rsrc.c (io_sqe_buffer_register, io_sqe_buffers_unregister, io_rsrc_ref_quiesce), v5.1 and later.  The
pins are FOLL_WRITE | FOLL_LONGTERM: a mapping that cannot be written is refused, a private one is copied at once, and
shared memory stays allowed, for it keeps no track of dirty pages.  A request adds no reference to the pages but one to
the node that holds them, so munmap() changes nothing.

Unregistering takes the buffer out of the table first, so that no further request finds it.  Then older kernels wait
for the requests under way; since v6.13 the last of them lets the pages go.

Not modelled: buffers that begin or end within a page; the ring itself, its files and workers; updates of the table;
migration out of CMA and movable zones at registration, which the kernel may skip.
"""

from __future__ import annotations

from mmsim.cells import Cell, Mutex
from mmsim.errors import UserError
from mmsim.kernel.gup import get_user_pages, unpin_pages
from mmsim.kernel.releases import HAS_IO_URING, UNREGISTERS_AT_ONCE
from mmsim.kernel.types import Caller, Kernel, Pin, Process, RegisteredBuffer
from mmsim.syscalls import EFAULT, ENOSYS, ENXIO, PAGE_SIZE

THE_TABLE = 1

Table = tuple[RegisteredBuffer, ...]


def user_bufs(process: Process) -> Cell[Table]:
    """ctx->user_bufs."""
    return process.cell("io_uring.user_bufs", ())


def uring_lock(process: Process) -> Mutex:
    """ctx->uring_lock."""
    return process.world.lock(Mutex, f"{process.name}.io_uring.uring_lock")


def with_buffer(table: Table, buffer: RegisteredBuffer) -> Table:
    """The table with one more."""
    return (*table, buffer)


def without_buffer(table: Table, buffer: RegisteredBuffer) -> tuple[Table, bool]:
    """The table without it, and whether it was there."""
    return tuple(other for other in table if other is not buffer), buffer in table


def only_the_table(refs: int) -> bool:
    """Whether no request is under way."""
    return refs == THE_TABLE


async def io_register_buffer(k: Kernel, address: int, length: int) -> RegisteredBuffer | int:
    """IORING_REGISTER_BUFFERS of one buffer: the buffer, -EFAULT, or -ENOSYS before v5.1."""
    if not k.release.has(HAS_IO_URING):
        return -ENOSYS
    if length <= 0:
        return -EFAULT
    if address % PAGE_SIZE or length % PAGE_SIZE:
        msg = f"a registered buffer of {length} bytes at {address:#x} is not modelled: it has to consist of whole pages"
        raise UserError(msg)
    async with uring_lock(k.process):
        pins = await get_user_pages(k, k.mm, address, length // PAGE_SIZE, Caller.IO_URING, write=True)
        if isinstance(pins, int):
            return pins
        number = await k.number("buffers_made")
        buffer = k.world.handle(RegisteredBuffer, f"{k.cpu}.buffer[{number}]")
        await buffer.address.store(address)
        await buffer.pins.store(pins)
        await buffer.refs.store(THE_TABLE)
        await user_bufs(k.process).update(with_buffer, buffer)
    return buffer


async def io_put_rsrc_node(k: Kernel, buffer: RegisteredBuffer) -> None:
    """Drop a reference to the node; the last lets the pages go, none of which was dirtied for it."""
    if await buffer.refs.dec_and_test():
        await unpin_pages(k, await buffer.pins.exchange(()))


async def io_unregister_buffer(k: Kernel, buffer: RegisteredBuffer) -> int:
    """IORING_UNREGISTER_BUFFERS: 0, or -ENXIO if it is not registered."""
    async with uring_lock(k.process):
        if not await user_bufs(k.process).fetch_update(without_buffer, buffer):
            return -ENXIO
    if not k.release.has(UNREGISTERS_AT_ONCE):
        await buffer.refs.wait_until(only_the_table)  # with uring_lock dropped, as requests need it to complete
    await io_put_rsrc_node(k, buffer)
    return 0


async def get_rsrc_node(k: Kernel, buffer: RegisteredBuffer, length: int) -> tuple[Pin, ...] | int:
    """io_import_fixed(): the pins of a registered buffer, with a reference to its node for a request.  -EFAULT."""
    async with uring_lock(k.process):
        if buffer not in await user_bufs(k.process).load():
            return -EFAULT
        pins = await buffer.pins.load()
        if not 0 < length <= len(pins) * PAGE_SIZE:
            return -EFAULT
        await buffer.refs.inc()  # before uring_lock is dropped: until then the table's reference keeps the node
    return pins


async def io_ring_exit(k: Kernel) -> None:
    """io_ring_exit_work(): a worker drops the buffers after exit_files(); the exiting thread does it here, last."""
    for buffer in await user_bufs(k.process).exchange(()):
        await io_put_rsrc_node(k, buffer)
