"""Locks and steps of files, mounts and pipes left out, or in the wrong order, each of which the checker must find."""

from __future__ import annotations

from mmsim.check.books import CLEAN
from mmsim.check.books import FILES as FILES_OPEN
from mmsim.check.promises import IMMUTABLE
from mmsim.kernel.open import open_inode
from mmsim.scenario import process
from mmsim.strategies.copy_on_seal import copy_on_seal
from mmsim.syscalls import (
    ENOENT,
    EPIPE,
    ETXTBSY,
    FS_IMMUTABLE_FL,
    MAP_SHARED,
    MS_RDONLY,
    O_CREAT,
    O_RDONLY,
    O_RDWR,
    PAGE_SIZE,
    Mount,
    fill,
)
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each, left_out, swapped
from tests.mutants.scenes import FD, LATE, NEXT, RW, WINDOW, scene

FILES, DISK = Mount("tmp"), Mount("disk", "ext4")

# ---- scenes


async def program(sys):
    """A program that is still open for writing."""
    await sys.open(FILES, "prog", O_RDWR | O_CREAT)
    await sys.pwrite(FD, LATE)


async def no_file(sys):
    """Nor any other."""


async def makes_a(sys, _):
    await sys.open(FILES, "a", O_RDWR | O_CREAT)
    return await sys.open(FILES, "a", O_RDWR)


async def makes_b(sys, _):
    await sys.open(FILES, "b", O_RDWR | O_CREAT)
    return await sys.open(FILES, "b", O_RDWR)


async def read_only(sys):
    await program(sys)
    await sys.close(FD)
    await sys.remount(FILES, MS_RDONLY)


async def reopens(sys, _):
    await sys.reopen(FD, O_RDONLY)


async def remounts(sys, _):
    await sys.remount(FILES, 0)


async def opens_and_maps(sys, _):
    fd = await sys.open(FILES, "prog", O_RDWR)
    return await sys.mmap(fd, RW, MAP_SHARED) if fd > 0 else WINDOW


async def closer(sys, _):
    await sys.close(FD)


async def remounts_and_runs(sys, _):
    await sys.close(FD)  # which it has inherited
    remounted = await sys.remount(FILES, MS_RDONLY)
    return remounted, await sys.execve(FILES, "prog") if not remounted else 0


async def open_on_disk(sys):
    await sys.open(DISK, "f", O_RDWR | O_CREAT)


async def written_on_disk(sys):
    """Or soon to be: the flusher may take its time."""
    await open_on_disk(sys)
    await sys.pwrite(FD, LATE)


async def promiser(sys, _):
    await sys.chattr(FD, FS_IMMUTABLE_FL)


async def promises_and_writes_again(sys, _):
    """The promise gives the file another page."""
    await sys.pwrite(FD, LATE)
    await sys.chattr(FD, FS_IMMUTABLE_FL)
    await sys.chattr(FD, 0)
    await sys.pwrite(FD, NEXT)
    await sys.sync()


async def with_pipe(sys):
    await scenes.empty(sys)
    await sys.pipe()


async def with_a_word(sys):
    await with_pipe(sys)
    await sys.write(FD + 2, b"one")


async def two_pipes(sys):
    await with_pipe(sys)
    await sys.pipe()


async def two_pipes_one_full(sys):
    await two_pipes(sys)
    await sys.write(FD + 2, b"one")
    await sys.write(FD + 4, fill(b"full", 16))


async def tees_a_word(sys, _):
    return await sys.tee(FD + 1, FD + 4, 3)


async def reads_a_page(sys, _):
    await sys.read(FD + 3, PAGE_SIZE)


async def reads_a_word(sys, _):
    return await sys.read(FD + 1, 3)


async def reads_another_word(sys, _):
    return await sys.read(FD + 1, 3)


async def writes_a_word(sys, _):
    await sys.write(FD + 2, b"two")


async def reads_one(sys, _):
    return await sys.read(FD, 1)


async def reads_another(sys, _):
    return await sys.read(FD, 1)


async def writes_two_pages(sys, _):
    return await sys.write(FD + 2, LATE + LATE)


async def closes_the_read_end(sys, _):
    await sys.close(FD + 1)


def a_tee_waits(tees_a_word):
    return tees_a_word == 3


def nobody_writes_what_is_mounted_read_only(remounts_and_runs):
    return remounts_and_runs[1] != -ETXTBSY


def each_byte_is_read_once(reads_one, reads_another):
    return {reads_one, reads_another} == {b"o", b"r"}


def all_or_nothing_is_written(writes_two_pages):
    return writes_two_pages in {2 * PAGE_SIZE, -EPIPE}


def a_read_waits_for_data(reads_a_word, reads_another_word):
    return reads_a_word and reads_another_word


def what_was_made_is_there(makes_a, makes_b):
    return min(makes_a, makes_b) > 0


def what_can_be_written_can_be_mapped(opens_and_maps):
    return opens_and_maps > 0


# ---- mistakes


async def reopen_that_keeps_the_file(self, fd, flags):
    file = await self._fdget(fd)
    return -ENOENT if file is None else await self._install(await open_inode(self.k, file.inode, flags))


MUTANTS = [
    Mutant(
        "the last close drops the writer of the mount before that of the file",
        scene(
            program,
            closer,
            process(remounts_and_runs),
            always=(nobody_writes_what_is_mounted_read_only,),
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
        "two threads read the same bytes of a file",
        scene(scenes.file, reads_one, reads_another, always=(each_byte_is_read_once,)),
        "each_byte_is_read_once",
        (left_out("kernel.read_write.read", "async with file.f_pos_lock:"),),
    ),
    Mutant(
        "the reader of a pipe goes in the middle of a write that need not wait",
        scene(with_pipe, writes_two_pages, closes_the_read_end, always=(all_or_nothing_is_written,)),
        "all_or_nothing_is_written",
        (left_out("kernel.pipe.pipe_release", "async with pipe.mutex:"),),
    ),
    Mutant(
        "a reader looks whether there is something in a pipe before he locks it",
        scene(with_a_word, reads_a_word, reads_another_word, writes_a_word, always=(a_read_waits_for_data,)),
        "a_read_waits_for_data",
        (
            swapped(
                "kernel.pipe.lock_for_reading",
                "await pipe.mutex.acquire()",
                "ring = await pipe.ring.load()",
            ),
        ),
    ),
    Mutant(
        "the flusher looks whether a page is still the file's before he locks it",
        scene(open_on_disk, promises_and_writes_again, mounts=(DISK,)),
        CLEAN,
        (
            swapped(
                "kernel.page_writeback.write_cache_page",
                "await page.lock.acquire()",
                "attached = await page.mapping.load() is inode.mapping",
            ),
        ),
        strategy=copy_on_seal,
    ),
    Mutant(
        "two files are made at once in one directory",
        scene(no_file, makes_a, makes_b, always=(what_was_made_is_there,), mounts=(FILES,)),
        "what_was_made_is_there",
        (left_out("kernel.open.do_sys_open", "async with sb.root_mutex:"),),
    ),
    Mutant(
        "a mount may be written before its files may",
        scene(read_only, remounts, opens_and_maps, always=(what_can_be_written_can_be_mapped,), mounts=(FILES,)),
        "what_can_be_written_can_be_mapped",
        (
            swapped(
                "kernel.namespace.do_remount_sb",
                "await allow_inodes(k, await sb.s_inodes.load())",
                "await sb.s_readonly.store(False)",
            ),
        ),
        strategy=copy_on_seal,
    ),
    Mutant(
        "a copy takes a page's place before it is known to be up to date",
        scene(written_on_disk, promiser, scenes.file_reader, mounts=(DISK,)),
        IMMUTABLE,
        (
            swapped(
                "strategies.replacing.replace_page",
                "await copy.flags.store(await page.flags.load())  # or what is dirty would never reach a disk",
                "await mapping.slot(index).store(copy)",
            ),
        ),
        strategy=copy_on_seal,
    ),
    Mutant(
        "tee() does not wait for data",
        scene(two_pipes, writes_a_word, tees_a_word, always=(a_tee_waits,)),
        "a_tee_waits",
        (left_out("kernel.splice.do_tee", "await source.pipe.ring.wait_until(readable)"),),
    ),
    Mutant(
        "tee() does not wait for space",
        scene(two_pipes_one_full, reads_a_page, tees_a_word, always=(a_tee_waits,)),
        "a_tee_waits",
        (left_out("kernel.splice.do_tee", "await target.pipe.ring.wait_until(writable)"),),
    ),
    Mutant(
        "a file that is opened once more stays open",
        scene(program, reopens, closer, mounts=(FILES,)),
        FILES_OPEN,
        (("kernel.entry.mounts", "MountCalls.reopen", reopen_that_keeps_the_file),),
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
