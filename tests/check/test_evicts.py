"""Scenarios in which memfds can go: the same verdicts, for whoever still has a file is promised as much as before."""

from __future__ import annotations

import attrs
import pytest

from mmsim import catalogue
from mmsim.check import Test, check
from mmsim.kernel.releases import release_named
from mmsim.scenario import Scenario
from mmsim.strategies import BY_NAME
from mmsim.syscalls import (
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MAP_PRIVATE,
    MFD_ALLOW_SEALING,
    O_RDONLY,
    PAGE_SIZE,
    PROT_READ,
)
from mmsim.verdict import Holds

DESIGNS = ["sealing_v2", "wait_for_pins", "delayed_unmap_zap"]
NAMES = [
    "dio_completes_after_seal",
    "dio_then_exit",
    "bystander_maps_privately",
    "truncate_while_pinned",
    "splice_then_truncate",
    "store_through_stale_tlb",
    "eviction_with_io_under_way",
]


@pytest.mark.parametrize("reduce", [True, False], ids=["reduced", "unreduced"])
@pytest.mark.parametrize("strategy", DESIGNS)
@pytest.mark.parametrize("name", NAMES)
def test_what_can_be_evicted_keeps_its_promises(name, strategy, reduce):
    scenario = catalogue.find(name).scenario
    test = Test(name, attrs.evolve(scenario, evicts=True), BY_NAME[strategy], release_named(scenario.release))
    expected = scenario.expected(strategy, scenario.release, BY_NAME)
    assert expected is not None
    assert type(check(test, reduce=reduce)).__name__ == expected.value


async def file_to_close(sys):
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, b"x" * PAGE_SIZE)
    await sys.add_seals(fd, F_SEAL_SHRINK)
    assert await sys.pipe() == (fd + 1, fd + 2)
    return fd


async def closer(sys, fd):
    await sys.close(fd)


async def child(sys, fd):
    """What it inherited, it can close; then that descriptor is the lowest free one."""
    had = await sys.close(fd) == 0
    assert await sys.memfd_create("another") == fd
    return had


async def spliced(sys, fd):
    moved = await sys.splice(fd, 0, fd + 2, PAGE_SIZE)
    return moved if moved < 0 else await sys.read(fd + 1, PAGE_SIZE)


async def mapped(sys, fd):
    address = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
    return address if address < 0 else await sys.load(address)


CALLS = {
    "dup": lambda sys, fd: sys.dup(fd),
    "pread": lambda sys, fd: sys.pread(fd, PAGE_SIZE),
    "pwrite": lambda sys, fd: sys.pwrite(fd, b"y"),
    "ftruncate": lambda sys, fd: sys.ftruncate(fd, 2 * PAGE_SIZE),
    "fallocate": lambda sys, fd: sys.fallocate(fd, 0, 0, 2 * PAGE_SIZE),
    "punch a hole": lambda sys, fd: sys.fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, PAGE_SIZE),
    "fchmod": lambda sys, fd: sys.fchmod(fd, 0o600),
    "add_seals": lambda sys, fd: sys.add_seals(fd, F_SEAL_WRITE),
    "get_seals": lambda sys, fd: sys.get_seals(fd),
    "udmabuf_create": lambda sys, fd: sys.udmabuf_create(fd, 0, PAGE_SIZE),
    "reopen": lambda sys, fd: sys.reopen(fd, O_RDONLY),
    "scan_pages": lambda sys, _: sys.scan_pages(),
    "compact_memory": lambda sys, _: sys.compact_memory(),
    "fork": lambda sys, _: sys.fork(child),
    "mmap": mapped,
    "splice": spliced,
}


@pytest.mark.parametrize("strategy", ["wait_for_pins", "page_replacement"])
@pytest.mark.parametrize("call", CALLS)
def test_a_file_that_is_closed_meanwhile_is_there_for_the_call_or_not_at_all(call, strategy):
    async def user(sys, fd):
        return await CALLS[call](sys, fd)

    children = (child,) if call == "fork" else ()
    scenario = Scenario(
        setup=file_to_close, threads=(user, closer), children=children, words_per_page=1, evicts=True, release="v6.12"
    )
    verdict = check(Test(call, scenario, BY_NAME[strategy], release_named("v6.12")))
    assert isinstance(verdict, Holds), verdict
