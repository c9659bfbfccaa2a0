"""A completed I/O is lost to a buffer that is still mapped; one that was unmapped, or dropped, has nothing to lose."""

from __future__ import annotations

import pytest

from mmsim.check import Test, check
from mmsim.check.books import COUNT
from mmsim.check.properties import LOST, MOVED
from mmsim.kernel import migrate
from mmsim.kernel.filemap import read_page
from mmsim.kernel.releases import V3_17
from mmsim.kernel.shmem import write_page
from mmsim.kernel.types import InPlaceOf
from mmsim.scenario import Scenario
from mmsim.strategies import BY_NAME, STRATEGIES
from mmsim.syscalls import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MADV_DONTNEED,
    MAP_FIXED,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    fill,
)
from mmsim.verdict import Holds

SLOW = Device("slow")
RW = PROT_READ | PROT_WRITE


def reading_into(flags):
    async def setup(sys):
        fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
        await sys.pwrite(fd, fill(b"orig"))
        buffer = await sys.mmap(fd, RW, flags)
        await sys.store(buffer, b"mine")
        await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
        return fd, buffer

    return setup


def broken(flags, *threads, children=(), strategy=BY_NAME["wait_for_pins"]):
    scene = Scenario(setup=reading_into(flags), threads=threads, children=children, devices=(SLOW,))
    found = check(Test("scene", scene, strategy, V3_17))
    return None if isinstance(found, Holds) else found.violation.property


async def kid(_sys, _shared):
    return


async def forks_and_stores(sys, shared):
    await sys.fork(kid)
    await sys.store(shared[1], b"new!")


async def only_loads(sys, shared):
    await sys.load(shared[1])


async def drops(sys, shared):
    await sys.madvise(shared[1], PAGE_SIZE, MADV_DONTNEED)
    await sys.load(shared[1])


async def maps_again(sys, shared):
    await sys.munmap(shared[1])
    assert await sys.mmap(shared[0], RW, MAP_PRIVATE) == shared[1]
    await sys.load(shared[1])


def maps_over(flags):
    async def remapper(sys, shared):
        await sys.mmap(shared[0], RW, flags | MAP_FIXED, address=shared[1])
        await sys.store(shared[1], b"new!")

    return remapper


async def maps_another_file_over(sys, shared):
    other = await sys.memfd_create("other")
    await sys.pwrite(other, fill(b"else"))
    await sys.mmap(other, RW, MAP_SHARED | MAP_FIXED, address=shared[1])
    await sys.store(shared[1], b"new!")


async def maps_another_page_over(sys, shared):
    await sys.ftruncate(shared[0], 2 * PAGE_SIZE)
    await sys.mmap(shared[0], RW, MAP_SHARED | MAP_FIXED, offset=PAGE_SIZE, address=shared[1])
    await sys.store(shared[1], b"new!")


GIVES_UP = [drops, maps_again, maps_over(MAP_PRIVATE), maps_over(MAP_SHARED)]


def test_a_private_buffer_that_is_copied_away_from_the_device_loses_its_data():
    assert broken(MAP_PRIVATE, forks_and_stores, children=(kid,)) == LOST
    assert broken(MAP_PRIVATE, only_loads) is None


@pytest.mark.parametrize("thread", [drops, maps_again, maps_over(MAP_SHARED)], ids=["drops", "maps again", "shared"])
def test_who_gives_a_private_buffer_up_loses_nothing(thread):
    assert broken(MAP_PRIVATE, thread) is None


@pytest.mark.parametrize("thread", GIVES_UP, ids=["drops", "maps again", "private", "shared"])
def test_who_gives_a_shared_buffer_up_loses_nothing(thread):
    assert broken(MAP_SHARED, thread) is None


@pytest.mark.parametrize("thread", [maps_another_file_over, maps_another_page_over], ids=["file", "page"])
def test_a_mapping_of_something_else_in_its_place_is_no_buffer_any_more(thread):
    assert broken(MAP_SHARED, thread) is None


async def cuts_off(sys, shared):
    await sys.ftruncate(shared[0], 0)
    await sys.ftruncate(shared[0], PAGE_SIZE)
    await sys.load(shared[1])


async def punches(sys, shared):
    await sys.fallocate(shared[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE_SIZE)
    await sys.store(shared[1], b"new!")


@pytest.mark.parametrize("gives_up", [cuts_off, punches], ids=lambda way: way.__name__)
@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_what_is_cut_off_while_a_device_writes_it_is_in_no_file(gives_up, strategy):
    """Linux takes a pinned page out of its file all the same; the buffer shows the one that is there since."""
    assert broken(MAP_SHARED, gives_up, strategy=strategy) in {None, COUNT}  # which some designs break by that


async def stores_and_migrates(sys, shared):
    await sys.store(shared[1], b"new!")
    await sys.compact_memory()


async def writes_and_migrates(sys, shared):
    await sys.compact_memory()
    await sys.pwrite(shared[0], b"new!")


async def migrates_twice(sys, shared):
    await sys.compact_memory()
    await sys.store(shared[1], b"new!")
    await sys.compact_memory()


MIGRATES = [stores_and_migrates, writes_and_migrates, migrates_twice]


@pytest.mark.parametrize("thread", MIGRATES, ids=lambda thread: thread.__name__)
def test_a_store_to_a_buffer_that_migrates_afterwards_is_no_loss(thread):
    """Not even between the moment in which the page is given back and the one in which the I/O is over."""
    assert broken(MAP_SHARED, thread) is None


async def asks_nobody(_page, _expected):
    return True


async def one_less(page, _left):
    await page.refcount.dec()


@pytest.mark.parametrize("thread", MIGRATES, ids=lambda thread: thread.__name__)
def test_a_page_that_migrates_while_a_device_has_it_loses_what_is_written_then(thread, monkeypatch):
    monkeypatch.setattr(migrate, "page_ref_freeze", asks_nobody)
    monkeypatch.setattr(migrate, "page_ref_unfreeze", one_less)
    assert broken(MAP_SHARED, thread) == LOST


async def copies_something_else(k, old, new):
    await write_page(k, new, 0, fill(b"else"))
    await new.flags.store(await old.flags.load() | {InPlaceOf(old)})


async def only_migrates(sys, _shared):
    await sys.compact_memory()


def test_who_takes_a_page_s_place_by_migration_is_held_to_its_content_though_a_device_has_it(monkeypatch):
    monkeypatch.setattr(migrate, "page_ref_freeze", asks_nobody)
    monkeypatch.setattr(migrate, "page_ref_unfreeze", one_less)
    monkeypatch.setattr(migrate, "migrate_page_copy", copies_something_else)
    assert broken(MAP_SHARED, only_migrates) == MOVED


async def copies_what_the_file_has(k, old, new):
    await write_page(k, new, 0, await read_page(k, old, 0, 100))
    await new.flags.store(await old.flags.load() | {InPlaceOf(old)})


def test_what_a_mapping_shows_beyond_the_end_of_the_file_migrates_as_well(monkeypatch):
    async def a_short_file(sys):
        fd = await sys.memfd_create("frame")
        await sys.pwrite(fd, b"s" * 100)
        await sys.store(await sys.mmap(fd, RW, MAP_SHARED) + 200, b"beyond")

    test = Test("scene", Scenario(setup=a_short_file, threads=(only_migrates,)), BY_NAME["wait_for_pins"], V3_17)
    assert isinstance(check(test), Holds)
    monkeypatch.setattr(migrate, "migrate_page_copy", copies_what_the_file_has)
    assert check(test).violation.property == MOVED
