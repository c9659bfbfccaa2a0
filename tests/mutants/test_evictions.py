"""Files that nobody refers to any more, and pages that are no file's: mistakes in who has them and what becomes of them."""

from __future__ import annotations

import attrs

from mmsim.check.books import FILES, LEAK
from mmsim.check.properties import LOST
from mmsim.syscalls import MAP_SHARED, O_RDONLY, PAGE_SIZE
from tests.mutants import scenes
from tests.mutants.judged import Edit, Mutant, each, left_out
from tests.mutants.scenes import DISK, FD, LATE, ORIG, RW, WINDOW, scene

# ---- scenes


async def closer(sys, _):
    return await sys.close(FD)


async def reopener(sys, _):
    return await sys.reopen(FD, O_RDONLY)


async def mapper(sys, _):
    """The file may be closed as soon as the mapping is there."""
    address = await sys.mmap(FD, RW, MAP_SHARED)
    if address < 0:
        return address
    await sys.store(address, ORIG)
    return await sys.munmap(address)


async def unmapper(sys, _):
    return await sys.munmap(WINDOW, PAGE_SIZE)


async def reader(sys, _):
    return await sys.pread(FD, 4)


async def cutter(sys, _):
    """Another page is mapped where the device writes."""
    await sys.submit_direct_read(DISK, WINDOW, LATE)
    await sys.ftruncate(FD, 0)
    await sys.ftruncate(FD, PAGE_SIZE)
    await sys.load(WINDOW, 4)


CUT_OFF = attrs.evolve(scene(scenes.touched, cutter), devices=(DISK,))
CLOSED = scene(scenes.file, closer, evicts=True)
CLOSED_AND_MAPPED = scene(scenes.file, mapper, closer, evicts=True)
CLOSED_AND_UNMAPPED = scene(scenes.touched, unmapper, closer, evicts=True)
CLOSED_AND_READ = scene(scenes.file, reader, closer, evicts=True)
CLOSED_AND_REOPENED = scene(scenes.file, reopener, closer, evicts=True)

FILE_TABLE, INODE = "kernel.file_table", "kernel.inode"

MUTANTS = [
    Mutant(
        "a page that is cut off is not marked",
        CUT_OFF,
        LOST,
        (left_out("kernel.truncate.truncate_inode_page", "await page.flags.update(cut_off)"),),
    ),
    Mutant(
        "a page that is cut off is marked as it was",
        CUT_OFF,
        LOST,
        (Edit("kernel.truncate.cut_off", {"return flags - {PG_DIRTY} | {TRUNCATED}": "return flags"}),),
    ),
    Mutant(
        "the last close evicts nothing", CLOSED, FILES, (left_out(f"{FILE_TABLE}.fput", "await iput(k, file.inode)"),)
    ),
    Mutant(
        "an eviction leaves the pages",
        CLOSED,
        LEAK,
        (left_out(f"{INODE}.evict", "await truncate_inode_page(k, inode.mapping, index)"),),
    ),
    Mutant(
        "an open file does not refer to its inode",
        CLOSED,
        "no kernel bug",
        (left_out(f"{FILE_TABLE}.alloc_file", "await iget(file.inode)"),),
    ),
    Mutant(
        "a mapping does not refer to its file",
        CLOSED_AND_UNMAPPED,
        "no kernel bug",
        (left_out("kernel.mmap.mmap_region", "await get_file(file)"),),
    ),
    Mutant(
        "a mapping that goes keeps its file",
        CLOSED_AND_UNMAPPED,
        FILES,
        (left_out("kernel.mmap.unmap_region", "await fput(k, vma.file)"),),
    ),
    Mutant(
        "a file goes before the last mapping of it",
        CLOSED_AND_MAPPED,
        "no kernel bug",
        (left_out("kernel.mmap.mmap_region", "await get_file(file)"),),
    ),
    Mutant(
        "whoever uses a descriptor does not ask whether it is still open",
        CLOSED_AND_READ,
        "no kernel bug",
        (
            Edit(
                f"{FILE_TABLE}.fget",
                {"if not await file.f_count.inc_not_zero():": "if await file.f_count.inc():"},
            ),
        ),
    ),
    Mutant(
        "a link in /proc/self/fd leads to a file that is gone",
        CLOSED_AND_REOPENED,
        "no kernel bug",
        (left_out(f"{FILE_TABLE}.proc_fd_link", "if await file.inode.i_count.inc_not_zero():"),),
    ),
    Mutant(
        "a link in /proc/self/fd keeps its inode",
        CLOSED_AND_REOPENED,
        FILES,
        (left_out("kernel.entry.mounts.MountCalls.reopen", "await iput(self.k, inode)"),),
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
