"""Moving references to pages instead of bytes: splice, tee, vmsplice, sendfile.

Follows fs/splice.c (do_splice, iter_file_splice_write, splice_from_pipe, do_tee, link_pipe, vmsplice_to_pipe) and
lib/iov_iter.c (copy_page_to_iter_pipe), v4.9 to v6.4: a slot is waited for, and only then is the page referred to.

A page that is spliced from a file stays the file's: what is written to the file afterwards is read from the pipe.  The
reference is one to read (`PipeBuffer.may_write`); nothing but the consumer's own discipline enforces that.

Not modelled: splicing from pipe to pipe and vmsplice() from a pipe, which move or copy what tee() and read() do too;
stealing of pages (SPLICE_F_MOVE), which no file system does any more; ZERO_PAGE for a hole, a page of zeros of its own
serves; two adjacent parts of one page that share a slot; that a splice to a file copies under the file's i_mutex; that
before v4.9 whoever waited for a slot held the page already, which can only refuse a seal more often; that up to v5.0 a
page that was teed stayed open to appending from both pipes.
"""

from __future__ import annotations

import attrs

from mmsim.errors import UserError
from mmsim.kernel.filemap import find_get_page
from mmsim.kernel.gup import get_user_pages_fast
from mmsim.kernel.net import SocketFile, sendpage
from mmsim.kernel.page_alloc import alloc_page, put_page
from mmsim.kernel.pipe import (
    CAN_MERGE,
    GIFT,
    NO_FLAGS,
    BufOps,
    Pipe,
    PipeBuffer,
    PipeFile,
    consume,
    first_bytes,
    lock_for_reading,
    lock_for_writing,
    pipe_buf_get,
    push,
    readable,
    writable,
)
from mmsim.kernel.releases import SPLICE_LEAVES_FLAGS
from mmsim.kernel.shmem import generic_perform_write
from mmsim.kernel.types import Caller, File, Inode, Kernel, Page
from mmsim.syscalls import EBADF, EFAULT, EINVAL, EPIPE, ESPIPE, PAGE_SIZE, SPLICE_F_GIFT


async def do_splice(k: Kernel, source: File, target: File, offset: int | None, length: int) -> int:
    """splice(): the bytes moved, or an errno.  `offset` is the regular file's; its own position where None."""
    if not source.readable or not target.writable:
        return -EBADF
    pipes = isinstance(source, PipeFile), isinstance(target, PipeFile)
    if not any(pipes):
        return -EINVAL
    if all(pipes):
        msg = "splice() from one pipe to another is not modelled: tee() and read() do the same to pages"
        raise UserError(msg)
    file = target if pipes[0] else source
    if file.f_op:
        return -ESPIPE if offset is not None else await splice_pipe_and_socket(k, source, target, length)
    position = await file.f_pos.load() if offset is None else offset
    if isinstance(target, PipeFile):
        done = await splice_file_to_pipe(k, file.inode, position, target.pipe, length)
    else:
        assert isinstance(source, PipeFile)
        done = await iter_file_splice_write(k, source.pipe, file.inode, position, length)
    if offset is None and done > 0:
        await file.f_pos.store(position + done)
    return done


async def splice_pipe_and_socket(k: Kernel, source: File, target: File, length: int) -> int:
    """The pages in a pipe go to a socket.  A socket's pages go nowhere."""
    if isinstance(source, PipeFile) and isinstance(target, SocketFile):
        return await splice_to_socket(k, source.pipe, target, length)
    msg = "splice() from a socket is not modelled: it holds pages that are no file's"
    raise UserError(msg)


async def part_of_file(k: Kernel, inode: Inode, position: int, most: int) -> tuple[Page, int, int] | None:
    """The page at `position` with a reference, where in it, and how many bytes; None at the end of the file."""
    size = await inode.i_size.load()
    index, start = divmod(position, PAGE_SIZE)
    length = min(PAGE_SIZE - start, most, size - position)
    if length <= 0:
        return None
    page = await find_get_page(k, inode.mapping, index)
    return page or await alloc_page(k), start, length


async def splice_file_to_pipe(k: Kernel, inode: Inode, position: int, pipe: Pipe, length: int) -> int:
    """Fill free slots with references to the file's pages; waits for one."""
    error = await lock_for_writing(pipe)
    if error:
        return error
    done = 0
    while done < length and not (ring := await pipe.ring.load()).full:
        part = await part_of_file(k, inode, position + done, length - done)
        if part is None:
            break
        left = (await pipe.buf(ring.head).load()).flags if k.release.has(SPLICE_LEAVES_FLAGS) else NO_FLAGS
        await push(pipe, PipeBuffer(*part, left, BufOps.PAGE_CACHE))
        done += part[2]
    await pipe.mutex.release()
    return done


async def iter_file_splice_write(k: Kernel, pipe: Pipe, inode: Inode, position: int, length: int) -> int:
    """Write what is in the pipe to the file; what could not be written stays in the pipe."""
    if not await lock_for_reading(pipe):
        return 0
    done = error = 0
    while done < length:
        data = await first_bytes(k, pipe, length - done)
        if not data:
            break
        written = await generic_perform_write(k, inode, position + done, data)
        if written < 0:
            error = written
            break
        await consume(k, pipe, written)
        done += written
    await pipe.mutex.release()
    return done or error


async def splice_to_socket(k: Kernel, pipe: Pipe, sock: SocketFile, length: int) -> int:
    """The socket takes references of its own before the pipe's are given back."""
    if not await lock_for_reading(pipe):
        return 0
    done = error = 0
    while done < length and not (ring := await pipe.ring.load()).empty:
        buffer = await pipe.buf(ring.tail).load()
        assert buffer.page is not None
        sent = await sendpage(k, sock, buffer.page, buffer.offset, min(buffer.length, length - done))
        if sent < 0:
            error = sent
            break
        await consume(k, pipe, sent)
        done += sent
    await pipe.mutex.release()
    return done or error


async def do_sendfile(k: Kernel, source: File, target: File, offset: int | None, length: int) -> int:
    """sendfile() of a regular file to a socket or, as since v5.12, a pipe: the bytes sent, or an errno."""
    if not source.readable or not target.writable:
        return -EBADF
    if source.f_op:
        return -EINVAL
    if isinstance(target, PipeFile):
        return await do_splice(k, source, target, offset, length)
    if not isinstance(target, SocketFile):
        msg = "sendfile() to a regular file is not modelled: it copies"
        raise UserError(msg)
    position = await source.f_pos.load() if offset is None else offset
    done = error = 0
    while done < length and not error:
        part = await part_of_file(k, source.inode, position + done, length - done)
        if part is None:
            break
        sent = await sendpage(k, target, *part)
        await put_page(k, part[0])
        done, error = done + max(sent, 0), min(sent, 0)
    if offset is None and done:
        await source.f_pos.store(position + done)
    return done or error


async def do_tee(k: Kernel, source: File, target: File, length: int) -> int:
    """tee(): refer to what is in one pipe from another as well: the bytes; waits for some, and for space."""
    if not source.readable or not target.writable:
        return -EBADF
    if not isinstance(source, PipeFile) or not isinstance(target, PipeFile) or source.pipe is target.pipe:
        return -EINVAL
    if not length:
        return 0
    await source.pipe.ring.wait_until(readable)
    await target.pipe.ring.wait_until(writable)
    return await link_pipe(k, source.pipe, target.pipe, length)


async def link_pipe(k: Kernel, source: Pipe, target: Pipe, length: int) -> int:
    """Refer to the buffers of `source` from `target` too: the bytes, or -EPIPE, -EFAULT."""
    first, second = in_one_order(source, target)
    done = 0
    async with first.mutex, second.mutex:
        ring = await source.ring.load()
        for number in range(ring.tail, ring.head):
            space = await target.ring.load()
            if not space.readers:
                return done or -EPIPE
            if done == length or space.full:
                break
            buffer = await source.buf(number).load()
            assert buffer.page is not None
            if not await pipe_buf_get(k, buffer.page):
                return done or -EFAULT
            count = min(buffer.length, length - done)
            # Neither a gift nor open to merging: two pipes refer to it now.  Nor a pin: this reference is the pipe's.
            flags = buffer.flags - {GIFT, CAN_MERGE}
            ops = BufOps.TEED if buffer.may_write else buffer.ops
            await push(target, attrs.evolve(buffer, length=count, flags=flags, ops=ops, pin=None))
            done += count
    return done


def in_one_order(*pipes: Pipe) -> list[Pipe]:
    """pipe_double_lock(): whichever is read, so that two who tee crosswise cannot block each other."""
    return sorted(pipes, key=repr)


async def vmsplice_to_pipe(k: Kernel, target: File, address: int, length: int, flags: int) -> int:
    """vmsplice(): refer to the caller's own pages from a pipe.  FOLL_GET for reading, to this day."""
    if flags & ~SPLICE_F_GIFT:
        return -EINVAL
    if not isinstance(target, PipeFile):
        return -EBADF
    if not target.writable:
        msg = "vmsplice() from a pipe is not modelled: it copies as read() does"
        raise UserError(msg)
    if not length:
        return 0
    pipe = target.pipe
    error = await lock_for_writing(pipe)
    if error:
        return error
    done = 0
    while done < length and not error and not (await pipe.ring.load()).full:
        pins = await get_user_pages_fast(k, address + done, 1, Caller.VMSPLICE, write=False)
        if isinstance(pins, int):
            error = pins
            break
        start = (address + done) % PAGE_SIZE
        count = min(PAGE_SIZE - start, length - done)
        gift = frozenset({GIFT}) if flags & SPLICE_F_GIFT else NO_FLAGS
        await push(pipe, PipeBuffer(pins[0].page, start, count, gift, BufOps.USER, pins[0]))
        done += count
    await pipe.mutex.release()
    return done or error
