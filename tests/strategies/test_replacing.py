"""What becomes of a page that is replaced, and of the one in its place; setup runs alone, so all of it is one thread."""

from __future__ import annotations

import pytest

from mmsim.kernel.releases import V3_17
from mmsim.kernel.types import PG_DIRTY, Inode, Page
from mmsim.machine import boot
from mmsim.scenario import Scenario
from mmsim.strategies import BY_NAME
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PROT_READ,
    PROT_WRITE,
    Device,
    fill,
)

SLOW = Device("slow")
REPLACING = ["page_replacement", "copy_on_seal", "unmap_then_replace"]


async def idle(_sys, _shared):
    return


def after(setup, name):
    machine = boot(Scenario(setup=setup, threads=(idle,), devices=(SLOW,)), BY_NAME[name], V3_17)
    (inode,) = machine.world.of(Inode)
    return lambda cell: machine.initial.get(cell, cell.initial), inode, machine.world.of(Page)


async def pinned(sys):
    fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    window = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
    await sys.load(window)
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.store(buffer, b"new!")
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    await sys.munmap(buffer)
    assert await sys.add_seals(fd, F_SEAL_WRITE) == 0


@pytest.mark.parametrize("name", REPLACING)
def test_the_holder_keeps_the_old_page_and_nobody_else_does(name):
    value, inode, (old, new) = after(pinned, name)
    assert value(inode.mapping.slot(0)) is new
    assert (value(old.mapping), value(old.refcount), value(old.mapcount)) == (None, 1, 0)


@pytest.mark.parametrize("name", REPLACING)
def test_the_copy_is_what_the_old_page_was(name):
    value, inode, (old, new) = after(pinned, name)
    assert (value(new.mapping), value(new.index), value(new.refcount), value(new.mapcount)) == (inode.mapping, 0, 1, 0)
    assert value(new.word(0)) == value(old.word(0))
    assert PG_DIRTY in value(new.flags)


async def unpinned_with_a_hole(sys):
    fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"), 4096)
    assert await sys.add_seals(fd, F_SEAL_WRITE) == 0


@pytest.mark.parametrize("name", ["page_replacement", "unmap_then_replace"])
def test_a_page_that_nobody_has_stays_and_so_does_a_hole(name):
    value, inode, (page,) = after(unpinned_with_a_hole, name)
    assert (value(inode.mapping.slot(0)), value(inode.mapping.slot(1)), value(page.refcount)) == (None, page, 1)
