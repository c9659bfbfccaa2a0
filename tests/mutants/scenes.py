"""The smallest scenarios that show a difference, for mutants to be tried on; each bears its threads' names."""

from __future__ import annotations

from mmsim.scenario import Scenario
from mmsim.syscalls import (
    F_SEAL_GROW,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    fill,
)

RW = PROT_READ | PROT_WRITE
DISK = Device("disk")
FD = 3
WINDOW = 0x10000
ORIG, LATE, NEXT = fill(b"orig"), fill(b"late"), fill(b"next")

# ---- setups


async def file(sys):
    fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, ORIG)


async def hole(sys):
    fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, PAGE_SIZE)
    await sys.mmap(fd, RW, MAP_SHARED)


async def mapped(sys):
    await file(sys)
    await sys.mmap(FD, RW, MAP_SHARED)


async def read_only_and_sealable(sys):
    await file(sys)
    await sys.mmap(FD, PROT_READ, MAP_SHARED)


async def touched(sys):
    await mapped(sys)
    await sys.store(WINDOW, ORIG)


async def private(sys):
    await file(sys)
    await sys.mmap(FD, RW, MAP_PRIVATE)
    await sys.load(WINDOW, 4)


async def private_copy(sys):
    await private(sys)
    await sys.store(WINDOW, ORIG)


async def flag_and_private(sys):
    await private(sys)
    await sys.memfd_create("flag")


# ---- threads


async def submitter(sys, _):
    await sys.submit_direct_read(DISK, WINDOW, LATE)


async def reader(sys, _):
    return await sys.wait_for(await sys.submit_direct_read(DISK, WINDOW, LATE))


async def waiter(sys, _):
    await sys.wait_for(await sys.submit_direct_read(DISK, WINDOW, LATE))
    return await sys.load(WINDOW)


async def leaver(sys, _):
    await sys.submit_direct_read(DISK, WINDOW, LATE)
    await sys.munmap(WINDOW)


async def visitor(sys, _):
    window = await sys.mmap(FD, RW, MAP_SHARED)
    if window > 0:
        await sys.submit_direct_read(DISK, window, LATE)
        await sys.munmap(window)


async def all_in_turn(sys, _):
    """Reads into the file, unmaps it, cuts it to nothing."""
    await sys.wait_for(await sys.submit_direct_read(DISK, WINDOW, LATE))
    await sys.munmap(WINDOW)
    await sys.ftruncate(FD, 0)


async def mapper(sys, _):
    window = await sys.mmap(FD, RW, MAP_SHARED)
    return await sys.store(window, LATE) if window > 0 else window


async def map_and_unmap(sys, _):
    await sys.munmap(await sys.mmap(FD, RW, MAP_SHARED))


async def loader(sys, _):
    return await sys.load(WINDOW)


async def writer(sys, _):
    return await sys.store(WINDOW, NEXT)


async def writer_twice(sys, _):
    return await sys.store(WINDOW, NEXT), await sys.store(WINDOW, LATE)


async def unmapper(sys, _):
    return await sys.munmap(WINDOW)


async def truncater(sys, _):
    return await sys.ftruncate(FD, 0)


async def grower(sys, _):
    return await sys.ftruncate(FD, 2 * PAGE_SIZE)


async def file_reader(sys, _):
    return await sys.pread(FD, 4)


async def file_writer(sys, _):
    return await sys.pwrite(FD, LATE)


async def sealer(sys, _):
    return await sys.add_seals(FD, F_SEAL_WRITE)


async def shrink_sealer(sys, _):
    return await sys.add_seals(FD, F_SEAL_SHRINK)


async def grow_sealer(sys, _):
    return await sys.add_seals(FD, F_SEAL_GROW)


async def loads_then_seals(sys, _):
    await sys.load(WINDOW)
    return await sys.add_seals(FD, F_SEAL_WRITE)


async def truncates_and_seals(sys, _):
    return await sys.ftruncate(FD, 0), await sys.add_seals(FD, F_SEAL_WRITE)


async def child(sys, _):
    return await sys.load(WINDOW, 4), await sys.load(WINDOW, 4)


async def storing_child(sys, _):
    return await sys.store(WINDOW, LATE)


async def forker(sys, _):
    await sys.fork(child)


async def forks_and_seals(sys, _):
    await sys.fork(storing_child)
    await sys.munmap(WINDOW)
    return await sys.add_seals(FD, F_SEAL_WRITE)


async def flagger(sys, _):
    await sys.store(WINDOW, NEXT)
    await sys.pwrite(FD + 1, b"done")


async def watcher(sys, _):
    await sys.load(WINDOW, 4)
    flag = await sys.pread(FD + 1, 4)
    return flag, await sys.load(WINDOW, 4)


async def appends_one(sys, _):
    await sys.write(FD, b"1")
    return await sys.pread(FD, 2)


async def appends_two(sys, _):
    await sys.write(FD, b"2")
    return await sys.pread(FD, 2)


async def empty(sys):
    await sys.memfd_create("file", MFD_ALLOW_SEALING)


# ---- what only one scene promises


def the_data_is_there(waiter):
    return waiter == LATE


def a_store_is_seen_by_all_threads(watcher):
    flag, seen = watcher
    return flag != b"done" or seen == b"next"


def private_memory_is_ones_own(child):
    return child[0] == child[1]


def no_write_overwrites_another(appends_one, appends_two):
    return max(len(appends_one), len(appends_two)) == 2


WITH_DISK = {submitter, reader, waiter, leaver, visitor, all_in_turn}


def scene(setup, *threads, **more):
    devices = (DISK,) if any(thread in WITH_DISK for thread in threads) else ()
    return Scenario(setup=setup, threads=threads, devices=devices, **more)


# ---- a mistake that shows in several


def by_name(entry):
    """For place_in_tree(): fork() inserts the child's VMA anywhere, here before the parent's, which is `main`'s."""
    mm, vma = entry
    return vma.pgoff, mm.name, vma.start
