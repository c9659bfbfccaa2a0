"""Locks of userfaultfd that are not taken, each of which the checker must find."""

from __future__ import annotations

from mmsim.check.books import AGREE, COUNT, LEAK
from mmsim.syscalls import (
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MAP_PRIVATE,
    PAGE_SIZE,
    UFFDIO_REGISTER_MODE_MINOR,
    UFFDIO_REGISTER_MODE_MISSING,
)
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each, left_out
from tests.mutants.scenes import FD, LATE, NEXT, RW, WINDOW, scene

NOW = "v6.1"

# ---- scenes


async def minor(sys):
    """The file has a page, and whoever touches it waits for UFFDIO_CONTINUE."""
    await scenes.mapped(sys)
    await sys.uffd_register(WINDOW, PAGE_SIZE, UFFDIO_REGISTER_MODE_MINOR)


async def missing(sys):
    """The file has a hole."""
    await scenes.hole(sys)
    await sys.uffd_register(WINDOW, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING)


async def missing_private(sys):
    """Of memory of one's own."""
    await scenes.empty(sys)
    await sys.ftruncate(FD, PAGE_SIZE)
    await sys.mmap(FD, RW, MAP_PRIVATE)
    await sys.uffd_register(WINDOW, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING)


async def continues(sys, _):
    return await sys.uffd_continue(WINDOW)


async def copier(sys, _):
    return await sys.uffd_copy(WINDOW, LATE)


async def other_copier(sys, _):
    return await sys.uffd_copy(WINDOW, NEXT)


async def registers(sys, _):
    return await sys.uffd_register(WINDOW, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING)


async def puncher(sys, _):
    await sys.fallocate(FD, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE_SIZE)


def mutant(name, scene, broken, where, line):
    return Mutant(name, scene, broken, (left_out(f"kernel.userfaultfd.{where}", line),), release=NOW)


MMAP_LOCK = "async with k.mm.mmap_lock.read():"
MUTANTS = [
    mutant(
        "two copies are mapped at one address",
        scene(missing_private, copier, other_copier),
        LEAK,
        "install_pte",
        "async with k.mm.page_table_lock:",
    ),
    mutant(
        "a page is mapped that a punch has just taken away",
        scene(minor, continues, puncher),
        AGREE,
        "mcontinue_atomic_pte",
        "async with page.lock:",
    ),
    mutant(
        "a new page is punched out before it is mapped",
        scene(missing, copier, puncher),
        AGREE,
        "shmem_mcopy_atomic_pte",
        "async with page.lock:",
    ),
    mutant(
        "a page is copied to where nothing is mapped any more",
        scene(missing, copier, scenes.unmapper),
        LEAK,
        "mcopy_atomic",
        MMAP_LOCK,
    ),
    mutant(
        "a page is mapped where nothing is mapped any more",
        scene(minor, continues, scenes.unmapper),
        LEAK,
        "mcontinue_atomic",
        MMAP_LOCK,
    ),
    mutant(
        "a mapping is registered that is gone",
        scene(scenes.mapped, registers, scenes.unmapper),
        COUNT,
        "userfaultfd_register",
        "async with mm.mmap_lock:",
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
