"""Anonymous memory: zeros that are everybody's until one writes, and who can write to them."""

from __future__ import annotations

import pytest

from mmsim.check import Test, check
from mmsim.engine.progress import NO_LIVELOCK
from mmsim.errors import UserError
from mmsim.kernel.releases import V3_17, release_named
from mmsim.machine import boot
from mmsim.scenario import Scenario
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import (
    ESPIPE,
    MADV_DONTNEED,
    MAP_PRIVATE,
    MAP_SHARED,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    SIGSEGV,
)
from mmsim.verdict import Holds
from tests.kernel.alone import alone, outcomes

RW = PROT_READ | PROT_WRITE
RELEASES = ["v3.17", "v4.14", "v5.9", "v7.3"]
ZEROS = bytes(4)

every_release = pytest.mark.parametrize("release", RELEASES)


@every_release
def test_the_device_reads_as_zeros_and_forgets_what_is_written(release):
    async def thread(sys, _):
        zero = await sys.dev_zero()
        return await sys.read(zero, 3), await sys.write(zero, b"gone"), await sys.read(zero, 2), await sys.close(zero)

    assert alone(thread, release=release) == (bytes(3), 4, bytes(2), 0)


def test_what_is_not_modelled_of_it_is_refused():
    async def thread(sys, _):
        return await sys.pread(await sys.dev_zero(), 4)

    async def shares(sys):
        await sys.mmap(await sys.dev_zero(), RW, MAP_SHARED)

    assert alone(thread) == -ESPIPE
    with pytest.raises(UserError, match="a shared mapping of /dev/zero is not modelled: map a memfd"):
        boot(Scenario(setup=shares, threads=()), wait_for_pins, V3_17)


@every_release
@pytest.mark.parametrize("first", ["load", "store"])
def test_memory_is_zero_until_it_is_stored_to(release, first):
    async def thread(sys, _):
        zero = await sys.dev_zero()
        one, other = await sys.mmap(zero, RW, MAP_PRIVATE), await sys.mmap(zero, RW, MAP_PRIVATE)
        await sys.close(zero)  # the mapping keeps the device open
        before = await sys.load(one, 4) if first == "load" else ZEROS
        stored = await sys.store(one, b"mine")
        told = before, stored, await sys.load(one, 4), await sys.load(other, 4)
        return *told, await sys.munmap(one), await sys.load(one, 4)

    assert alone(thread, release=release) == (ZEROS, None, b"mine", ZEROS, 0, SIGSEGV)


@every_release
def test_dropped_memory_is_zero_again(release):
    async def thread(sys, _):
        window = await sys.mmap(await sys.dev_zero(), RW, MAP_PRIVATE)
        await sys.store(window, b"mine")
        await sys.madvise(window, PAGE_SIZE, MADV_DONTNEED)
        return await sys.load(window, 4)

    assert alone(thread, release=release) == ZEROS


@every_release
@pytest.mark.parametrize("touched", [False, True])
def test_a_child_has_a_copy(release, touched):
    async def thread(sys, _):
        window = await sys.mmap(await sys.dev_zero(), RW, MAP_PRIVATE)
        await sys.store(window, b"mine") if touched else await sys.load(window, 4)
        await sys.fork(child)
        await sys.store(window, b"next")
        return await sys.load(window, 4)

    async def child(sys, _):
        return await sys.load(0x10000, 4)

    told = outcomes(thread, release=release, children=(child,))
    assert told == {"thread": b"next", "child": b"mine" if touched else ZEROS}


@pytest.mark.parametrize("release", ["v4.8", "v4.14", "v4.18", "v6.0", "v7.3"])
@pytest.mark.parametrize("looked_at", [False, True])
def test_a_forced_write_to_memory_that_may_only_be_read_makes_a_copy(release, looked_at):
    async def thread(sys, _):
        zero = await sys.dev_zero()
        one, other = await sys.mmap(zero, PROT_READ, MAP_PRIVATE), await sys.mmap(zero, PROT_READ, MAP_PRIVATE)
        before = await sys.mem_read(one, 4) if looked_at else ZEROS
        written = await sys.mem_write(one, b"mine")
        return before, written, await sys.load(one, 4), await sys.load(other, 4), await sys.store(one, b"no")

    assert alone(thread, release=release) == (ZEROS, 4, b"mine", ZEROS, SIGSEGV)


def dirty_pmds(booted):
    """The pmds of a machine after `setup` that are dirty."""
    entries = [value for cell, value in booted.initial.items() if ".mm.pte[" in cell.name and value is not None]
    assert entries
    assert all(entry.huge for entry in entries)
    return [entry for entry in entries if entry.dirty]


@pytest.mark.parametrize(("release", "dirty"), [("v3.17", 1), ("v4.14", 1), ("v4.18", 0), ("v7.3", 0)])
def test_who_only_looks_makes_a_pmd_dirty_up_to_v4_14(release, dirty):
    async def setup(sys):
        await sys.mem_read(await sys.mmap(await sys.dev_zero(), PROT_READ, MAP_PRIVATE), 4)

    booted = boot(Scenario(setup=setup, threads=()), wait_for_pins, release_named(release))
    assert len(dirty_pmds(booted)) == dirty


@pytest.mark.parametrize(("release", "ends"), [("v4.8", True), ("v4.9", False), ("v4.10", True)])
def test_in_v4_9_a_forced_write_to_a_huge_page_looks_for_its_copy_for_ever(release, ends):
    async def setup(sys):
        await sys.mmap(await sys.dev_zero(), PROT_READ, MAP_PRIVATE)

    async def writer(sys, _):
        return await sys.mem_write(0x10000, b"mine")

    told = check(Test("forced", Scenario(setup=setup, threads=(writer,)), wait_for_pins, release_named(release)))
    assert {dict(outcome)["writer"] for outcome in told.outcomes} == ({4} if ends else set())
    assert isinstance(told, Holds) if ends else told.violation.property == NO_LIVELOCK
