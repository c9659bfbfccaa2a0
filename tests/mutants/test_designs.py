"""Mistakes in the designs of the mail, each of which the checker must find."""

from __future__ import annotations

import attrs

from mmsim import catalogue
from mmsim.check.books import COUNT, COUNTED, LEAK
from mmsim.check.promises import SEALED
from mmsim.check.properties import LOST
from mmsim.kernel.page_alloc import drop_reference, put_page
from mmsim.kernel.strategy import linux
from mmsim.kernel.truncate import unmap_mapping_page
from mmsim.strategies.copy_on_seal import copy_on_seal
from mmsim.strategies.delayed_unmap import delayed_unmap, settle, write_pins
from mmsim.strategies.delayed_unmap_locked import delayed_unmap_irqsave
from mmsim.strategies.delayed_unmap_order import delayed_unmap_sync
from mmsim.strategies.delayed_unmap_zap import Account, account, delayed_unmap_zap, owed_to
from mmsim.strategies.leftover_flag import PG_LEFTOVER, leftover_flag
from mmsim.strategies.looking import pages_in, refuse_where
from mmsim.strategies.page_replacement import page_replacement
from mmsim.strategies.pin_user_pages import foll_pin, pin_user_pages
from mmsim.strategies.put_user_pages import put_user_pages, user_pins
from mmsim.strategies.refuse_if_pinned import refuse_if_pinned
from mmsim.strategies.replacing import replace_page
from mmsim.strategies.split_page_count import split_page_count
from mmsim.strategies.unmap_then_look import unmap_then_replace, unmap_then_wait
from mmsim.strategies.writable_user_pages import count_writer, counted_pins, writable_user_pages
from mmsim.syscalls import EBUSY, F_SEAL_WRITE, MAP_SHARED, PAGE_SIZE, Device
from tests.mutants import scenes
from tests.mutants.judged import Mutant, each
from tests.mutants.scenes import DISK, FD, LATE, NEXT, RW, WINDOW, scene

OTHER = Device("other")

# ---- scenes: a page pinned once or twice, its mapping gone


async def left_behind(sys):
    await scenes.touched(sys)
    await sys.submit_direct_read(DISK, WINDOW, LATE)
    await sys.munmap(WINDOW)


async def read_twice(sys):
    await scenes.touched(sys)
    await sys.submit_direct_read(DISK, WINDOW, LATE)
    await sys.submit_direct_read(DISK, WINDOW, NEXT)
    await sys.munmap(WINDOW)


async def second_page_read(sys):
    await sys.memfd_create("file", 2)
    await sys.pwrite(FD, LATE + LATE)
    await sys.mmap(FD, RW, MAP_SHARED, 2 * PAGE_SIZE)
    await sys.submit_direct_read(DISK, WINDOW + PAGE_SIZE, scenes.ORIG)
    await sys.munmap(WINDOW, 2 * PAGE_SIZE)


async def left_behind_and_private(sys):
    await scenes.private(sys)
    shared = await sys.mmap(FD, RW, MAP_SHARED)
    await sys.submit_direct_read(DISK, shared, LATE)
    await sys.munmap(shared)


async def being_read(sys):
    await scenes.touched(sys)
    await sys.submit_direct_read(DISK, WINDOW, LATE)


async def reads_again_and_seals(sys, _):
    await sys.submit_direct_read(OTHER, WINDOW, NEXT)
    await sys.munmap(WINDOW)
    await sys.add_seals(FD, F_SEAL_WRITE)


async def idle_child(_sys, _):
    return


async def forks(sys, _):
    await sys.fork(idle_child)


def scenario(name):
    return catalogue.find(name).scenario


def with_disk(setup, *threads):
    return attrs.evolve(scene(setup, *threads), devices=(DISK,))


PINNED_AGAIN = attrs.evolve(with_disk(being_read, reads_again_and_seals), devices=(DISK, OTHER))
PINNED = with_disk(left_behind, scenes.sealer)
PINNED_TWICE = with_disk(read_twice, scenes.sealer)
SECOND_PINNED = with_disk(second_page_read, scenes.sealer)
SHOWN = with_disk(left_behind_and_private, scenes.sealer)
FAULTED = with_disk(left_behind_and_private, scenes.loader, scenes.sealer)
FORKED = attrs.evolve(with_disk(left_behind_and_private, forks, scenes.sealer), children=(idle_child,))
LEAVES = scene(scenes.touched, scenes.leaver, scenes.sealer)
LEAVES_ALONE = scene(scenes.touched, scenes.leaver)

# ---- mistakes


async def see_the_first_page_only(k, mapping):
    page = await mapping.slot(0).load()
    return -EBUSY if await user_pins(page).load() else 0


async def pin_after_the_look(k, pin):
    """Counts only where somebody already does."""
    if not await pin.page.refcount.inc_not_zero():
        return False
    if await user_pins(pin.page).load():
        await user_pins(pin.page).inc()
    return True


async def put_by_page_only(k, pin):
    await put_page(k, pin.page)


async def put_and_reset(k, pin):
    await user_pins(pin.page).store(0)
    await put_page(k, pin.page)


async def note_nothing(k, pin):
    granted, _ = await count_writer(k, pin)
    return granted


async def count_on_the_page_only(k, pin):
    if not await pin.page.refcount.inc_not_zero():
        return False
    if pin.write:
        await counted_pins(pin.page).inc()
    return True


async def unpin_one_only(k, pin):
    """Takes 1 off where 1024 were added."""
    await put_page(k, pin.page)


async def unpin_all_of_it(k, pin):
    if foll_pin(pin):
        await pin.page.refcount.add(-1024)
    await put_page(k, pin.page)


async def few_enough(page):
    return await page.refcount.load() > 2 * 1024


async def pay_at_the_first_chance(k, pin):
    await write_pins(pin.page).dec()
    await settle(pin.page)
    await put_page(k, pin.page)


def lowered(old):
    return Account(old.pins - 1, old.owed), old.pins == 1


def emptied(old):
    return Account(old.pins, 0), old.owed


async def lower_then_take(k, pin):
    if await account(pin.page).fetch_update(lowered):
        owed = await account(pin.page).fetch_update(emptied)
        mapping = await owed_to(pin.page).load()
        if owed:
            await mapping.i_mmap_writable.add(-owed)
    await put_page(k, pin.page)


async def owe_in_any_case(_k, _mm, vma, pages):
    for page in pages:
        await vma.file.inode.mapping.i_mmap_writable.inc()
        await owed_to(page).store(vma.file.inode.mapping)
        await account(page).update(owed_once_more)


def owed_once_more(old):
    return Account(old.pins, old.owed + 1)


async def wait_for_nobody(_k, _mm, _vma, _pages):
    return


async def flag_without_counting(_k, _mm, _vma, pages):
    for page in pages:
        await page.flags.test_and_set(PG_LEFTOVER)


async def never_look_again(k, page):
    await drop_reference(k, page)


async def replace_and_leave_mapped(k, mapping):
    for index in range(await pages_in(k, mapping)):
        page = await mapping.slot(index).load()
        async with page.lock:
            await replace_page(k, mapping, index, page)
    return 0


async def replace_without_the_lock(k, mapping):
    page = await mapping.slot(0).load()
    await unmap_mapping_page(k, mapping, 0)
    await replace_page(k, mapping, 0, page)
    return 0


async def nobody_has_it(_k, _mapping, _index, _page):
    return False


async def one_more_is_fine(k, mapping, index, page):
    await unmap_mapping_page(k, mapping, index)
    return await page.refcount.load() > 3


async def keep_the_old_reference(k, mapping, index, page):
    await replace_page(k, mapping, index, page)
    await page.refcount.inc()


async def deny_nobody(_k, _inode):
    return 0


async def lower_without_the_lock(k, mapping):
    """A plain integer, changed in two steps."""
    count = await mapping.i_mmap_writable.load()
    await mapping.i_mmap_writable.store(count - 1)


def mutant(name, scene, broken, strategy, *patches, release="v3.17", **points):
    mutated = attrs.evolve(strategy, **points) if points else None
    return Mutant(f"{strategy.name} {name}", scene, broken, patches, mutated, strategy, release)


LOOK = "strategies.unmap_then_look"
MUTANTS = [
    mutant("looks at the first page only", SECOND_PINNED, SEALED, put_user_pages, exclude_pins=see_the_first_page_only),
    mutant("looks at nothing", PINNED, SEALED, put_user_pages, exclude_pins=linux.exclude_pins),
    mutant("counts no first pin", PINNED, SEALED, put_user_pages, pin=pin_after_the_look, unpin=put_by_page_only),
    mutant("is put by page alone", PINNED, COUNTED, put_user_pages, unpin=put_by_page_only),
    mutant("takes all pins for one", PINNED_TWICE, SEALED, put_user_pages, unpin=put_and_reset),
    mutant("looks at nothing", PINNED, SEALED, split_page_count, exclude_pins=linux.exclude_pins),
    mutant("keeps no books", LEAVES, COUNT, writable_user_pages, pin=note_nothing),
    mutant(
        "raises no counter", LEAVES, SEALED, writable_user_pages, pin=count_on_the_page_only, unpin=put_by_page_only
    ),
    mutant("takes 1 off", PINNED, LEAK, pin_user_pages, unpin=unpin_one_only, release="v6.5"),
    mutant("takes 1025 off", PINNED, SEALED, pin_user_pages, unpin=unpin_all_of_it, release="v6.5"),
    mutant("asks for two", PINNED, SEALED, pin_user_pages, exclude_pins=refuse_where(few_enough), release="v6.5"),
    mutant("pays for the first of two", PINNED_TWICE, SEALED, delayed_unmap, unpin=pay_at_the_first_chance),
    *(
        mutant(
            f"does not settle in {name}", scenario(name), SEALED, delayed_unmap_zap, after_zap_writable=wait_for_nobody
        )
        for name in ("dontneed_hides_a_pin", "dontneed_races_pin", "migration_races_munmap")
    ),
    mutant(
        "takes the debt after the last pin",
        PINNED_AGAIN,
        SEALED,
        delayed_unmap_zap,
        unpin=lower_then_take,
    ),
    mutant(
        "lets go of a file that is owed to",
        scenario("eviction_with_io_under_way"),
        "no kernel bug",
        delayed_unmap_zap,
        before_evict=linux.before_evict,
    ),
    mutant("owes where nobody pays", LEAVES_ALONE, COUNT, delayed_unmap_zap, before_unmap_writable=owe_in_any_case),
    mutant(
        "does not owe for udmabuf",
        scenario("udmabuf_holds_pages"),
        SEALED,
        delayed_unmap_zap,
        ("strategies.delayed_unmap_zap", "THROUGH_NO_PAGE_TABLE", frozenset()),
        release="v6.13",
    ),
    mutant("waits for nobody", LEAVES, SEALED, delayed_unmap_sync, before_unmap_writable=wait_for_nobody),
    mutant(
        "has one path without the lock",
        LEAVES_ALONE,
        COUNT,
        delayed_unmap_irqsave,
        unmap_writable=lower_without_the_lock,
    ),
    mutant("flags and does not count", LEAVES_ALONE, COUNT, leftover_flag, before_unmap_writable=flag_without_counting),
    mutant("does not ask put_page()", LEAVES_ALONE, COUNT, leftover_flag, put_page=never_look_again),
    mutant("does not look", PINNED, SEALED, refuse_if_pinned, exclude_pins=linux.exclude_pins),
    mutant("does not look", PINNED, SEALED, page_replacement, exclude_pins=linux.exclude_pins),
    mutant("denies nobody", LEAVES, LOST, copy_on_seal, deny_writable=deny_nobody),
    mutant("takes no page's lock", FAULTED, SEALED, copy_on_seal, exclude_pins=replace_without_the_lock),
    mutant("meets the child first", FORKED, SEALED, copy_on_seal, ("kernel.truncate", "place_in_tree", scenes.by_name)),
    mutant("leaves the old page mapped", SHOWN, SEALED, copy_on_seal, exclude_pins=replace_and_leave_mapped),
    mutant("judges without counting", PINNED, SEALED, unmap_then_wait, (LOOK, "unmap_and_look", nobody_has_it)),
    mutant("allows for one more", PINNED, SEALED, unmap_then_wait, (LOOK, "unmap_and_look", one_more_is_fine)),
    mutant("judges without counting", PINNED, SEALED, unmap_then_replace, (LOOK, "unmap_and_look", nobody_has_it)),
    mutant("keeps a reference", PINNED, LEAK, unmap_then_replace, (LOOK, "replace_page", keep_the_old_reference)),
]


@each(MUTANTS)
def test_the_mistake_is_found(mutant, monkeypatch):
    mutant.try_on(monkeypatch)
