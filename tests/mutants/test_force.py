"""Mistakes in forced writes, in writes to another's memory, in MADV_DONTNEED and in userfaultfd: each is found."""

from __future__ import annotations

from mmsim.check.books import AGREE, COUNT, LEAK
from mmsim.check.promises import SEALED
from mmsim.kernel.gup import get_user_pages_remote, unpin_pages
from mmsim.kernel.memory_zap import zap_pte_range
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.shmem import write_page
from mmsim.kernel.tlb import flush_tlb
from mmsim.kernel.types import Caller, Pte
from mmsim.kernel.userfaultfd import shmem_mcopy_atomic_pte
from mmsim.scenario import Scenario, process
from mmsim.strategies.sealing_v2 import sealing_v2
from mmsim.syscalls import (
    F_SEAL_WRITE,
    MADV_DONTNEED,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    SIGSEGV,
    UFFDIO_REGISTER_MODE_MINOR,
    UFFDIO_REGISTER_MODE_MISSING,
)
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each
from tests.mutants.scenes import FD, LATE, NEXT, RW, WINDOW, scene

BUG = "no kernel bug"

# ---- setups


async def sealed_and_private(sys):
    await scenes.file(sys)
    await sys.add_seals(FD, F_SEAL_WRITE)
    await sys.mmap(FD, PROT_READ, MAP_PRIVATE)


async def forced_copy(sys):
    await scenes.file(sys)
    await sys.mmap(FD, PROT_READ, MAP_PRIVATE)
    await sys.mem_write(WINDOW, NEXT)


async def hole(sys):
    fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, PAGE_SIZE)
    await sys.mmap(fd, RW, MAP_SHARED)
    await sys.uffd_register(WINDOW, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING)


async def sealed_hole(sys):
    fd = await sys.memfd_create("file", MFD_ALLOW_SEALING)
    await sys.ftruncate(fd, PAGE_SIZE)
    await sys.add_seals(fd, F_SEAL_WRITE)
    await sys.mmap(fd, RW, MAP_PRIVATE)
    await sys.uffd_register(WINDOW, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING)


async def not_mapped_yet(sys):
    await scenes.mapped(sys)
    await sys.uffd_register(WINDOW, PAGE_SIZE, UFFDIO_REGISTER_MODE_MINOR)


# ---- threads


async def forcer(sys, _):
    return await sys.mem_write(WINDOW, LATE)


async def drops_and_loads(sys, _):
    await sys.madvise(WINDOW, PAGE_SIZE, MADV_DONTNEED)
    return await sys.load(WINDOW, 4)


async def dropper(sys, _):
    return await sys.madvise(WINDOW, PAGE_SIZE, MADV_DONTNEED)


async def loads_twice(sys, _):
    return await sys.load(WINDOW, 4), await sys.load(WINDOW, 4)


async def forces_and_stores(sys, _):
    await sys.mem_write(WINDOW, LATE)
    return await sys.store(WINDOW, NEXT)


async def forks_and_forces(sys, _):
    await sys.fork(scenes.child)
    return await sys.mem_write(WINDOW, LATE)


async def owner(sys, _):
    return await sys.munmap(WINDOW)


async def other_writer(sys, _):
    return await sys.process_vm_writev(owner, WINDOW, LATE)


async def other_forcer(sys, _):
    return await sys.mem_write(WINDOW, LATE, owner)


async def filler(sys, _):
    return await sys.uffd_copy(WINDOW, LATE)


async def continuer(sys, _):
    return await sys.uffd_continue(WINDOW)


async def continues_too(sys, _):
    return await sys.uffd_continue(WINDOW)


async def registers_and_unmaps(sys, _):
    await sys.uffd_register(WINDOW, PAGE_SIZE, UFFDIO_REGISTER_MODE_MISSING)
    return await sys.munmap(WINDOW)


# ---- what only one scene promises


def a_store_is_refused(forces_and_stores):
    return forces_and_stores is SIGSEGV


def the_handler_decides_what_is_seen(loader):
    return loader == LATE


# ---- mistakes


async def any_page_after_a_copy(_k, _vma, pte, flags):
    return pte.write or bool(flags & 0x4000)


async def any_private_mapping(_k, vma, pte, _flags):
    return pte.write or vma.cow


async def any_private_page(_k, _vma, pte, _flags):
    return pte.write or pte.anon


def force_is_all(_vma, _flags):
    return True


def a_copy_that_may_be_stored_to(_vma, page, **_):
    return Pte(page, write=True, dirty=True, anon=True)


async def unpins_and_writes(k, mm, address, data):
    async with mm.mmap_lock.read():
        pins, _ = await get_user_pages_remote(k, mm, address, 1, Caller.PROCESS_VM, write=True)
    await unpin_pages(k, pins)
    for pin in pins:
        await write_page(k, pin.page, 0, data)
    return len(data)


async def writes_without_the_lock(k, mm, address, data):
    async with mm.mmap_lock.read():
        pins, _ = await get_user_pages_remote(k, mm, address, 1, Caller.PTRACE, write=True, force=True)
    for pin in pins:
        await write_page(k, pin.page, 0, data)
    await unpin_pages(k, pins)
    return len(data)


async def nothing(*_args, **_kwargs):
    return None


async def never(*_args):
    return False


async def zap_and_put_before_flush(k, mm, vma):
    pages, stale = await zap_pte_range(k, mm, vma)
    for page in pages:
        await put_page(k, page)
    await flush_tlb(k, mm, stale)


async def overwrites_the_slot(_k, page, mapping, index):
    await page.mapping.store(mapping)
    await page.index.store(index)
    await page.refcount.inc()
    await mapping.slot(index).store(page)
    return True


async def install_without_looking(k, _vma, address, pte):
    async with k.mm.page_table_lock:
        await pte.page.mapcount.inc()
        await k.mm.pte(address).store(pte)
    return 0


def same_tree(tree, *_):
    return tree


def same_flags(flags, _):
    return flags


def other(setup, *others, first=owner):
    return Scenario(setup=setup, threads=(first, *(process(thread) for thread in others)))


MUTANTS = [
    Mutant(
        "a forced write remembers its copy and does not look at the pte",
        scene(sealed_and_private, forcer, drops_and_loads),
        SEALED,
        (("kernel.gup", "can_follow_write_pte", any_page_after_a_copy),),
        release="v4.9",
    ),
    Mutant(
        "a forced write does not look whose page it is",
        scene(sealed_and_private, forcer, drops_and_loads),
        SEALED,
        (("kernel.gup", "can_follow_write_pte", any_private_mapping),),
        release="v6.0",
    ),
    Mutant(
        "a forced write does not look who else has the private page",
        scene(
            forced_copy,
            forks_and_forces,
            children=(scenes.child,),
            always=(scenes.private_memory_is_ones_own,),
        ),
        "private_memory_is_ones_own",
        (("kernel.gup", "can_follow_write_pte", any_private_page),),
        release="v6.0",
    ),
    Mutant(
        "a forced write copies the page of a shared mapping",
        scene(scenes.read_only_and_sealable, forcer),
        AGREE,
        (("kernel.gup", "check_vma_flags", force_is_all),),
    ),
    Mutant(
        "a forced write leaves the copy writable",
        scene(sealed_and_private, forces_and_stores, always=(a_store_is_refused,)),
        "a_store_is_refused",
        (("kernel.memory", "anon_pte", a_copy_that_may_be_stored_to),),
    ),
    Mutant(
        "process_vm_writev writes after it unpinned",
        other(scenes.mapped, other_writer, scenes.sealer),
        SEALED,
        (("kernel.entry.other_memory", "process_vm_writev", unpins_and_writes),),
    ),
    Mutant(
        "process_vm_writev keeps its pins",
        other(scenes.mapped, other_writer),
        LEAK,
        (("kernel.process_vm_access", "unpin_pages", nothing),),
    ),
    Mutant(
        "a debugger writes without mmap_lock",
        other(scenes.mapped, other_forcer, scenes.sealer),
        SEALED,
        (("kernel.entry.other_memory", "mem_write", writes_without_the_lock),),
        strategy=sealing_v2,
    ),
    Mutant(
        "a debugger keeps its pins",
        other(scenes.mapped, other_forcer),
        LEAK,
        (("kernel.ptrace", "unpin_pages", nothing),),
    ),
    Mutant(
        "MADV_DONTNEED does not flush",
        scene(scenes.private_copy, loads_twice, dropper),
        BUG,
        (("kernel.madvise", "flush_tlb", nothing),),
    ),
    Mutant(
        "MADV_DONTNEED drops the references before it flushes",
        scene(scenes.private_copy, loads_twice, dropper),
        BUG,
        (("kernel.madvise", "zap_page_range", zap_and_put_before_flush),),
    ),
    Mutant(
        "UFFDIO_COPY does not look at the size",
        scene(hole, filler, scenes.truncater),
        LEAK,
        (("kernel.userfaultfd", "beyond_the_end", never),),
        release="v5.10",
    ),
    Mutant(
        "UFFDIO_COPY replaces the page that is there",
        scene(hole, filler, scenes.file_writer),
        LEAK,
        (("kernel.userfaultfd", "shmem_add_to_page_cache", overwrites_the_slot),),
        release="v5.10",
    ),
    Mutant(
        "UFFDIO_COPY fills the file through a private mapping",
        scene(sealed_hole, filler),
        SEALED,
        (("kernel.userfaultfd", "mcopy_atomic_pte", shmem_mcopy_atomic_pte),),
        release="v5.10",
    ),
    Mutant(
        "UFFDIO_CONTINUE maps a page twice over",
        scene(not_mapped_yet, continuer, continues_too),
        LEAK,
        (("kernel.userfaultfd", "install_pte", install_without_looking),),
        release="v5.15",
    ),
    Mutant(
        "UFFDIO_REGISTER forgets the tree of mappings",
        scene(scenes.mapped, registers_and_unmaps),
        COUNT,
        (("kernel.userfaultfd", "replaced", same_tree),),
        release="v5.10",
    ),
    Mutant(
        "a fault that was promised is resolved by the kernel",
        scene(hole, scenes.loader, filler, always=(the_handler_decides_what_is_seen,)),
        "the_handler_decides_what_is_seen",
        (("kernel.memory", "userfault_due", never),),
        release="v5.10",
    ),
    Mutant(
        "fork leaves the page marked exclusive",
        scene(
            scenes.private_copy,
            scenes.forker,
            scenes.writer_twice,
            children=(scenes.child,),
            always=(scenes.private_memory_is_ones_own,),
        ),
        "private_memory_is_ones_own",
        (("kernel.fork", "without", same_flags),),
        release="v5.19",
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
