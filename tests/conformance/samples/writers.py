"""Direct writes from two copies of one process, each to a device of its own, and from a forked child."""

from __future__ import annotations

from mmsim.scenario import Scenario, copies
from mmsim.syscalls import MAP_SHARED, PAGE_SIZE, PROT_READ, PROT_WRITE, Device, Syscalls, fill

DISK = Device("disk")
COMMON = Device("common")


async def setup(sys: Syscalls) -> tuple[int, int]:
    fd = await sys.memfd_create("frame")
    await sys.ftruncate(fd, 4 * PAGE_SIZE)
    await sys.dup(fd)
    return fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 4 * PAGE_SIZE)


async def user(sys: Syscalls, s: tuple[int, int]) -> tuple[object, ...]:
    own = await sys.mmap(s[0], PROT_READ | PROT_WRITE, MAP_SHARED, PAGE_SIZE, sys.index * PAGE_SIZE)
    inherited = await sys.load(s[1] + 3 * PAGE_SIZE, 1) if sys.index == 9 else None
    await sys.store(own, fill(b"%d" % sys.index))
    io = await sys.submit_direct_write(DISK, own)
    await sys.munmap(own)
    return await sys.wait_for(io), (await sys.device_contents(DISK))[:2], inherited, await sys.close(s[0] + 1)


async def parent(sys: Syscalls, s: tuple[int, int]) -> tuple[object, ...]:
    address = s[1] + 2 * PAGE_SIZE
    await sys.store(address, fill(b"p"))
    first = await sys.submit_direct_write(COMMON, address)
    second = await sys.submit_direct_write(COMMON, address)
    forked = await sys.fork(child) > 0
    return forked, await sys.wait_for(second), await sys.wait_for(first), (await sys.device_contents(COMMON))[:1]


async def child(sys: Syscalls, s: tuple[int, int]) -> object:
    seen = await sys.load(s[1] + 2 * PAGE_SIZE, 1)
    missing = await sys.submit_direct_write(COMMON, 0)
    io = await sys.submit_direct_write(COMMON, s[1] + 2 * PAGE_SIZE)
    await sys.exit()
    return seen, missing, isinstance(io, int)


scenario = Scenario(
    setup=setup,
    threads=(parent, copies(2, user, devices=(DISK,))),
    children=(child,),
    devices=(COMMON,),
)
expected = {
    "parent": (True, PAGE_SIZE, PAGE_SIZE, b"p"),
    "user[0]": (PAGE_SIZE, b"00", None, 0),
    "user[1]": (PAGE_SIZE, b"11", None, 0),
    "child": (b"p", -14, False),
}
