"""Locks and steps of memory left out, or in the wrong order, each of which the checker must find."""

from __future__ import annotations

from mmsim.check.books import AGREE, CLEAN, COUNT, LEAK
from mmsim.check.promises import SEALED
from mmsim.scenario import process
from mmsim.strategies.sealing_v2 import sealing_v2
from mmsim.syscalls import (
    EFAULT,
    F_SEAL_SHRINK,
    F_SEAL_WRITE,
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    MADV_DONTNEED,
    MAP_SHARED,
    MFD_HUGETLB,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    O_CREAT,
    O_RDWR,
    PAGE_SIZE,
    PROT_READ,
    SIGSEGV,
    Mount,
)
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each, left_out, swapped
from tests.mutants.scenes import FD, LATE, NEXT, ORIG, RW, WINDOW, scene

BUG = "no kernel bug"
DISK = Mount("disk", "ext4")

# ---- scenes


async def shrink_sealed(sys):
    await scenes.file(sys)
    await sys.add_seals(FD, F_SEAL_SHRINK)


async def exporter(sys, _):
    return await sys.udmabuf_create(FD, 0, PAGE_SIZE)


async def puncher(sys, _):
    await sys.fallocate(FD, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE_SIZE)


async def dirty(sys):
    """A file on a disk, written and mapped."""
    await sys.open(DISK, "f", O_RDWR | O_CREAT)
    await sys.pwrite(FD, ORIG)
    await sys.mmap(FD, RW, MAP_SHARED)
    await sys.store(WINDOW, ORIG)


async def clean(sys):
    """The disk has it, so the next store asks the file system."""
    await dirty(sys)
    await sys.sync()


async def debugger_reads(sys, _):
    return await sys.mem_read(WINDOW, 4)


async def debugger_writes(sys, _):
    return await sys.mem_write(WINDOW, NEXT)


async def process_writes(sys, _):
    return await sys.process_vm_writev(None, WINDOW, NEXT)


async def moves_down(sys, _):
    """To where the walk of a truncation comes by first."""
    await sys.mremap(WINDOW, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, WINDOW // 2)


async def protects_and_stores(sys, _):
    await sys.mprotect(WINDOW, PAGE_SIZE, PROT_READ)
    return await sys.store(WINDOW, NEXT)


async def compacter(sys, _):
    await sys.compact_memory()


async def maps_as_well(sys, _):
    await sys.mmap(FD, RW, MAP_SHARED)


async def hole_and_pipes(sys):
    await scenes.hole(sys)
    await sys.pipe()
    await sys.pipe()


async def splices_and_tees(sys, _):
    """Out of one pipe and into the other."""
    spliced = await sys.splice(FD, 0, FD + 2, 4)
    return await sys.tee(FD + 1, FD + 4, 4) if spliced > 0 else 0


async def compacts_and_truncates(sys, _):
    await sys.compact_memory()
    await sys.ftruncate(FD, 0)


async def advises(sys, _):
    await sys.madvise(WINDOW, PAGE_SIZE, MADV_DONTNEED)


async def maps_shared_and_seals(sys, _):
    await sys.munmap(WINDOW)
    await sys.mmap(FD, RW, MAP_SHARED)
    await sys.store(WINDOW, NEXT)
    await sys.munmap(WINDOW)
    await sys.add_seals(FD, F_SEAL_WRITE)
    await sys.store(WINDOW, LATE)


async def huge_and_empty(sys):
    await sys.memfd_create("huge", MFD_HUGETLB)


async def maps_one(sys, _):
    await sys.mmap(FD, RW, MAP_SHARED)


async def maps_two(sys, _):
    await sys.mmap(FD, RW, MAP_SHARED, 2 * PAGE_SIZE)
    return len(await sys.pread(FD, 2 * PAGE_SIZE))


def the_file_is_as_long_as_the_mapping(maps_two):
    return maps_two == 2 * PAGE_SIZE


def it_has_not_too_many_references(splices_and_tees):
    return splices_and_tees != -EFAULT


def what_is_protected_is_not_written(protects_and_stores):
    return protects_and_stores == SIGSEGV


def it_is_exported(exporter):
    return exporter > 0


MMAP_LOCK = "async with mm.mmap_lock:"
PAGE_TABLE_LOCK = "async with mm.page_table_lock:"
MUTANTS = [
    Mutant(
        "two mappings make a file of huge pages longer at once",
        scene(huge_and_empty, process(maps_one), maps_two, always=(the_file_is_as_long_as_the_mapping,)),
        "the_file_is_as_long_as_the_mapping",
        (left_out("kernel.mmap.hugetlbfs_file_mmap", "async with inode.i_mutex:"),),
        release="v6.18",
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
    Mutant(
        "a page is in a CPU's cache before it has the reference for it",
        scene(scenes.hole, scenes.loader, compacts_and_truncates),
        BUG,
        (
            swapped(
                "kernel.swap._pagevec_add",
                "await get_page(page)",
                "await lru_cache(k, k.cpu).pages.update(one_more, page)",
            ),
        ),
    ),
    Mutant(
        "a huge page can be found before the cache has all its references",
        scene(
            hole_and_pipes,
            scenes.loader,
            scenes.truncater,
            splices_and_tees,
            always=(it_has_not_too_many_references,),
            shmem_huge=True,
        ),
        "it_has_not_too_many_references",
        (
            swapped(
                "kernel.shmem.shmem_add_to_page_cache",
                "await get_cache_references(page)",
                "added = await mapping.slot(index).cmpxchg(None, page)",
            ),
        ),
        release="v6.1",
    ),
    Mutant(
        "a debugger gives a page back before it has read it",
        scene(scenes.touched, debugger_reads, scenes.truncater),
        BUG,
        (
            swapped(
                "kernel.ptrace.mem_read",
                "parts += await read_page(k, pins[0].page, start, min(PAGE_SIZE, start + end - len(parts)))",
                "await unpin_pages(k, pins)",
            ),
        ),
    ),
    Mutant(
        "a debugger reads what is unmapped meanwhile",
        scene(scenes.mapped, debugger_reads, scenes.unmapper),
        LEAK,
        (left_out("kernel.ptrace.mem_read", "async with mm.mmap_lock.read():"),),
    ),
    Mutant(
        "a debugger marks a page dirty before he writes it",
        scene(dirty, debugger_writes, mounts=(DISK,)),
        CLEAN,
        (
            swapped(
                "kernel.ptrace.mem_write",
                "await write_page(k, pins[0].page, at % PAGE_SIZE, chunk)",
                "await set_page_dirty(pins[0].page)",
            ),
        ),
    ),
    Mutant(
        "process_vm_writev() marks a page dirty before it writes it",
        scene(dirty, process_writes, mounts=(DISK,)),
        CLEAN,
        (
            swapped(
                "kernel.process_vm_access.process_vm_writev",
                "await write_page(k, pin.page, start, chunk)",
                "await set_page_dirty(pin.page)",
            ),
        ),
    ),
    Mutant(
        "a page that is about to become writable is freed",
        scene(clean, scenes.writer, scenes.truncater, mounts=(DISK,)),
        BUG,
        (left_out("kernel.memory.wp_page_shared", PAGE_TABLE_LOCK),),
    ),
    Mutant(
        "an entry is made writable that was cleared",
        scene(clean, scenes.writer, advises, mounts=(DISK,)),
        LEAK,
        (left_out("kernel.memory.wp_page_shared", PAGE_TABLE_LOCK, last=True),),
    ),
    Mutant(
        "a truncation misses a page that mremap() moves past it",
        scene(scenes.touched, moves_down, scenes.truncater),
        AGREE,
        (
            left_out(
                "kernel.mremap.move_page_tables",
                "async with vma.file.inode.mapping.i_mmap_mutex, mm.page_table_lock:",
            ),
        ),
    ),
    Mutant(
        "mremap() moves a page to where a truncation does not look yet",
        scene(scenes.touched, moves_down, scenes.truncater),
        AGREE,
        (
            swapped(
                "kernel.mremap.move_vma",
                "await vma_link_file(k, mm, copy)",
                "await move_page_tables(k, mm, vma, start, to, old_size)",
            ),
        ),
    ),
    Mutant(
        "migration puts back what mprotect() has changed",
        scene(scenes.touched, protects_and_stores, compacter, always=(what_is_protected_is_not_written,)),
        "what_is_protected_is_not_written",
        (left_out("kernel.mprotect.change_protection", PAGE_TABLE_LOCK),),
    ),
    Mutant(
        "mprotect() does not wait for a fault",
        scene(scenes.mapped, protects_and_stores, scenes.loader, always=(what_is_protected_is_not_written,)),
        "what_is_protected_is_not_written",
        (left_out("kernel.mprotect.mprotect", MMAP_LOCK),),
    ),
    Mutant(
        "two threads map a file to one place",
        scene(scenes.file, scenes.mapper, maps_as_well),
        COUNT,
        (left_out("kernel.mmap.do_mmap", MMAP_LOCK),),
    ),
    Mutant(
        "who comes second keeps the references of a huge page's cache",
        scene(scenes.hole, scenes.loader, scenes.writer, shmem_huge=True),
        LEAK,
        (left_out("kernel.shmem.shmem_add_to_page_cache", "await put_cache_references(page)"),),
        release="v6.1",
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
