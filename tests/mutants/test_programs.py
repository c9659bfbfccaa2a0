"""Mistakes in fork() and execve(), each a step or a lock left out or two steps swapped, that must be found."""

from __future__ import annotations

from mmsim.check.promises import SEALED
from mmsim.check.properties import LOST
from mmsim.scenario import Scenario, process
from mmsim.strategies.sealing_v2 import sealing_v2
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    O_CREAT,
    O_RDWR,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    SIGBUS,
    SIGSEGV,
    Device,
    Mount,
    fill,
)
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each, left_out, swapped

RW = PROT_READ | PROT_WRITE
TMP, SLOW, NIC = Mount("tmp"), Device("slow"), Device("nic", transport="rdma")
FD, READ, WRITE, WINDOW = 3, 4, 5, 0x10000


async def memfd_and_program(sys):
    fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    prog = await sys.open(TMP, "prog", O_RDWR | O_CREAT)
    await sys.pwrite(prog, fill(b"text"))
    await sys.close(prog)


async def reads_and_runs(sys, _):
    window = await sys.mmap(FD, RW, MAP_SHARED)
    if window > 0:
        await sys.submit_direct_read(SLOW, window, fill(b"late"))
    await sys.execve(TMP, "prog")


async def sealer(sys, _):
    await sys.add_seals(FD, F_SEAL_WRITE)


async def flag_and_program(sys):
    await sys.memfd_create("flag")
    await sys.pwrite(await sys.open(TMP, "prog", O_RDWR | O_CREAT), fill(b"text"))


async def runs(sys, _):
    text = await sys.execve(TMP, "prog")
    return await sys.pread(FD, 4), await sys.load(text, 4)


async def looks_and_truncates(sys, _):
    await sys.mem_read(WINDOW, 4, runs)
    await sys.ftruncate(FD + 1, 0)
    await sys.pwrite(FD, b"done")


def no_page_outlives_the_truncation(runs):
    flag, seen = runs
    return flag != b"done" or seen == SIGBUS


async def forker(sys, _):
    await sys.fork(scenes.storing_child)


async def unmaps_and_seals(sys, _):
    await sys.munmap(WINDOW)
    await sys.add_seals(FD, F_SEAL_WRITE)


# ---- who has what when


async def private_and_pipe(sys):
    fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    await sys.pipe()
    await sys.mmap(fd, PROT_READ, MAP_PRIVATE)


async def unmaps_and_closes(sys, _):
    await sys.munmap(WINDOW)
    await sys.close(FD)


async def looking_child(sys, _):
    return await sys.load(WINDOW, 4), await sys.pread(FD, 4)


async def forks_who_looks(sys, _):
    await sys.fork(looking_child)


def memory_was_copied_after_descriptors(looking_child):
    loaded, read = looking_child
    return loaded == SIGSEGV or read == b"orig"


async def maps_and_leaves(sys, _):
    await sys.mmap(FD, RW, MAP_SHARED)
    await sys.exit()


async def registers_and_leaves(sys, _):
    await sys.register_buffer(await sys.mmap(FD, RW, MAP_SHARED))
    await sys.exit()


async def sees_the_end_and_seals(sys, _):
    await sys.close(WRITE)
    return await sys.read(READ, 1), await sys.add_seals(FD, F_SEAL_WRITE)


def memory_is_gone_before_descriptors_are(sees_the_end_and_seals):
    return sees_the_end_and_seals == (b"", 0)


def registered_buffers_may_outlive_them(sees_the_end_and_seals):
    return sees_the_end_and_seals == (b"", -EBUSY)


async def forked_once(sys):
    await private_and_pipe(sys)
    await sys.munmap(WINDOW)
    window = await sys.mmap(FD, RW, MAP_PRIVATE)
    await sys.fork(idle_child)
    await sys.store(window, fill(b"mine"))


async def submitter(sys, _):
    await sys.submit_direct_read(NIC, WINDOW, fill(b"data"))


async def forks_again(sys, _):
    await sys.fork(other_child)
    await sys.store(WINDOW + PAGE_SIZE // 2, b"self")


async def idle_child(sys, _):
    pass


async def other_child(sys, _):
    pass


def scene(setup, *threads, **more):
    return Scenario(setup=setup, threads=threads, **more)


MUTANTS = [
    Mutant(
        "execve() unmaps before the device has answered",
        scene(memfd_and_program, process(reads_and_runs), sealer, devices=(SLOW,), mounts=(TMP,)),
        SEALED,
        patches=(
            swapped(
                "kernel.exec.do_execve", "await k.process.reqs_active.wait_until(nothing_in_flight)", "await mmput(k)"
            ),
        ),
        strategy=sealing_v2,
    ),
    Mutant(
        "execve() maps the text while others look at the memory",
        scene(
            flag_and_program,
            process(runs),
            process(looks_and_truncates),
            mounts=(TMP,),
            always=(no_page_outlives_the_truncation,),
        ),
        "no_page_outlives_the_truncation",
        patches=(left_out("kernel.exec.do_execve", "async with k.mm.mmap_lock:"),),
        release="v6.12",
    ),
    Mutant(
        "fork() copies mappings while others unmap them",
        scene(scenes.mapped, forker, unmaps_and_seals, children=(scenes.storing_child,)),
        SEALED,
        patches=(left_out("kernel.fork.dup_mmap", "async with parent.mmap_lock:"),),
    ),
    Mutant(
        "fork() holds off the lock-less walk every other time",
        scene(
            forked_once,
            submitter,
            forks_again,
            children=(idle_child, other_child),
            devices=(NIC,),
            words_per_page=2,
        ),
        LOST,
        patches=(left_out("kernel.fork.dup_mmap", "await parent.write_protect_seq.inc()", last=True),),
        release="v5.11",
    ),
    Mutant(
        "fork() copies the memory before the descriptors",
        scene(
            private_and_pipe,
            forks_who_looks,
            unmaps_and_closes,
            children=(looking_child,),
            always=(memory_was_copied_after_descriptors,),
        ),
        "memory_was_copied_after_descriptors",
        patches=(swapped("kernel.fork.do_fork", "await copy_files(k, child)", "await dup_mmap(k, child)"),),
    ),
    Mutant(
        "exit() closes the descriptors before the memory goes",
        scene(
            private_and_pipe,
            process(maps_and_leaves),
            sees_the_end_and_seals,
            always=(memory_is_gone_before_descriptors_are,),
        ),
        "memory_is_gone_before_descriptors_are",
        patches=(swapped("kernel.fork.do_exit", "await mmput(k)", "await exit_files(k)"),),
    ),
    Mutant(
        "exit() lets registered buffers go before the descriptors",
        scene(
            private_and_pipe,
            process(registers_and_leaves),
            sees_the_end_and_seals,
            sometimes=(registered_buffers_may_outlive_them,),
        ),
        "registered_buffers_may_outlive_them",
        patches=(swapped("kernel.fork.do_exit", "await exit_files(k)", "await io_ring_exit(k)"),),
        release="v6.18",
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
