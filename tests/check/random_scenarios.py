"""Scenarios drawn from a seed: a few threads that make a few calls each, on one memfd that is mapped twice.

    python -m tests.check.random_scenarios SEED SECONDS      draws and judges them until the time is over

What every thread does is plain data, so that an example that fails can be read, and drawn again.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from typing import Any

import attrs

from mmsim.check import Bounds, Test, check
from mmsim.errors import UserError
from mmsim.kernel.releases import release_named
from mmsim.scenario import Scenario
from mmsim.strategies import BY_NAME
from mmsim.syscalls import (
    F_SEAL_GROW,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MADV_DONTNEED,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    fill,
)
from mmsim.verdict import Holds, Undecided

RW, DISK = PROT_READ | PROT_WRITE, Device("disk")
SHARED, PRIVATE, ELSEWHERE = 0x10000, 0x11000, 0x70000
FD, SOURCE, SINK = 3, 4, 5
RELEASES = ("v3.17", "v5.1", "v5.18", "v6.6", "v6.12", "v6.18")
DESIGNS = ("wait_for_pins", "delayed_unmap_zap")


async def reads(sys: Any, buffer: int) -> object:
    """Read from the disk, and wait for it."""
    io = await sys.submit_direct_read(DISK, buffer, fill(b"disk"))
    return io if isinstance(io, int) else await sys.wait_for(io)


async def asks_for(sys: Any, buffer: int) -> object:
    """Read from the disk, and do not wait."""
    io = await sys.submit_direct_read(DISK, buffer, fill(b"late"))
    return io if isinstance(io, int) else None


async def writes(sys: Any) -> object:
    """Write to the disk."""
    io = await sys.submit_direct_write(DISK, SHARED)
    return io if isinstance(io, int) else await sys.wait_for(io)


async def registers(sys: Any) -> object:
    """Read into a registered buffer."""
    buffer = await sys.register_buffer(SHARED)
    if isinstance(buffer, int):
        return buffer
    io = await sys.submit_read_fixed(DISK, buffer, fill(b"ring"))
    if not isinstance(io, int):
        await sys.wait_for(io)
    return await sys.unregister_buffer(buffer)


async def pipes(sys: Any) -> object:
    """Give the page to a pipe, and read it from there."""
    given = await sys.vmsplice(SINK, SHARED, PAGE_SIZE)
    return given if given < 0 else await sys.read(SOURCE, PAGE_SIZE)


HOLE = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
CALLS: dict[str, Callable[[Any], Any]] = {
    "seal writes": lambda sys: sys.add_seals(FD, F_SEAL_WRITE),
    "seal the size": lambda sys: sys.add_seals(FD, F_SEAL_SHRINK | F_SEAL_GROW),
    "truncate to 0": lambda sys: sys.ftruncate(FD, 0),
    "truncate to 2": lambda sys: sys.ftruncate(FD, 2 * PAGE_SIZE),
    "truncate within a page": lambda sys: sys.ftruncate(FD, 100),
    "punch within a page": lambda sys: sys.fallocate(FD, HOLE, 100, 100),
    "punch": lambda sys: sys.fallocate(FD, HOLE, 0, PAGE_SIZE),
    "allocate": lambda sys: sys.fallocate(FD, 0, 0, 2 * PAGE_SIZE),
    "pwrite": lambda sys: sys.pwrite(FD, b"w"),
    "pread": lambda sys: sys.pread(FD, PAGE_SIZE),
    "load": lambda sys: sys.load(SHARED, 1),
    "store": lambda sys: sys.store(SHARED, b"s"),
    "load privately": lambda sys: sys.load(PRIVATE, 1),
    "store privately": lambda sys: sys.store(PRIVATE, b"p"),
    "unmap": lambda sys: sys.munmap(SHARED),
    "unmap the private one": lambda sys: sys.munmap(PRIVATE),
    "protect": lambda sys: sys.mprotect(SHARED, PAGE_SIZE, PROT_READ),
    "map over": lambda sys: sys.mmap(FD, RW, MAP_SHARED | MAP_FIXED, PAGE_SIZE, 0, SHARED),
    "map privately over": lambda sys: sys.mmap(FD, RW, MAP_PRIVATE | MAP_FIXED, PAGE_SIZE, 0, SHARED),
    "remap": lambda sys: sys.mremap(SHARED, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, ELSEWHERE),
    "drop": lambda sys: sys.madvise(SHARED, PAGE_SIZE, MADV_DONTNEED),
    "drop the private copy": lambda sys: sys.madvise(PRIVATE, PAGE_SIZE, MADV_DONTNEED),
    "close": lambda sys: sys.close(FD),
    "dup": lambda sys: sys.dup(FD),
    "make a dma-buf": lambda sys: sys.udmabuf_create(FD, 0, PAGE_SIZE),
    "move": lambda sys: sys.move_pages(SHARED),
    "compact": lambda sys: sys.compact_memory(),
    "scan": lambda sys: sys.scan_pages(),
    "vmsplice": lambda sys: sys.vmsplice(SINK, SHARED, PAGE_SIZE),
    "splice": lambda sys: sys.splice(FD, 0, SINK, PAGE_SIZE),
    "process_vm_writev": lambda sys: sys.process_vm_writev(None, SHARED, b"v"),
    "read from the disk": lambda sys: reads(sys, SHARED),
    "read from the disk privately": lambda sys: reads(sys, PRIVATE),
    "ask the disk": lambda sys: asks_for(sys, SHARED),
    "write to the disk": writes,
    "read into a registered buffer": registers,
    "pipe": pipes,
}


@attrs.frozen
class Drawn:
    """One of them, as data."""

    threads: tuple[tuple[str, ...], ...]
    pages: int
    touched: bool
    """Whether the file was written, and both mappings stored to, before."""
    cannot_shrink: bool
    evicts: bool
    release: str
    strategy: str

    def test(self) -> Test:
        """What the checker is asked."""
        scenario = Scenario(
            setup=self._setup,
            threads=tuple(map(self._thread, range(len(self.threads)))),
            devices=(DISK,),
            words_per_page=1,
            evicts=self.evicts,
        )
        return Test("drawn", scenario, BY_NAME[self.strategy], release_named(self.release))

    async def _setup(self, sys: Any) -> None:
        assert await sys.memfd_create("frame", MFD_ALLOW_SEALING) == FD
        await sys.ftruncate(FD, self.pages * PAGE_SIZE)
        if self.touched:
            await sys.pwrite(FD, fill(b"orig"))
        if self.cannot_shrink:
            await sys.add_seals(FD, F_SEAL_SHRINK)
        assert await sys.mmap(FD, RW, MAP_SHARED) == SHARED
        assert await sys.mmap(FD, RW, MAP_PRIVATE) == PRIVATE
        if self.touched:
            await sys.store(SHARED, b"mine")
            await sys.store(PRIVATE, b"copy")
        assert await sys.pipe() == (SOURCE, SINK)

    def _thread(self, number: int) -> Callable[..., Any]:
        async def thread(sys: Any, _: object) -> tuple[object, ...]:
            return tuple([await CALLS[call](sys) for call in self.threads[number]])

        thread.__name__ = "abc"[number]
        return thread


def drawn(seed: str) -> Drawn:
    """The scenario of that seed."""
    draw = random.Random(seed)
    release = draw.choice(RELEASES)
    # Until v4.19 mremap() flushed too late (CVE-2018-18281), which is no mistake of a design.
    calls = [call for call in CALLS if call != "remap" or release != "v3.17"]
    threads = draw.choice((2, 2, 2, 3))
    lengths = (1, 2, 2) if threads == 2 else (1,)
    return Drawn(
        tuple(tuple(draw.choices(calls, k=draw.choice(lengths))) for _ in range(threads)),
        pages=draw.choice((1, 2)),
        touched=draw.random() < 0.7,
        cannot_shrink=draw.random() < 0.5,
        evicts=draw.random() < 0.5,
        release=release,
        strategy=draw.choice(DESIGNS),
    )


FEW, MANY = Bounds(max_states=60_000), Bounds(max_states=100_000)


def complaint(one: Drawn, *, unreduced: bool) -> str | None:
    """What is wrong with the checker's answer; None if nothing is, or it cannot be had."""
    test = one.test()
    try:
        found = check(test, bounds=FEW)
    except UserError as error:
        return None if "not modelled" in str(error) else str(error)
    if isinstance(found, Undecided):
        return None
    if not isinstance(found, Holds):
        return f"{found.violation.property}: {found.violation.detail}"
    whole = check(test, bounds=MANY, reduce=False) if unreduced else found
    if isinstance(whole, Undecided):
        return None
    if not isinstance(whole, Holds):
        return f"the unreduced search found {whole.violation.property}"
    return None if set(whole.outcomes) == set(found.outcomes) else "the unreduced search found other outcomes"


def main(seed: str, seconds: str) -> None:
    """Until the time is over."""
    end = time.monotonic() + float(seconds)
    number = 0
    while time.monotonic() < end:
        one = drawn(f"{seed}/{number}")
        told = complaint(one, unreduced=number % 4 == 0)
        number += 1
        if told is not None:
            print(f"{seed}/{number - 1}: {told}\n  {one}", flush=True)
    print(f"{number} scenarios")


if __name__ == "__main__":
    main(*sys.argv[1:])
