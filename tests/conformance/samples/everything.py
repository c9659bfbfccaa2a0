"""One of each thing that has to be cleaned up: a disk on a loop device, a tmpfs, a FUSE device, a child, a ring, a wait.

user    (own process) leaves an I/O into a registered buffer in flight, forks, and waits for the device
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from mmsim.scenario import Scenario, process
from mmsim.syscalls import (
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    O_CREAT,
    O_RDWR,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    Mount,
    Syscalls,
    fill,
)

SLOW, LOOP = Device("slow"), Device("loop", "loop")
TMP, DISK = Mount("tmp"), Mount("disk", "ext4")
DELAY = 0.02


def runs_the_worker(pid: int) -> bool:
    return "mmsim.conformance.worker" in Path(f"/proc/{pid}/cmdline").read_text()


async def setup(sys: Syscalls) -> int:
    await sys.open(TMP, "frame", O_RDWR | O_CREAT)
    return await sys.open(DISK, "frame", O_RDWR | O_CREAT)


async def child(sys: Syscalls, fd: int) -> int:
    return await sys.pwrite(fd, fill(b"orig"))


async def user(sys: Syscalls, fd: int) -> int:
    memfd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.ftruncate(memfd, PAGE_SIZE)
    window = await sys.mmap(memfd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.fork(child)
    buffer = await sys.register_buffer(window)
    io = await sys.submit_read_fixed(SLOW, buffer, fill(b"late"))
    return await sys.wait_for(io) + await sys.wait_for(await sys.submit_direct_read(LOOP, window, fill(b"loop")))


async def suicide(sys: Syscalls, fd: int) -> int:
    await user(sys, fd)
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


async def patricide(sys: Syscalls, fd: int) -> int:
    """Kills the worker, which is the parent of every tested process and of nothing else."""
    if runs_the_worker(os.getppid()):
        os.kill(os.getppid(), signal.SIGKILL)
    return await user(sys, fd)


def made_of(*threads):
    return Scenario(setup=setup, threads=threads, children=(child,), devices=(SLOW, LOOP), mounts=(TMP, DISK))


scenario = made_of(process(user))
tested_is_killed = made_of(process(suicide))
worker_is_killed = made_of(process(patricide))
