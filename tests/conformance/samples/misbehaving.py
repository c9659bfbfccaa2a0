"""Programs that fail: each must end in one sentence, and leave nothing behind."""

from __future__ import annotations

import asyncio
import ctypes
import time
from collections.abc import Hashable

from mmsim.scenario import Scenario
from mmsim.syscalls import MAP_SHARED, PAGE_SIZE, PROT_READ, PROT_WRITE, Device, Syscalls, fill

SLOW = Device("slow")


async def setup(sys: Syscalls) -> int:
    fd = await sys.memfd_create("frame")
    await sys.ftruncate(fd, PAGE_SIZE)
    return await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)


async def crashes(sys: Syscalls, buffer: int) -> int:
    io = await sys.submit_direct_read(SLOW, buffer, fill(b"new!"))
    ctypes.string_at(8)
    return await sys.wait_for(io)


async def raises(sys: Syscalls, buffer: int) -> int:
    await sys.submit_direct_read(SLOW, buffer, fill(b"new!"))
    return 1 // 0


async def sleeps(sys: Syscalls, buffer: int) -> int:
    io = await sys.submit_direct_read(SLOW, buffer, fill(b"new!"))
    time.sleep(1000)  # noqa: ASYNC251  (it hangs, as it should not)
    return await sys.wait_for(io)


async def awaits(sys: Syscalls, buffer: int) -> None:
    await asyncio.sleep(0)


async def unhashable(sys: Syscalls, buffer: int) -> object:
    return [buffer]


async def unknown_device(sys: Syscalls, buffer: int) -> Hashable:
    return await sys.submit_direct_read(Device("none"), buffer, b"x")  # type: ignore[no-any-return]  # an Io, which is Any


def alone(thread: object) -> Scenario:
    return Scenario(setup=setup, threads=(thread,), devices=(SLOW,))  # type: ignore[arg-type]  # the thread that misbehaves


crashing, raising, sleeping = alone(crashes), alone(raises), alone(sleeps)
awaiting, unhashable_outcome, unknown = alone(awaits), alone(unhashable), alone(unknown_device)
