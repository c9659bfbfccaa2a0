"""Mistakes in what the designs of the mail count, owe and replace, each of which the checker must find."""

from __future__ import annotations

import attrs

from mmsim.check import Test, check
from mmsim.check.books import COUNT, COUNTED, LEAK
from mmsim.check.promises import SEALED
from mmsim.kernel.releases import release_named
from mmsim.scenario import process
from mmsim.strategies.copy_on_seal import copy_on_seal
from mmsim.strategies.delayed_unmap import delayed_unmap, one_more, owed_drops, settle, write_pins
from mmsim.strategies.delayed_unmap_locked import delayed_unmap_irqsave
from mmsim.strategies.delayed_unmap_order import delayed_unmap_look_first
from mmsim.strategies.leftover_flag import leftover_flag
from mmsim.strategies.put_user_pages import put_user_pages_unconverted
from mmsim.strategies.unmap_then_look import unmap_then_replace
from mmsim.strategies.writable_user_pages import writable_user_pages
from mmsim.syscalls import F_SEAL_WRITE, MAP_SHARED, PAGE_SIZE
from mmsim.verdict import Violated
from tests.mutants import scenes
from tests.mutants.judged import each, left_out, swapped
from tests.mutants.scenes import FD, LATE, NEXT, RW, WINDOW, scene
from tests.mutants.test_designs import SHOWN, being_read, left_behind_and_private, mutant, with_disk
from tests.mutants.test_paths import BUG, put_before_flush

# ---- scenes


async def read_into_and_mapped_twice(sys):
    await being_read(sys)
    await sys.store(await sys.mmap(FD, RW, MAP_SHARED), LATE)


async def unmaps_both(sys, _):
    await sys.munmap(WINDOW)
    await sys.munmap(WINDOW + PAGE_SIZE)


async def registers_and_unmaps(sys, _):
    buffer = await sys.register_buffer(WINDOW)
    await sys.munmap(WINDOW)
    await sys.unregister_buffer(buffer)


async def seals_and_maps(sys, _):
    await sys.add_seals(FD, F_SEAL_WRITE)
    window = await sys.mmap(FD, RW, MAP_SHARED)
    if window > 0:
        await sys.store(window, NEXT)


async def loads_and_reads(sys, _):
    return await sys.load(WINDOW), await sys.pread(FD, PAGE_SIZE)


def what_was_seen_is_still_there(loads_and_reads):
    return loads_and_reads[0] != LATE or loads_and_reads[1] == LATE


WATCHED = attrs.evolve(
    with_disk(left_behind_and_private, loads_and_reads, scenes.sealer), always=(what_was_seen_is_still_there,)
)
LEAVES_TO_OTHERS = scene(scenes.touched, scenes.leaver, process(seals_and_maps))
RACES = scene(scenes.touched, scenes.submitter, scenes.unmapper, scenes.sealer)

# ---- mistakes


async def publish_and_count(_k, _mm, vma, pages):
    for page in pages:
        await owed_drops(page).update(one_more, vma.file.inode.mapping)
        await vma.file.inode.mapping.i_mmap_writable.inc()
        if not await write_pins(page).load():
            await settle(page)


FLAG = "strategies.leftover_flag.flag_leftovers"
MUTANTS = [
    mutant("publishes and counts", LEAVES_TO_OTHERS, SEALED, delayed_unmap, before_unmap_writable=publish_and_count),
    mutant(
        "publishes and counts", LEAVES_TO_OTHERS, SEALED, delayed_unmap_irqsave, before_unmap_writable=publish_and_count
    ),
    *(
        mutant(
            name,
            scene(scenes.touched, registers_and_unmaps),
            COUNT,
            delayed_unmap_look_first,
            left_out("strategies.delayed_unmap_order.owe_what_was_seen_pinned", line),
            release="v6.1",
        )
        for name, line in [
            ("owes what it has not counted", "await mapping.i_mmap_writable.inc()"),
            ("counts and owes nothing", "await owed_drops(page).update(one_more, mapping)"),
        ]
    ),
    mutant(
        "keeps a page that it may not have",
        RACES,
        LEAK,
        writable_user_pages,
        left_out("strategies.writable_user_pages.count_writer", "await put_page(k, pin.page)"),
    ),
    mutant(
        "counts a page for each mapping",
        with_disk(read_into_and_mapped_twice, unmaps_both),
        COUNT,
        leftover_flag,
        left_out(FLAG, "await mapping.i_mmap_writable.dec()  # an earlier mapping of it counted"),
    ),
    mutant(
        "copies a page that is still shown",
        WATCHED,
        "what_was_seen_is_still_there",
        copy_on_seal,
        swapped(
            "strategies.replacing.unmap_and_replace",
            "await unmap_mapping_page(k, mapping, index)",
            "await replace_page(k, mapping, index, page)",
        ),
    ),
    mutant(
        "leaves the old page mapped",
        SHOWN,
        SEALED,
        unmap_then_replace,
        left_out("strategies.unmap_then_look.unmap_and_look", "await unmap_mapping_page(k, mapping, index)"),
    ),
    mutant(
        "frees a page, which a CPU can still reach",
        scene(scenes.private_copy, scenes.loader, scenes.unmapper),
        BUG,
        leftover_flag,
        ("kernel.mmap", "unmap_region", put_before_flush),
    ),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)


def test_who_is_not_converted_gives_back_a_page_all_the_same():
    """What he leaves behind is a pin."""

    async def setup(sys):
        await scenes.touched(sys)
        await sys.pipe()

    async def giver(sys, _):
        await sys.vmsplice(FD + 2, WINDOW, PAGE_SIZE)
        await sys.read(FD + 1, PAGE_SIZE)

    told = check(Test("unconverted", scene(setup, giver), put_user_pages_unconverted, release_named("v3.17")))
    assert isinstance(told, Violated)
    assert told.violation.property == COUNTED
