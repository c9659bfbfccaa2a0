"""Mistakes that lose what a completed I/O brought, or miscount while somebody keeps a pin: the properties are not loose.

What migration or a design puts in a page's place is judged at the moment it is put there; what a device wrote at the
moment it completes; references and the counter at rest, whoever still holds something then.  A private page that is
lost after its I/O was over is nobody's but its owner's, and only he can say so: those scenes have properties of their
own.
"""

from __future__ import annotations

import attrs

from mmsim.check.books import COUNT, LEAK
from mmsim.check.properties import MOVED
from mmsim.kernel.gup import get_user_pages, get_user_pages_fast
from mmsim.kernel.migrate import migrate_page_copy, remove_migration_ptes, replace_page_in_cache, try_to_unmap
from mmsim.kernel.mmap import unlinked
from mmsim.kernel.page_alloc import alloc_page, get_page, put_page
from mmsim.kernel.page_ref import page_ref_freeze, page_ref_unfreeze
from mmsim.kernel.shmem import write_page
from mmsim.strategies.copy_on_seal import copy_on_seal
from mmsim.strategies.delayed_unmap import delayed_unmap
from mmsim.strategies.page_replacement import page_replacement
from mmsim.syscalls import (
    EAGAIN,
    F_SEAL_SHRINK,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MREMAP_FIXED,
    MREMAP_MAYMOVE,
    PAGE_SIZE,
)
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each
from tests.mutants.scenes import DISK, FD, LATE, RW, WINDOW, scene

ELSEWHERE = WINDOW + 0x10000

# ---- scenes


async def registered(sys):
    await scenes.mapped(sys)
    await sys.register_buffer(WINDOW)


async def registered_elsewhere(sys):
    """The pin that is kept is of another file than the one that is unmapped."""
    await scenes.mapped(sys)
    other = await sys.memfd_create("other", MFD_ALLOW_SEALING)
    await sys.ftruncate(other, PAGE_SIZE)
    await sys.register_buffer(await sys.mmap(other, RW, MAP_SHARED))


async def with_a_pipe(sys):
    await scenes.mapped(sys)
    return await sys.pipe()


async def spliced(sys):
    """A pipe has the page, so it looks pinned."""
    await scenes.file(sys)
    _, end = await sys.pipe()
    await sys.splice(FD, 0, end, PAGE_SIZE)


async def with_sockets(sys):
    await scenes.file(sys)
    return await sys.socketpair()


async def for_a_dma_buf(sys):
    await scenes.file(sys)
    await sys.add_seals(FD, F_SEAL_SHRINK)


async def compacter(sys, _):
    return await sys.compact_memory()


async def vmsplicer(sys, pipe):
    return await sys.vmsplice(pipe[1], WINDOW, PAGE_SIZE)


async def sender(sys, sockets):
    return await sys.sendfile(sockets[0], FD, 0, PAGE_SIZE)


async def exporter(sys, _):
    return await sys.udmabuf_create(FD, 0, PAGE_SIZE)


async def moves_his_buffer(sys, _):
    await sys.wait_for(await sys.submit_direct_read(DISK, WINDOW, LATE))
    moved = await sys.mremap(WINDOW, PAGE_SIZE, PAGE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, ELSEWHERE)
    return await sys.load(moved)


async def forks_and_stores_one_word(sys, _):
    await sys.wait_for(await sys.submit_direct_read(DISK, WINDOW, LATE))
    await sys.fork(scenes.child)
    await sys.store(WINDOW, LATE[:1])
    return await sys.load(WINDOW)


def what_was_read_moves_with_the_buffer(moves_his_buffer):
    return moves_his_buffer == LATE


def what_was_read_is_in_the_copy(forks_and_stores_one_word):
    return forks_and_stores_one_word == LATE


def with_disk(setup, *threads, **more):
    return attrs.evolve(scene(setup, *threads, **more), devices=(DISK,))


# ---- a page is moved


async def migrate_what_was_copied_before_it_was_unmapped(k, page):
    error = -EAGAIN
    async with page.lock:
        mapping, index = await page.mapping.load(), await page.index.load()
        if mapping is None:
            return error
        new = await alloc_page(k)
        await migrate_page_copy(k, page, new)
        await try_to_unmap(k, mapping, index, page)
        if await page_ref_freeze(page, 2):
            await replace_page_in_cache(mapping, index, page, new)
            await page_ref_unfreeze(page, 1)
            error = 0
        await remove_migration_ptes(mapping, index, page, page if error else new)
    await put_page(k, new)
    return error


async def copy_the_first_byte(k, old, new):
    await write_page(k, new, 0, (await old.word(0).load())[:1])
    await new.flags.store(await old.flags.load())


async def a_page_of_zeros(k, _page, nr_pages=1):
    return await alloc_page(k, nr_pages)


async def move_nothing(k, mm, _vma, start, _to, _size):
    async with mm.page_table_lock:
        pte = await mm.pte(start).exchange(None)
        if pte is not None:
            await pte.page.mapcount.dec()
    if pte is not None:
        await put_page(k, pte.page)


MOVES = [
    Mutant(
        "migration copies before it unmaps",
        scene(scenes.touched, scenes.reader, compacter),
        MOVED,
        (("kernel.migrate", "migrate_page", migrate_what_was_copied_before_it_was_unmapped),),
    ),
    Mutant(
        "migration copies a part",
        scene(scenes.file, compacter),
        MOVED,
        (("kernel.migrate", "migrate_page_copy", copy_the_first_byte),),
    ),
    Mutant(
        "copy_on_seal copies nothing",
        scene(scenes.file, scenes.sealer),
        MOVED,
        (("strategies.replacing", "copy_page", a_page_of_zeros),),
        strategy=copy_on_seal,
    ),
    Mutant(
        "page_replacement copies nothing",
        scene(spliced, scenes.sealer),
        MOVED,
        (("strategies.replacing", "copy_page", a_page_of_zeros),),
        strategy=page_replacement,
    ),
    Mutant(
        "mremap leaves a private page behind",
        with_disk(scenes.private_copy, moves_his_buffer, always=(what_was_read_moves_with_the_buffer,)),
        "what_was_read_moves_with_the_buffer",
        (("kernel.mremap", "move_page_tables", move_nothing),),
    ),
    Mutant(
        "copy on write copies nothing",
        with_disk(
            scenes.private_copy,
            forks_and_stores_one_word,
            children=(scenes.child,),
            always=(what_was_read_is_in_the_copy,),
        ),
        "what_was_read_is_in_the_copy",
        (("kernel.memory", "copy_page", a_page_of_zeros),),
    ),
]

# ---- a pin is kept


async def pin_and_refer(k, mm, address, count, caller, *, write):
    pins = await get_user_pages(k, mm, address, count, caller, write=write)
    for pin in pins:
        await get_page(pin.page)
    return pins


async def pin_and_drop(k, mm, address, count, caller, *, write):
    pins = await get_user_pages(k, mm, address, count, caller, write=write)
    for pin in pins:
        await put_page(k, pin.page)
    return pins


async def pin_fast_and_refer(k, address, count, caller, *, write):
    pins = await get_user_pages_fast(k, address, count, caller, write=write)
    for pin in pins:
        await get_page(pin.page)
    return pins


async def pin_fast_and_drop(k, address, count, caller, *, write):
    pins = await get_user_pages_fast(k, address, count, caller, write=write)
    for pin in pins:
        await put_page(k, pin.page)
    return pins


async def refer_twice(page):
    await get_page(page)
    await get_page(page)


async def nothing(*_args):
    return None


async def put_twice(k, page):
    await put_page(k, page)
    await put_page(k, page)


async def unlink_and_keep_counting(_k, mm, vma):
    mapping = vma.file.inode.mapping
    async with mapping.i_mmap_mutex:
        await mapping.i_mmap.update(unlinked, mm, vma)


async def unlink_and_count_twice(k, mm, vma):
    await unlink_and_keep_counting(k, mm, vma)
    await vma.file.inode.mapping.i_mmap_writable.add(-2)


def registering(name, setup, path):
    return Mutant(
        name, scene(setup, scenes.loader), LEAK, (("kernel.io_uring", "get_user_pages", path),), release="v5.1"
    )


def unmapping(name, setup, path, **more):
    patch = ("kernel.mmap", "unlink_file_vma", path)
    return Mutant(name, scene(setup, scenes.unmapper), COUNT, (patch,), release="v5.1", **more)


def holding(name, setup, thread, module, attribute, path, release="v3.17"):
    return Mutant(name, scene(setup, thread), LEAK, ((module, attribute, path),), release=release)


KEPT = [
    registering("a registered buffer leaks a reference", registered, pin_and_refer),
    registering("a registered buffer has no reference", registered, pin_and_drop),
    unmapping("a mapping is counted for ever while a buffer is registered", registered, unlink_and_keep_counting),
    unmapping("a mapping counts for two while a buffer is registered", registered, unlink_and_count_twice),
    unmapping(
        "a mapping is counted for ever while another file has a pin, under a design that counts pins",
        registered_elsewhere,
        unlink_and_keep_counting,
        strategy=delayed_unmap,
    ),
    holding("vmsplice leaks", with_a_pipe, vmsplicer, "kernel.splice", "get_user_pages_fast", pin_fast_and_refer),
    holding(
        "a pipe has no reference", with_a_pipe, vmsplicer, "kernel.splice", "get_user_pages_fast", pin_fast_and_drop
    ),
    holding("a socket leaks", with_sockets, sender, "kernel.af_unix", "get_page", refer_twice, "v4.8"),
    holding("a socket has no reference", with_sockets, sender, "kernel.af_unix", "get_page", nothing, "v4.8"),
    holding(
        "udmabuf keeps what the lookup took", for_a_dma_buf, exporter, "kernel.udmabuf", "put_page", nothing, "v6.13"
    ),
    holding("udmabuf has no reference", for_a_dma_buf, exporter, "kernel.udmabuf", "put_page", put_twice, "v6.13"),
]


@each(MOVES)
def test_what_was_read_is_not_lost_unnoticed(mutant, monkeypatch):
    mutant.try_on(monkeypatch)


@each(KEPT)
def test_no_count_goes_wrong_unnoticed_while_a_pin_is_kept(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
