"""Pipes: a ring of slots, each a reference to a page.

Follows fs/pipe.c (pipe_read, pipe_write, pipe_release, do_pipe2), v5.8, in the words of today; before, the ring was
`curbuf` and `nrbufs`, and a buffer's `ops` told whether a write may be merged into it.  Whoever looks at a slot holds
pipe->mutex, except for those who sleep until there is data or space: they look at head and tail alone.

A slot keeps its flags when its buffer is released, and it is up to the next one who fills it to set them.

Not modelled: tmp_page (a page kept for the next write), which only saves an allocation; O_NONBLOCK, O_DIRECT packets,
F_SETPIPE_SZ and named pipes, because no page is held in another way by them; signals.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from functools import partial
from typing import Any

import attrs

from mmsim.cells import Cell, Handle, Mutex, World
from mmsim.kernel.filemap import read_page
from mmsim.kernel.gup import unpin_page
from mmsim.kernel.page_alloc import alloc_page, get_page, put_page
from mmsim.kernel.page_ref import page_ref_overflows
from mmsim.kernel.releases import MERGES_BY_FLAG
from mmsim.kernel.shmem import write_page
from mmsim.kernel.types import File, FileOperations, Inode, Kernel, Page, Pin, SuperBlock
from mmsim.syscalls import EBADF, EPIPE, O_RDONLY, O_WRONLY, PAGE_SIZE

PIPE_DEF_BUFFERS = 16
CAN_MERGE, GIFT = "CAN_MERGE", "GIFT"
NO_FLAGS: frozenset[str] = frozenset()


class BufOps(Enum):
    """struct pipe_buf_operations: where a buffer's page comes from."""

    ANON = "anon_pipe_buf_ops"
    TEED = "anon_pipe_buf_nomerge_ops"
    PAGE_CACHE = "page_cache_pipe_buf_ops"
    USER = "user_page_pipe_buf_ops"


@attrs.frozen
class PipeBuffer:
    """struct pipe_buffer: a reference to a page.  An empty slot has nothing but what flags were left in it."""

    page: Page | None = None
    offset: int = 0
    length: int = 0
    flags: frozenset[str] = NO_FLAGS
    ops: BufOps | None = None
    pin: Pin | None = None
    """The reference, if get_user_pages() took it."""

    @property
    def may_write(self) -> bool:
        """Whether the page is the pipe's own.  Any other is somebody else's memory, to be read and not written."""
        return self.ops is BufOps.ANON


@attrs.frozen
class Ring:
    """Head, tail and who is at either end: what those look at who sleep until there is something to do."""

    head: int = 0
    tail: int = 0
    readers: int = 1
    writers: int = 1

    @property
    def empty(self) -> bool:
        """pipe_empty()."""
        return self.head == self.tail

    @property
    def full(self) -> bool:
        """pipe_full()."""
        return self.head - self.tail >= PIPE_DEF_BUFFERS


class Pipe(Handle):
    """struct pipe_inode_info."""

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self.mutex = world.lock(Mutex, f"{name}.pipe_mutex")
        self.ring: Cell[Ring] = self.cell("ring", Ring())

    def buf(self, number: int) -> Cell[PipeBuffer]:
        """The slot of that number, head and tail taken modulo the size of the ring."""
        return self.cell(f"bufs[{number % PIPE_DEF_BUFFERS}]", PipeBuffer())

    def holds(self, view: Any) -> Iterable[Page | Pin]:
        """The page of every buffer that waits to be read, or the pin that vmsplice() took of it."""
        ring: Ring = view[self.ring]
        waiting = [view[self.buf(number)] for number in range(ring.tail, ring.head)]
        return [buffer.pin or buffer.page for buffer in waiting if buffer.page is not None]


def advanced(ring: Ring, head: int, tail: int) -> Ring:
    """The ring with that many buffers added and taken."""
    return attrs.evolve(ring, head=ring.head + head, tail=ring.tail + tail)


def without_end(ring: Ring, readers: int, writers: int) -> tuple[Ring, bool]:
    """The ring with so many ends closed; whether they were the last."""
    left = attrs.evolve(ring, readers=ring.readers - readers, writers=ring.writers - writers)
    return left, not left.readers and not left.writers


def readable(ring: Ring) -> bool:
    """pipe_readable(): data, or nobody who could send any."""
    return not ring.empty or not ring.writers


def writable(ring: Ring) -> bool:
    """pipe_writable(): space, or nobody who could read."""
    return not ring.full or not ring.readers


async def lock_for_reading(pipe: Pipe) -> bool:
    """Take pipe->mutex with data in the pipe; False, and not locked, at its end."""
    while True:
        await pipe.mutex.acquire()
        ring = await pipe.ring.load()
        if not ring.empty:
            return True
        await pipe.mutex.release()
        if not ring.writers:
            return False
        await pipe.ring.wait_until(readable)


async def lock_for_writing(pipe: Pipe) -> int:
    """wait_for_space(): take pipe->mutex with a free slot in the pipe.  -EPIPE, and not locked, if nobody can read."""
    while True:
        await pipe.mutex.acquire()
        ring = await pipe.ring.load()
        if ring.readers and not ring.full:
            return 0
        await pipe.mutex.release()
        if not ring.readers:
            return -EPIPE
        await pipe.ring.wait_until(writable)


async def push(pipe: Pipe, buffer: PipeBuffer) -> None:
    """Fill the slot at the head.  pipe->mutex is held and there is one."""
    await pipe.buf((await pipe.ring.load()).head).store(buffer)
    await pipe.ring.update(advanced, 1, 0)


async def pipe_buf_release(k: Kernel, pipe: Pipe, number: int, buffer: PipeBuffer) -> None:
    """Empty a slot and give the page back; the slot's flags stay."""
    await pipe.buf(number).store(PipeBuffer(flags=buffer.flags))
    if buffer.pin is not None:
        await unpin_page(k, buffer.pin)
    elif buffer.page is not None:
        await put_page(k, buffer.page)


async def pipe_buf_get(k: Kernel, page: Page) -> bool:
    """generic_pipe_buf_get(): a reference for another pipe; since v5.1 not where the page has too many already."""
    if await page_ref_overflows(k, page):
        return False
    await get_page(page)
    return True


async def consume(k: Kernel, pipe: Pipe, length: int) -> None:
    """Take `length` bytes off the buffer at the tail, which has that many."""
    tail = (await pipe.ring.load()).tail
    buffer = await pipe.buf(tail).load()
    if length < buffer.length:
        await pipe.buf(tail).store(attrs.evolve(buffer, offset=buffer.offset + length, length=buffer.length - length))
        return
    await pipe_buf_release(k, pipe, tail, buffer)
    await pipe.ring.update(advanced, 0, 1)


async def first_bytes(k: Kernel, pipe: Pipe, most: int) -> bytes:
    """What the buffer at the tail has, up to `most` bytes; b"" if the pipe is empty.  pipe->mutex is held."""
    ring = await pipe.ring.load()
    if ring.empty:
        return b""
    buffer = await pipe.buf(ring.tail).load()
    assert buffer.page is not None
    return await read_page(k, buffer.page, buffer.offset, buffer.offset + min(buffer.length, most))


async def pipe_read(k: Kernel, file: PipeFile, length: int) -> bytes | int:
    """read(): what there is, up to `length` bytes; waits for some."""
    if not file.readable:
        return -EBADF
    if not length or not await lock_for_reading(file.pipe):
        return b""
    got = b""
    while len(got) < length:
        data = await first_bytes(k, file.pipe, length - len(got))
        if not data:
            break
        got += data
        await consume(k, file.pipe, len(data))
    await file.pipe.mutex.release()
    return got


def mergeable(k: Kernel, buffer: PipeBuffer) -> bool:
    """Whether a write may be appended to this buffer's page: its flag says so, before v5.8 its ops did."""
    return CAN_MERGE in buffer.flags if k.release.has(MERGES_BY_FLAG) else buffer.may_write


async def merge(k: Kernel, pipe: Pipe, data: bytes) -> int:
    """Append to the last buffer what makes no whole page, if it fits: the bytes written."""
    ring = await pipe.ring.load()
    size = len(data) % PAGE_SIZE
    if ring.empty or not size:
        return 0
    slot = pipe.buf(ring.head - 1)
    buffer = await slot.load()
    end = buffer.offset + buffer.length
    if not mergeable(k, buffer) or buffer.page is None or end + size > PAGE_SIZE:
        return 0
    await write_page(k, buffer.page, end, data[:size])
    await slot.store(attrs.evolve(buffer, length=buffer.length + size))
    return size


async def pipe_write(k: Kernel, file: PipeFile, data: bytes) -> int:
    """write(): all of `data`, waiting for space.  -EPIPE if nobody can read, and nothing was written yet."""
    if not file.writable:
        return -EBADF
    pipe = file.pipe
    if not data:
        return 0
    await pipe.mutex.acquire()
    if not (await pipe.ring.load()).readers:
        await pipe.mutex.release()
        return -EPIPE
    written = await merge(k, pipe, data)
    while written < len(data):
        ring = await pipe.ring.load()
        if ring.full or not ring.readers:
            await pipe.mutex.release()
            error = await lock_for_writing(pipe)
            if error:
                return written or error
        chunk = data[written : written + PAGE_SIZE]
        page = await alloc_page(k)
        await write_page(k, page, 0, chunk)
        await push(pipe, PipeBuffer(page, 0, len(chunk), frozenset({CAN_MERGE}), BufOps.ANON))
        written += len(chunk)
    await pipe.mutex.release()
    return written


async def pipe_release(k: Kernel, file: PipeFile) -> None:
    """The last reference to one end is gone; with the other end gone too, so is all that waits in the pipe."""
    pipe = file.pipe
    async with pipe.mutex:
        last: bool = await pipe.ring.fetch_update(without_end, int(file.readable), int(file.writable))
    if last:
        ring = await pipe.ring.load()
        for number in range(ring.tail, ring.head):
            await pipe_buf_release(k, pipe, number, await pipe.buf(number).load())
        await pipe.ring.update(advanced, 0, ring.head - ring.tail)


class PipeFile(File):
    """One end of a pipe."""

    f_op: FileOperations | None = FileOperations(read=pipe_read, write=pipe_write, release=pipe_release)

    def __init__(self, world: World, name: str, pipe: Pipe, flags: int) -> None:
        super().__init__(world, name, pipefs_inode(world, pipe), flags)
        self.pipe = pipe


def pipefs_inode(world: World, pipe: Pipe) -> Inode:
    """get_pipe_inode()."""
    return world.handle(
        partial(Inode, sb=world.handle(partial(SuperBlock, kind="pipefs"), "pipefs")), f"{pipe.name}.inode"
    )


async def create_pipe_files(k: Kernel) -> tuple[PipeFile, PipeFile]:
    """A new pipe: its read end and its write end."""
    number = await k.number("pipes_made")
    pipe = k.world.handle(Pipe, f"{k.cpu}.pipe[{number}]")
    ends = (("r", O_RDONLY), ("w", O_WRONLY))
    read, write = (
        k.world.handle(partial(PipeFile, pipe=pipe, flags=flags), f"{pipe.name}.{end}") for end, flags in ends
    )
    return read, write
