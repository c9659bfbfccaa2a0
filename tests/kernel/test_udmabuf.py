"""dma-bufs made of a memfd's pages: what they map, what they hold, and what the seals say to it."""

from __future__ import annotations

import attrs
import pytest

from mmsim.kernel.strategy import linux
from mmsim.kernel.types import Inode
from mmsim.strategies.pin_user_pages import pin_user_pages
from mmsim.syscalls import (
    EBADF,
    EBADFD,
    EBUSY,
    EFAULT,
    EINVAL,
    ENOENT,
    F_SEAL_FUTURE_WRITE,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    SIGSEGV,
    Device,
    fill,
)
from tests.kernel.alone import alone, filled, outcomes

RW = PROT_READ | PROT_WRITE


def test_udmabuf():
    async def caller(sys, _):
        fd = await filled(sys)
        unsealed = await sys.udmabuf_create(fd, 0, PAGE_SIZE)
        await sys.add_seals(fd, F_SEAL_SHRINK)
        buffer = await sys.udmabuf_create(fd, 0, PAGE_SIZE)
        window = await sys.mmap(buffer, RW, MAP_SHARED)
        return (
            unsealed,
            await sys.udmabuf_create(fd, 1, PAGE_SIZE),
            await sys.udmabuf_create(fd, 0, 0),
            await sys.udmabuf_create(fd, 0, 2 * PAGE_SIZE),
            await sys.udmabuf_create(99, 0, PAGE_SIZE),
            await sys.udmabuf_create(buffer, 0, PAGE_SIZE),
            await sys.mmap(buffer, RW, MAP_PRIVATE),
            await sys.get_seals(buffer),
            await sys.add_seals(buffer, 0),
            await sys.store(window, b"late"),
            await sys.pread(fd, 4),
            await sys.add_seals(fd, F_SEAL_WRITE),
            await sys.load(window + PAGE_SIZE, 1),
            await sys.munmap(window),
        )

    inval = -EINVAL
    expected = (
        inval, inval, inval, inval, -EBADF, -EBADFD, inval, inval, inval, None, b"late", -EBUSY, SIGSEGV, 0
    )  # fmt: skip
    assert alone(caller, release="v6.1") == expected
    assert alone(caller, release="v7.3") == expected


@pytest.mark.parametrize(
    ("release", "seal", "refused"),
    [
        ("v6.12", F_SEAL_FUTURE_WRITE, False),
        ("v6.13", F_SEAL_FUTURE_WRITE, True),
        ("v6.12", F_SEAL_WRITE, True),
        ("v6.13", F_SEAL_WRITE, True),
    ],
)
def test_udmabuf_and_the_seals(release, seal, refused):
    async def caller(sys, _):
        fd = await filled(sys)
        await sys.add_seals(fd, F_SEAL_SHRINK | seal)
        return await sys.udmabuf_create(fd, 0, PAGE_SIZE)

    answer = alone(caller, release=release)
    assert (answer == -EINVAL) == refused
    assert refused or answer > 0


async def all_but_the_second_page(k, pin):
    return not await pin.page.index.load() and await linux.pin(k, pin)


@pytest.mark.parametrize(("release", "strategy", "created"), [
    ("v6.13", attrs.evolve(linux, pin=all_but_the_second_page), False),
    ("v6.13", linux, True),
    ("v6.5", attrs.evolve(linux, pin=all_but_the_second_page), True),
])  # fmt: skip
def test_udmabuf_pins_its_pages_since_v6_11_and_gives_back_what_it_had_of_them(release, strategy, created):
    async def caller(sys, _):
        fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
        await sys.pwrite(fd, fill(b"orig", 2))
        await sys.add_seals(fd, F_SEAL_SHRINK)
        return await sys.udmabuf_create(fd, 0, 2 * PAGE_SIZE)

    answer = alone(caller, release=release, strategy=strategy)
    assert answer > 0 if created else answer == -EINVAL


@pytest.mark.parametrize(("release", "references"), [("v6.5", 1), ("v6.13", 1024)])
def test_how_much_udmabuf_counts_where_a_pin_is_told_from_a_reference(release, references):
    async def caller(sys, _):
        fd = await filled(sys)
        await sys.add_seals(fd, F_SEAL_SHRINK)
        (file,) = sys.k.world.of(Inode)
        page = await file.mapping.slot(0).load()
        before = await page.refcount.load()
        await sys.udmabuf_create(fd, 0, PAGE_SIZE)
        return await page.refcount.load() - before, await sys.add_seals(fd, F_SEAL_WRITE)

    assert alone(caller, release=release, strategy=pin_user_pages) == (references, 0 if references == 1 else -EBUSY)


def test_no_udmabuf_in_v3_17():
    async def caller(sys, _):
        return await sys.udmabuf_create(await filled(sys), 0, PAGE_SIZE)

    assert alone(caller) == -ENOENT


@pytest.mark.parametrize("release", ["v6.1", "v6.13"])
def test_a_dma_buf_mapped_through_fork(release):
    async def child(sys, shared):
        stored = await sys.store(0x10000, b"kid!")
        await sys.exit()
        return stored

    async def caller(sys, _):
        fd = await filled(sys)
        await sys.add_seals(fd, F_SEAL_SHRINK)
        window = await sys.mmap(await sys.udmabuf_create(fd, 0, PAGE_SIZE), RW, MAP_SHARED)
        await sys.store(window, b"late")
        io = await sys.submit_direct_read(Device("disk"), window, fill(b"data"))
        if not isinstance(io, int):
            await sys.wait_for(io)
        await sys.fork(child)
        return isinstance(io, int) and io, await sys.munmap(window)

    told = outcomes(caller, release=release, children=(child,), devices=(Device("disk"),))
    assert told == {"caller": (-EFAULT if release == "v6.13" else False, 0), "child": None}
