"""Locks and steps left out and steps in the wrong order, each of which the checker must find."""

from __future__ import annotations

from mmsim.check.properties import SEALED
from mmsim.strategies.sealing_v2 import sealing_v2
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MADV_DONTNEED,
    MAP_PRIVATE,
    MAP_SHARED,
    PAGE_SIZE,
)
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each, left_out
from tests.mutants.scenes import FD, LATE, NEXT, RW, WINDOW, scene


async def advises(sys, _):
    await sys.madvise(WINDOW, PAGE_SIZE, MADV_DONTNEED)


async def maps_shared_and_seals(sys, _):
    await sys.munmap(WINDOW)
    await sys.mmap(FD, RW, MAP_SHARED)
    await sys.store(WINDOW, NEXT)
    await sys.munmap(WINDOW)
    await sys.add_seals(FD, F_SEAL_WRITE)
    await sys.store(WINDOW, LATE)


MUTANTS = [
    Mutant(
        "madvise() takes no lock, and flushes late what became a shared mapping meanwhile",
        scene(scenes.private_copy, advises, maps_shared_and_seals),
        SEALED,
        (left_out("kernel.madvise.do_madvise", "async with mm.mmap_lock.read():"),),
        strategy=sealing_v2,
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
