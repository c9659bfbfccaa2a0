"""Who else holds pages, as a program sees it that runs alone; the tables are of kernels 5.10 to 7.3."""

from __future__ import annotations

import attrs
import pytest

from mmsim.catalogue import check, find
from mmsim.errors import UserError
from mmsim.kernel.direct_io import TRANSPORTS
from mmsim.kernel.types import Caller
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import (
    EACCES,
    EBUSY,
    EFAULT,
    ENOENT,
    ENOSYS,
    ENXIO,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    fill,
)
from tests.kernel.alone import alone, filled, outcomes

RW = PROT_READ | PROT_WRITE
DISK = Device("disk")
URING = {"release": "v5.10"}
RELEASES = pytest.mark.parametrize("release", ["v5.10", "v6.1", "v6.12", "v6.13", "v7.3"])


# ---- registered buffers


@RELEASES
@pytest.mark.parametrize(
    ("flags", "prot", "registered", "sealed", "unregistered"),
    [
        (MAP_SHARED, RW, 0, -EBUSY, 0),
        (MAP_SHARED, PROT_READ, -EFAULT, 0, -ENXIO),
        (MAP_PRIVATE, RW, 0, 0, 0),
        (MAP_PRIVATE, PROT_READ, -EFAULT, 0, -ENXIO),
    ],
)
def test_a_registered_buffer_outlives_its_mapping(release, flags, prot, registered, sealed, unregistered):
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, prot, flags)
        buffer = await sys.register_buffer(window)
        await sys.munmap(window)
        return (
            buffer if isinstance(buffer, int) else 0,
            await sys.add_seals(fd, F_SEAL_WRITE),
            await sys.unregister_buffer(buffer),
            await sys.add_seals(fd, F_SEAL_WRITE),
        )

    assert alone(caller, release=release) == (registered, sealed, unregistered, 0)


def test_a_sealed_file_cannot_be_registered():
    async def caller(sys, _):
        fd = await filled(sys)
        await sys.add_seals(fd, F_SEAL_WRITE)
        return await sys.register_buffer(await sys.mmap(fd, PROT_READ, MAP_SHARED))

    assert alone(caller, release="v7.3") == -EFAULT


@RELEASES
def test_a_fixed_read_after_munmap_writes_the_file(release):
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        buffer = await sys.register_buffer(window)
        await sys.munmap(window)
        done = await sys.wait_for(await sys.submit_read_fixed(DISK, buffer, b"late"))
        return done, await sys.pread(fd, 8), await sys.unregister_buffer(buffer)

    assert alone(caller, release=release, devices=(DISK,)) == (4, b"lateorig", 0)


def test_a_fixed_read_into_a_private_buffer_leaves_the_file():
    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_PRIVATE)
        buffer = await sys.register_buffer(window)
        await sys.wait_for(await sys.submit_read_fixed(DISK, buffer, fill(b"late")))
        return await sys.load(window, 4), await sys.pread(fd, 4)

    assert alone(caller, devices=(DISK,), **URING) == (b"late", b"orig")


def test_what_cannot_be_registered_or_read_into():
    async def caller(sys, _):
        window = await sys.mmap(await filled(sys), RW, MAP_SHARED)
        buffer = await sys.register_buffer(window)
        return (
            await sys.register_buffer(window, 0),
            await sys.register_buffer(window, 2 * PAGE_SIZE),
            await sys.register_buffer(0),
            await sys.submit_read_fixed(DISK, buffer, fill(b"late", 2)),
            await sys.submit_read_fixed(DISK, buffer, b""),
            await sys.unregister_buffer(buffer),
            await sys.unregister_buffer(buffer),
            await sys.submit_read_fixed(DISK, buffer, fill(b"late")),
        )

    refused = -EFAULT
    assert alone(caller, devices=(DISK,), **URING) == (refused,) * 5 + (0, -ENXIO, refused)


def test_before_io_uring():
    async def caller(sys, _):
        return await sys.register_buffer(await sys.mmap(await filled(sys), RW, MAP_SHARED))

    assert alone(caller, release="v4.20") == -ENOSYS


@pytest.mark.parametrize(("release", "seen"), [("v6.12", b"late"), ("v6.13", b"orig")])
def test_unregistering_with_a_request_under_way(release, seen):
    async def caller(sys, _):
        fd = await filled(sys)
        buffer = await sys.register_buffer(await sys.mmap(fd, RW, MAP_SHARED))
        io = await sys.submit_read_fixed(DISK, buffer, fill(b"late"))
        return await sys.unregister_buffer(buffer), await sys.pread(fd, 4), await sys.wait_for(io)

    assert alone(caller, release=release, devices=(DISK,)) == (0, seen, PAGE_SIZE)


def test_exit_gives_registered_buffers_back():
    async def child(sys, shared):
        await sys.register_buffer(await sys.mmap(3, RW, MAP_SHARED))
        await sys.exit()

    async def parent(sys, _):
        fd = await filled(sys)
        await sys.fork(child)
        await sys.wait_for(await sys.submit_direct_write(DISK, await sys.mmap(fd, PROT_READ, MAP_PRIVATE)))
        return await sys.add_seals(fd, F_SEAL_WRITE)

    # The parent waits for the device only when nobody else can move, so the child is gone by then.
    assert outcomes(parent, children=(child,), devices=(DISK,), **URING)["parent"] == 0


# ---- transports


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_every_transport_carries_both_ways(transport):
    device = Device("device", transport)

    async def caller(sys, _):
        fd = await filled(sys)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        read = await sys.wait_for(await sys.submit_direct_read(device, window, fill(b"late")))
        written = await sys.wait_for(await sys.submit_direct_write(device, window))
        return read, written, await sys.device_contents(device), await sys.pread(fd, 4)

    assert alone(caller, devices=(device,)) == (PAGE_SIZE, PAGE_SIZE, fill(b"late"), b"late")


@pytest.mark.parametrize(
    ("transport", "caller"),
    [
        ("block", Caller.DIRECT_IO),
        ("loop", Caller.DIRECT_IO),
        ("fuse", Caller.FUSE_DIRECT),
        ("nfs", Caller.NFS_DIRECT),
    ],
)
def test_a_design_is_told_who_pins(transport, caller):
    device, told = Device("device", transport), []

    async def listening(k, pin):
        told.append(pin.caller)
        return await wait_for_pins.pin(k, pin)

    async def reader(sys, _):
        window = await sys.mmap(await filled(sys), RW, MAP_SHARED)
        await sys.wait_for(await sys.submit_direct_read(device, window, fill(b"late")))

    alone(reader, devices=(device,), strategy=attrs.evolve(wait_for_pins, pin=listening))
    assert set(told) == {caller}


def test_an_unknown_transport():
    scenario = attrs.evolve(find("dio_write_out").scenario, devices=(Device("slow", "blok"),))
    with pytest.raises(UserError, match=r"mine\.py: the device 'slow' has the transport 'blok'.*mean 'block'\?"):
        check(scenario, "mine.py")


# ---- what moves pages, or looks at them


def test_move_pages():
    async def caller(sys, _):
        fd = await filled(sys, 2)
        window = await sys.mmap(fd, RW, MAP_SHARED, 2 * PAGE_SIZE)
        untouched = await sys.move_pages(window)
        await sys.store(window, b"mine")
        moved = await sys.move_pages(window), await sys.load(window, 8), await sys.pread(fd, 8)
        await sys.store(window, b"next")
        again = await sys.pread(fd, 8), await sys.move_pages(window)
        other = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
        await sys.load(other, 1)
        return untouched, moved, again, await sys.move_pages(window), await sys.move_pages(0)

    assert alone(caller) == (-ENOENT, (0, b"mineorig", b"mineorig"), (b"nextorig", 0), -EACCES, -EFAULT)


@pytest.mark.parametrize("release", ["v3.17", "v5.17"])
def test_a_page_under_io_stays(release):
    async def caller(sys, _):
        window = await sys.mmap(await filled(sys), RW, MAP_SHARED)
        io = await sys.submit_direct_read(DISK, window, fill(b"late"))
        pinned = await sys.move_pages(window)
        await sys.wait_for(io)
        return pinned, await sys.move_pages(window), await sys.load(window, 4)

    assert alone(caller, release=release, devices=(DISK,)) == (-EBUSY, 0, b"late")


def test_compaction_and_scanning_change_nothing_to_be_seen():
    async def caller(sys, _):
        fd = await filled(sys, 2)
        window = await sys.mmap(fd, RW, MAP_SHARED)
        private = await sys.mmap(fd, RW, MAP_PRIVATE, PAGE_SIZE, PAGE_SIZE)
        await sys.store(window, b"mine")
        await sys.store(private, b"copy")
        done = await sys.compact_memory(), await sys.scan_pages()
        await sys.store(window, b"next")
        return done, await sys.pread(fd, 8), await sys.load(private, 8)

    assert alone(caller) == ((0, 0), b"nextorig", b"copyorig")


def test_a_page_in_this_cpus_cache_refuses_no_seal():
    async def caller(sys, _):
        fd = await filled(sys)
        first = await sys.pread(fd, 4), await sys.scan_pages(), await sys.pread(fd, 4)
        return first, await sys.add_seals(fd, F_SEAL_WRITE), await sys.pread(fd, 4)

    assert alone(caller) == ((b"orig", 0, b"orig"), 0, b"orig")
