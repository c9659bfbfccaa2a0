"""Mistakes in pipes, splicing and sockets, each of which the checker must find."""

from __future__ import annotations

import attrs

from mmsim.check.books import LEAK
from mmsim.check.promises import SEALED
from mmsim.kernel.af_unix import UnixSocket
from mmsim.kernel.filemap import read_page
from mmsim.kernel.gup import get_user_pages_fast, unpin_pages
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.pipe import PipeBuffer, PipeFile, advanced, push, readable, without_end
from mmsim.kernel.releases import change
from mmsim.kernel.splice import part_of_file
from mmsim.scenario import Scenario
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    fill,
)
from tests.mutants.judged import Mutant, each

RW = PROT_READ | PROT_WRITE
FD, READ, WRITE = 3, 4, 5
WINDOW = 0x10000
BUG = "no kernel bug"
ALWAYS = change("in every release", "v1.0..")

# ---- scenes


async def pipe(sys):
    fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.pipe()


async def spliced(sys):
    await pipe(sys)
    await sys.splice(FD, 0, WRITE, PAGE_SIZE)


async def spliced_and_closed(sys):
    await spliced(sys)
    await sys.close(WRITE)


async def written(sys):
    await pipe(sys)
    await sys.write(WRITE, b"one")


async def used_and_sealed(sys):
    await pipe(sys)
    await sys.add_seals(FD, F_SEAL_WRITE)
    await sys.write(WRITE, fill(b"used", 16))
    await sys.read(READ, 16 * PAGE_SIZE)


async def mapped(sys):
    await pipe(sys)
    await sys.mmap(FD, RW, MAP_SHARED)


async def two_pipes_one_empty(sys):
    await written(sys)
    await sys.pipe()


async def two_pipes(sys):
    await two_pipes_one_empty(sys)
    await sys.write(7, b"two")


async def sockets(sys):
    await pipe(sys)
    await sys.socketpair()


async def sealed_operation(sys):
    await pipe(sys)
    await sys.add_seals(FD, F_SEAL_WRITE)
    await sys.af_alg()


async def private_copy(sys):
    await pipe(sys)
    await sys.mmap(FD, RW, MAP_PRIVATE)
    await sys.store(WINDOW, b"mine")


async def user(sys, _):
    await sys.splice(FD, 0, WRITE, 4)
    await sys.write(WRITE, b"more")


async def splicer(sys, _):
    await sys.splice(FD, 0, WRITE, 4)
    await sys.close(WRITE)
    return await sys.read(READ, 4)


async def truncater(sys, _):
    await sys.ftruncate(FD, 0)


async def reader(sys, _):
    return await sys.read(READ, 2 * PAGE_SIZE)


async def other(sys, _):
    return await sys.read(READ, 2 * PAGE_SIZE)


async def closer(sys, _):
    await sys.close(READ)
    await sys.close(WRITE)


async def giver(sys, _):
    await sys.vmsplice(WRITE, WINDOW, PAGE_SIZE)
    await sys.close(WRITE)
    return await sys.read(READ, PAGE_SIZE)


async def tees(sys, _):
    await sys.tee(READ, 7, 9)
    await sys.write(7, b"!")
    await sys.write(WRITE, b"?")
    return await sys.read(READ, 9), await sys.read(6, 9)


async def tees_back(sys, _):
    await sys.tee(6, WRITE, 9)


async def only_tees(sys, _):
    await sys.tee(READ, 7, 9)


async def sender(sys, _):
    await sys.sendfile(6, FD, 0, 4)
    return await sys.read(7, 4)


async def sends_and_closes(sys, _):
    await sys.sendfile(6, FD, 0, 4)
    await sys.close(7)


async def decrypter(sys, _):
    await sys.splice(FD, 0, WRITE, 16)
    await sys.splice(READ, None, 6, 16)
    await sys.read(6, 16)


async def child(sys, _):
    await sys.vmsplice(WRITE, WINDOW, 4)
    await sys.munmap(WINDOW)
    return await sys.read(READ, 4)


async def forker(sys, _):
    await sys.fork(child)
    await sys.store(WINDOW, b"next")


def a_teed_page_is_nobodys_to_append_to(tees):
    return tees[1] == b"one!"


def memory_in_a_pipe_is_as_it_was(child):
    return child == b"mine"


def scene(setup, *threads, **more):
    return Scenario(setup=setup, threads=threads, **more)


# ---- mistakes


async def release_without_put(_k, pipe, number, buffer):
    await pipe.buf(number).store(PipeBuffer(flags=buffer.flags))


async def forgetful_release(_k, file):
    pipe = file.pipe
    async with pipe.mutex:
        await pipe.ring.fetch_update(without_end, int(file.readable), int(file.writable))
    ring = await pipe.ring.load()
    if not ring.readers and not ring.writers:
        await pipe.ring.update(advanced, 0, ring.head - ring.tail)


async def read_unlocked(k, file, _length):
    pipe = file.pipe
    ring = await pipe.ring.wait_until(readable)
    buffer = await pipe.buf(ring.tail).load()
    if buffer.page is None:
        return b""
    got = await read_page(k, buffer.page, buffer.offset, buffer.offset + buffer.length)
    await pipe.buf(ring.tail).store(PipeBuffer())
    await put_page(k, buffer.page)
    await pipe.ring.update(advanced, 0, 1)
    return got


async def part_without_reference(k, inode, position, most):
    part = await part_of_file(k, inode, position, most)
    if part is not None:
        await put_page(k, part[0])
    return part


async def link_without_reference(_k, source, target, _length):
    async with source.mutex, target.mutex:
        ring = await source.ring.load()
        await push(target, await source.buf(ring.tail).load())
    return 1


async def link_that_keeps_flags(_k, source, target, _length):
    async with source.mutex, target.mutex:
        buffer = await source.buf((await source.ring.load()).tail).load()
        await buffer.page.refcount.get_reference()
        await push(target, buffer)
    return buffer.length


async def queue_without_reference(_page):
    return None


async def forgetful_close(_k, _file):
    return None


def nothing_held(_self, _view):
    return ()


def f_op(kind, **mistake):
    return attrs.evolve(kind.f_op, **mistake)


def anything(_k, _buffer):
    return True


def as_they_come(*pipes):
    return list(pipes)


async def pages_given_back(k, address, count, caller, *, write):
    pins = await get_user_pages_fast(k, address, count, caller, write=write)
    if not isinstance(pins, int):
        await unpin_pages(k, pins)
    return pins


@each(
    [
        Mutant(
            "splice leaves the flags of the slot",
            scene(used_and_sealed, user),
            SEALED,
            (("kernel.splice", "SPLICE_LEAVES_FLAGS", ALWAYS),),
            release="v5.17",
        ),
        Mutant(
            "a write is merged into whatever is there",
            scene(used_and_sealed, user),
            SEALED,
            (("kernel.pipe", "mergeable", anything),),
        ),
        Mutant(
            "AEAD works in place",
            scene(sealed_operation, decrypter),
            SEALED,
            (("kernel.algif_aead", "AEAD_IN_PLACE", ALWAYS),),
            release="v7.0",
        ),
        Mutant(
            "a page is reused by its map count",
            scene(private_copy, forker, children=(child,), always=(memory_in_a_pipe_is_as_it_was,)),
            "memory_in_a_pipe_is_as_it_was",
            (("kernel.memory", "REUSES_BY_MAPCOUNT", ALWAYS),),
            release="v5.9",
        ),
        Mutant(
            "an emptied slot gives nothing back",
            scene(spliced, reader),
            LEAK,
            (("kernel.pipe", "pipe_buf_release", release_without_put),),
        ),
        Mutant(
            "the last close forgets what is in the pipe",
            scene(spliced, closer),
            LEAK,
            (("kernel.pipe", "PipeFile.f_op", f_op(PipeFile, release=forgetful_release)),),
        ),
        Mutant(
            "nobody knows what a pipe holds",
            scene(spliced, truncater),
            LEAK,
            (("kernel.pipe", "Pipe.holds", nothing_held),),
        ),
        Mutant(
            "a pipe is read without its mutex",
            scene(spliced_and_closed, reader, other),
            LEAK,
            (("kernel.pipe", "PipeFile.f_op", f_op(PipeFile, read=read_unlocked)),),
        ),
        Mutant(
            "splice takes no reference",
            scene(pipe, splicer, truncater),
            BUG,
            (("kernel.splice", "part_of_file", part_without_reference),),
        ),
        Mutant(
            "tee takes no reference",
            scene(two_pipes, tees),
            BUG,
            (("kernel.splice", "link_pipe", link_without_reference),),
        ),
        Mutant(
            "tee leaves a page open to appending",
            scene(two_pipes_one_empty, tees, always=(a_teed_page_is_nobodys_to_append_to,)),
            "a_teed_page_is_nobodys_to_append_to",
            (("kernel.splice", "link_pipe", link_that_keeps_flags),),
            release="v5.8",
        ),
        Mutant(
            "tee locks the pipe it reads first",
            scene(two_pipes, only_tees, tees_back),
            "no deadlock",
            (("kernel.splice", "in_one_order", as_they_come),),
        ),
        Mutant(
            "a socket takes no reference",
            scene(sockets, sender),
            LEAK,
            (("kernel.af_unix", "get_page", queue_without_reference),),
            release="v4.8",
        ),
        Mutant(
            "a closed socket keeps what it has not read",
            scene(sockets, sends_and_closes),
            LEAK,
            (
                ("kernel.af_unix", "UnixSocket.f_op", f_op(UnixSocket, release=forgetful_close)),
                ("kernel.af_unix", "UnixSocket.holds", nothing_held),
            ),
            release="v4.8",
        ),
        Mutant(
            "vmsplice keeps no reference",
            scene(mapped, giver, truncater),
            BUG,
            (("kernel.splice", "get_user_pages_fast", pages_given_back),),
        ),
    ]
)
def test_mistakes_are_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
