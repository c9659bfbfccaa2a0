"""Locks and steps left out and steps in the wrong order, each of which the checker must find."""

from __future__ import annotations

import attrs

from mmsim.check.properties import SEALED
from mmsim.scenario import process
from mmsim.strategies.sealing_v2 import sealing_v2
from mmsim.syscalls import (
    ETXTBSY,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MADV_DONTNEED,
    MAP_SHARED,
    MS_RDONLY,
    O_CREAT,
    O_RDWR,
    PAGE_SIZE,
    Mount,
)
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each, left_out, swapped
from tests.mutants.scenes import FD, LATE, NEXT, RW, WINDOW, scene

FILES = Mount("tmp")

# ---- scenes


async def program(sys):
    """A program that is still open for writing."""
    await sys.open(FILES, "prog", O_RDWR | O_CREAT)
    await sys.pwrite(FD, LATE)


async def shrink_sealed(sys):
    await scenes.file(sys)
    await sys.add_seals(FD, F_SEAL_SHRINK)


async def closer(sys, _):
    await sys.close(FD)


async def remounts_and_runs(sys, _):
    await sys.close(FD)  # which it has inherited
    remounted = await sys.remount(FILES, MS_RDONLY)
    return remounted, await sys.execve(FILES, "prog") if not remounted else 0


async def exporter(sys, _):
    return await sys.udmabuf_create(FD, 0, PAGE_SIZE)


async def puncher(sys, _):
    await sys.fallocate(FD, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE_SIZE)


async def advises(sys, _):
    await sys.madvise(WINDOW, PAGE_SIZE, MADV_DONTNEED)


async def maps_shared_and_seals(sys, _):
    await sys.munmap(WINDOW)
    await sys.mmap(FD, RW, MAP_SHARED)
    await sys.store(WINDOW, NEXT)
    await sys.munmap(WINDOW)
    await sys.add_seals(FD, F_SEAL_WRITE)
    await sys.store(WINDOW, LATE)


def nobody_writes_what_is_mounted_read_only(remounts_and_runs):
    return remounts_and_runs[1] != -ETXTBSY


def it_is_exported(exporter):
    return exporter > 0


MUTANTS = [
    Mutant(
        "the last close drops the writer of the mount before that of the file",
        attrs.evolve(
            scene(program, closer, always=(nobody_writes_what_is_mounted_read_only,)),
            threads=(closer, process(remounts_and_runs)),
            mounts=(FILES,),
        ),
        "nobody_writes_what_is_mounted_read_only",
        (
            swapped(
                "kernel.write_access.file_drop_write",
                "await put_write_access(inode)",
                "await mnt_drop_write(inode.sb)",
            ),
        ),
    ),
    Mutant(
        "udmabuf gives a page back before it pins it",
        scene(shrink_sealed, exporter, puncher, always=(it_is_exported,)),
        "it_is_exported",
        (
            swapped(
                "kernel.udmabuf.pin_and_export",
                "pinned = await k.strategy.pin(k, pin)",
                "await put_page(k, page)  # what the lookup took",
            ),
        ),
        release="v6.11",
    ),
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
