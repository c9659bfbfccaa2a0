"""Mistakes in what the last bugs of the past repaired: reference counts that overflow, execve() and its writers."""

from __future__ import annotations

import attrs

from mmsim.catalogue import find
from mmsim.cells import wrapped
from mmsim.check.books import FILES, WRITECOUNT
from mmsim.check.promises import EXECUTED
from mmsim.kernel.file_table import get_file
from mmsim.scenario import Scenario, process
from mmsim.strategies.delayed_unmap import delayed_unmap
from mmsim.syscalls import ETXTBSY, O_CREAT, O_RDWR, Mount, fill
from tests.mutants.judged import Mutant, each

BUG = "no kernel bug"
LIMIT = "the_page_has_no_reference_to_give"
TEXT = "the_text_never_changes"
UNCHANGED = "nobody_sees_the_file_change"
TMP = Mount("tmp")


def catalogued(name, **more):
    return attrs.evolve(find(name).scenario, **more)


async def program(sys):
    fd = await sys.open(TMP, "prog", O_RDWR | O_CREAT)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.close(fd)


async def runs(sys, _):
    await sys.execve(TMP, "prog")


async def runs_and_leaves(sys, _):
    await sys.execve(TMP, "prog")
    await sys.exit()


async def child(sys, _):
    await sys.exit()


async def forks(sys, _):
    await sys.execve(TMP, "prog")
    await sys.fork(child)


async def writes(sys, _):
    fd = await sys.open(TMP, "prog", O_RDWR)
    if fd > 0:
        await sys.pwrite(fd, fill(b"next"))
        await sys.close(fd)


def running(*threads, children=()):
    return Scenario(setup=program, threads=tuple(map(process, threads)), children=children, mounts=(TMP,))


# ---- mistakes


async def never(_k, _page):
    return False


def referred_always(count, wanted, _refusing):
    return wrapped(count + wanted), wanted


async def get_write_access_that_looks_first(inode):
    if await inode.i_writecount.load() < 0:
        return -ETXTBSY
    await inode.i_writecount.inc()
    return 0


async def deny_write_access_that_looks_first(inode):
    if await inode.i_writecount.load() > 0:
        return -ETXTBSY
    await inode.i_writecount.dec()
    return 0


async def nothing(*_args, **_kwargs):
    return 0


async def exe_file_without_denying(mm, exe):
    await get_file(exe.file)
    await mm.exe_file.store(exe)


async def exe_file_without_reference(mm, exe):
    await mm.exe_file.store(exe)


async def the_child_shares_the_denial(k, mm):
    exe = await k.mm.exe_file.load()
    await get_file(exe.file)
    await mm.exe_file.store(exe)


class AsAnyRelease:
    """A `Change` that no release has."""

    spans = ()


MUTANTS = [
    Mutant(
        "tee does not look at the count",
        catalogued("references_refused_at_the_limit"),
        LIMIT,
        (("kernel.pipe", "page_ref_overflows", never),),
        release="v5.1",
    ),
    Mutant(
        "get_user_pages does not look at the count",
        catalogued("references_refused_at_the_limit"),
        LIMIT,
        (("kernel.gup", "page_ref_overflows", never),),
        release="v5.1",
    ),
    Mutant(
        "a crowd is never refused",
        catalogued("references_overflow"),
        BUG,
        (("kernel.crowd", "referred", referred_always),),
        release="v5.1",
    ),
    Mutant(
        "an open looks whether writers are denied before it counts itself",
        running(runs, writes),
        EXECUTED,
        (("kernel.write_access", "get_write_access", get_write_access_that_looks_first),),
    ),
    Mutant(
        "execve looks for writers before it denies them",
        running(runs, writes),
        EXECUTED,
        (("kernel.exec", "deny_write_access", deny_write_access_that_looks_first),),
    ),
    Mutant(
        "the last close leaves its right to write",
        running(writes),
        WRITECOUNT,
        (("kernel.write_access", "put_write_access", nothing),),
    ),
    Mutant(
        "the text is mapped and does not deny",
        catalogued("open_races_exec"),
        TEXT,
        (("kernel.exec", "VM_DENYWRITE", 0),),
        release="v3.17",
    ),
    Mutant(
        "the text denies still when it is gone",
        running(runs_and_leaves),
        WRITECOUNT,
        (("kernel.mmap", "allow_write_access", nothing),),
    ),
    Mutant(
        "mm->exe_file does not deny",
        catalogued("open_races_exec"),
        WRITECOUNT,
        (("kernel.exec", "set_mm_exe_file", exe_file_without_denying),),
        release="v5.15",
    ),
    Mutant(
        "mm->exe_file has no reference",
        running(runs),
        FILES,
        (("kernel.exec", "set_mm_exe_file", exe_file_without_reference),),
        release="v5.15",
    ),
    Mutant(
        "the child of a program denies nothing in its own name",
        running(forks, children=(child,)),
        WRITECOUNT,
        (("kernel.fork", "dup_mm_exe_file", the_child_shares_the_denial),),
        release="v5.15",
    ),
    Mutant(
        "execve does not ask the design",
        catalogued("exec_with_a_pin_left"),
        EXECUTED,
        (("kernel.exec", "become_read_only", nothing),),
        strategy=delayed_unmap,
    ),
    Mutant(
        "a userfaultfd serves a mapping that may never be written",
        catalogued("uffd_fills_read_only_file"),
        UNCHANGED,
        (
            ("kernel.userfaultfd", "UFFD_ASKS_MAYWRITE", AsAnyRelease),
            ("kernel.userfaultfd", "UFFD_PRIVATE_IS_ANON", AsAnyRelease),
        ),
        release="v4.20",
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
