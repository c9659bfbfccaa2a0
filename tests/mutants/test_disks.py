"""Mistakes in files on a disk, each a step or a lock left out or two steps swapped, that must be found."""

from __future__ import annotations

from mmsim.check.books import AGREE, CLEAN
from mmsim.check.properties import STABLE
from mmsim.scenario import Scenario
from mmsim.syscalls import MAP_SHARED, O_CREAT, O_RDWR, PAGE_SIZE, PROT_READ, PROT_WRITE, SIGBUS, Mount, fill
from tests.mutants.judged import Edit, Mutant, each, left_out

DISK, PICKY = Mount("disk", "ext4"), Mount("disk", "ext4", checksums=True)
MKWRITE = "if await page.mapping.load() is not inode.mapping or index * PAGE_SIZE >= await inode.i_size.load():"
FD, WINDOW, RW = 3, 0x10000, PROT_READ | PROT_WRITE


def on(mount, *threads, mapped=False):
    """A file of one page, which the flusher has yet to write; or is written, and mapped to be stored to."""

    async def setup(sys):
        fd = await sys.open(mount, "f", O_RDWR | O_CREAT)
        await sys.pwrite(fd, fill(b"orig"))
        if mapped:
            await sys.sync()
            await sys.load(await sys.mmap(fd, RW, MAP_SHARED), 4)

    return Scenario(setup=setup, threads=threads, mounts=(mount,))


async def writer(sys, _):
    await sys.pwrite(FD, fill(b"late"))


async def storer(sys, _):
    await sys.store(WINDOW, fill(b"late"))


async def truncater(sys, _):
    await sys.ftruncate(FD, 0)


async def cutter(sys, _):
    await sys.ftruncate(FD, 4)


async def cuts_and_grows(sys, _):
    await sys.ftruncate(FD, 4)
    await sys.ftruncate(FD, 8)


async def hole(sys):
    """A mapped page that is not in the cache."""
    fd = await sys.open(DISK, "f", O_RDWR | O_CREAT)
    await sys.ftruncate(fd, PAGE_SIZE)
    await sys.mmap(fd, PROT_READ, MAP_SHARED)


async def untouched(sys):
    """One that is, and that no page table has."""
    fd = await sys.open(DISK, "f", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.sync()
    await sys.mmap(fd, RW, MAP_SHARED)


async def loader(sys, _):
    await sys.load(WINDOW, 4)


async def cuts_off_and_loads(sys, _):
    await sys.ftruncate(FD, 0)
    return await sys.load(WINDOW, 4)


async def cuts_off_and_grows(sys, _):
    await sys.ftruncate(FD, 0)
    await sys.ftruncate(FD, PAGE_SIZE)


def nothing_is_mapped_beyond_the_end(cuts_off_and_loads):
    return cuts_off_and_loads == SIGBUS


MUTANTS = [
    Mutant(
        "a write waits for no stable page",
        on(PICKY, writer),
        STABLE,
        patches=(left_out("kernel.ext4.ext4_perform_write", "await wait_for_stable_page(inode, page)"),),
    ),
    Mutant(
        "a truncation within a page waits for no stable page",
        on(PICKY, cutter),
        STABLE,
        patches=(left_out("kernel.ext4.ext4_block_truncate_page", "await wait_for_stable_page(inode, page)"),),
    ),
    Mutant(
        "a page is marked dirty before its end is cut off",
        on(DISK, cuts_and_grows),
        CLEAN,
        patches=(
            left_out(
                "kernel.ext4.ext4_block_truncate_page", "await write_page(k, page, start, bytes(PAGE_SIZE - start))"
            ),
        ),
    ),
    Mutant(
        "a truncation does not keep writers away",
        on(DISK, writer, truncater),
        CLEAN,
        patches=(left_out("kernel.ext4.ext4_setattr", "async with inode.i_mutex:"),),
    ),
    Mutant(
        "a fault maps a page just beyond the end",
        Scenario(
            setup=hole, threads=(loader, cuts_off_and_loads), mounts=(DISK,), always=(nothing_is_mapped_beyond_the_end,)
        ),
        "nothing_is_mapped_beyond_the_end",
        patches=(
            Edit(
                "kernel.filemap.filemap_fault",
                {
                    "if index * PAGE_SIZE < await inode.i_size.load():": "if index * PAGE_SIZE <= await inode.i_size.load():"
                },
            ),
        ),
    ),
    Mutant(
        "a store maps a page that was cut off a file that has grown since",
        Scenario(setup=untouched, threads=(storer, cuts_off_and_grows), mounts=(DISK,)),
        AGREE,
        patches=(Edit("kernel.ext4.ext4_page_mkwrite", {MKWRITE: MKWRITE.replace(" or ", " and ")}),),
    ),
    Mutant(
        "a store leaves a page beyond the end locked",
        on(DISK, storer, truncater, mapped=True),
        "no lock inversion",
        patches=(left_out("kernel.ext4.ext4_page_mkwrite", "await page.lock.release()"),),
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
