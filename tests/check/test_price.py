"""The price of paths, against counts made by hand from the kernel's own text."""

from __future__ import annotations

import attrs
import pytest

from mmsim.cells import World
from mmsim.check.price import PATHS, Difference, differences, line_of, price, priced
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.releases import V3_17
from mmsim.kernel.strategy import Budget, linux
from mmsim.kernel.types import Page
from mmsim.steps import sleep
from mmsim.strategies.delayed_unmap import delayed_unmap
from mmsim.strategies.sealing_v2 import sealing_v2
from mmsim.strategies.wait_for_pins import wait_for_pins


def path(name, strategy=linux):
    return priced(name, strategy, V3_17)


def more(name, strategy):
    return next(one for one in differences(strategy, V3_17) if one.path == name)


def test_gup_fast_is_a_load_an_atomic_and_a_second_look():
    for name in ("gup_fast", "gup_fast to read"):
        found = path(name)
        assert (found.steps, found.atomics) == (3, 1)
        assert found.lines == (("page", 1), ("page table", 1))


def test_gup_takes_two_locks_and_gives_one_back_by_a_store():
    # down_read, mmap, spin_lock, pte, inc_not_zero, spin_unlock (a store), up_read
    found = path("gup")
    assert (found.steps, found.atomics) == (7, 4)


def test_a_reference_is_one_atomic():
    for name in ("unpin", "unpin after munmap", "put_page"):
        assert (path(name).steps, path(name).atomics, path(name).lines) == (1, 1, (("page", 1),))


def test_every_page_looked_at_is_a_line():
    # for each page its slot and two counts; the slots of eight pages are one line of the tree
    one, many = path("seal 1 page", wait_for_pins), path("seal 8 pages", wait_for_pins)
    assert many.steps - one.steps == 3 * 7
    assert dict(many.lines)["page"] == 8
    assert dict(many.lines)["i_pages"] == dict(one.lines)["i_pages"] == 1
    assert "page" not in dict(path("seal 8 pages").lines)


def test_a_pin_costs_the_sleeps_of_wait_for_pins():
    # 2 + 5 + 10 + 20 jiffies of 4 ms
    assert path("seal, pinned to write", wait_for_pins).slept_ns == 148_000_000
    assert path("seal, pinned to read", wait_for_pins).slept_ns == 148_000_000
    assert path("seal 8 pages", wait_for_pins).slept_ns == 0


def test_delayed_unmap_counts_write_pins_in_struct_page():
    assert str(more("gup_fast", delayed_unmap)) == "+1 atomic in gup_fast"
    assert str(more("gup_fast to read", delayed_unmap)) == ""
    # dec_and_test of the pins, xchg of the debt, and i_mmap_writable
    assert str(more("unpin after munmap", delayed_unmap)) == "+3 atomics, +1 line (address_space) in unpin after munmap"


def test_a_field_that_has_no_room_in_struct_page_is_a_line_of_its_own():
    outside = attrs.evolve(delayed_unmap, budget=Budget())
    assert str(more("gup_fast", outside)) == "+1 atomic, +1 line (page) in gup_fast"


@pytest.mark.parametrize("field", ["lru", "_pincount", "_refcount"])
def test_what_linux_keeps_in_a_page_or_its_flags_is_no_line_more(field):
    world = World()
    page = world.handle(Page, "page")
    assert line_of(page.cell(field, 0).load(), world, in_page=False) == ("page", "page")
    assert line_of(page.cell("something", 0).load(), world, in_page=False) == ("page", "page.something")


def test_sealing_v2_changes_the_counter_under_a_mutex():
    # lock, dec, unlock in place of dec, in munmap and wherever a mapping goes
    assert str(more("munmap", sealing_v2)) == "+2 atomics in munmap"
    assert str(more("put_page", sealing_v2)) == ""


def test_what_waits_for_ever_says_so():
    async def before_unmap_writable(_k, _mm, _vma, pages):
        for page in pages:
            await page.refcount.wait_until(is_alone)

    waiting = attrs.evolve(linux, before_unmap_writable=before_unmap_writable)
    assert path("munmap of a pinned page", waiting).waits
    assert str(more("munmap of a pinned page", waiting)) == "waits for ever in munmap of a pinned page"
    assert path("unpin after munmap", waiting).waits  # what comes before it does
    assert not path("munmap", waiting).waits


def is_alone(count):
    return count == 2


def test_a_sleep_is_a_step_and_its_time():
    async def unpin(k, pin):
        await sleep(5)
        await put_page(k, pin.page)

    found = path("unpin", attrs.evolve(linux, unpin=unpin))
    assert (found.steps, found.atomics, found.slept_ns) == (2, 1, 5)


@pytest.mark.parametrize("name", PATHS)
def test_linux_differs_from_itself_in_nothing(name):
    assert more(name, linux) == Difference(name, 0, 0, (), waits=False)


def test_every_path_has_a_price():
    assert [one.path for one in price(linux, V3_17)] == list(PATHS)
    assert all(one.steps and not one.waits for one in price(linux, V3_17))
