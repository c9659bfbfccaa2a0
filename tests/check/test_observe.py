"""Observations: the reduced search sees what the unreduced one sees, and both see what is there."""

from __future__ import annotations

import random

import attrs
import pytest

from mmsim.catalogue import find
from mmsim.cells import SpinLock
from mmsim.check import Test, check
from mmsim.check.observe import longest
from mmsim.engine.graph import components
from mmsim.kernel.page_alloc import put_page
from mmsim.kernel.releases import V3_17
from mmsim.scenario import Scenario, copies
from mmsim.steps import sleep
from mmsim.strategies import STRATEGIES
from mmsim.strategies.delayed_unmap import delayed_unmap
from mmsim.strategies.sealing_v2 import sealing_v2
from mmsim.strategies.wait_for_pins import wait_for_pins
from mmsim.syscalls import EBUSY, F_SEAL_WRITE, MAP_SHARED, MFD_ALLOW_SEALING, PROT_READ, PROT_WRITE, Device, fill
from mmsim.verdict import WAITING, Drop, Holds, Violated, Wait

SMALL = ("dio_completes_after_seal", "dio_from_another_process", "dio_then_exit", "dio_write_out", "seal_races_mmap",
         "truncate_under_write_seal", "two_sealers")  # fmt: skip


def observed(name, strategy, scenario=None, **how):
    return check(Test(name, scenario or find(name).scenario, strategy, V3_17), **how)


def until_alone(count):
    return count <= 1


async def wait_in_munmap(_k, _mm, _vma, pages):
    for page in pages:
        await page.refcount.wait_until(at_most_two)


def at_most_two(count):
    return count <= 2


async def wait_for_ever(k, mapping):
    page = await mapping.slot(0).load()
    if page is not None:
        await page.refcount.wait_until(until_alone)
    return 0


async def look_until_alone(k, mapping):
    page = await mapping.slot(0).load()
    while page is not None and await page.refcount.load() > 1:
        await sleep(1_000_000)
    return 0


async def refuse_all(_k, _mapping):
    return -EBUSY


WAITS_IN_MUNMAP = attrs.evolve(delayed_unmap, name="waits_in_munmap", before_unmap_writable=wait_in_munmap)
WAITS_IN_SEAL = attrs.evolve(wait_for_pins, name="waits_in_seal", exclude_pins=wait_for_ever)
LOOKS_FOR_EVER = attrs.evolve(wait_for_pins, name="looks_for_ever", exclude_pins=look_until_alone)
REFUSES = attrs.evolve(wait_for_pins, name="refuses", exclude_pins=refuse_all)


@pytest.mark.parametrize(
    "strategy", [*STRATEGIES, WAITS_IN_MUNMAP, WAITS_IN_SEAL, LOOKS_FOR_EVER], ids=lambda strategy: strategy.name
)
@pytest.mark.parametrize("name", SMALL)
def test_the_reduced_search_sees_the_same(name, strategy):
    reduced, whole = (observed(name, strategy, reduce=reduce) for reduce in (True, False))
    assert type(reduced) is type(whole)
    if isinstance(whole, Violated):
        return  # what lies behind a violation is not looked at, and which comes first differs
    assert reduced.observed == whole.observed


def test_linux_itself_waits_in_exit_and_sleeps_while_it_seals():
    seen = observed("dio_then_exit", wait_for_pins).observed
    assert seen.waits == (Wait("exit", "do_exit", "reqs_active"),)
    assert (seen.seal_ns, seen.seal_sleeps_in) == (148_000_000, ("memfd_wait_for_pins",))
    # fd; this CPU's LRU cache, those of both CPUs; i_mutex, seals, deny; size, slot, two counts; five scans of a slot and two counts, four sleeps; allow,
    # unlock.  Sealing itself takes store and unlock, which is one step more than giving up.
    assert seen.seal_steps == 1 + 3 + 3 + 4 + 5 * 3 + 4 + 2


def test_without_pins_to_look_at_nothing_sleeps():
    seen = observed("dio_then_exit", sealing_v2).observed
    assert (seen.seal_ns, seen.seal_sleeps_in) == (0, ())


def test_a_design_that_waits_in_munmap_is_found_out():
    seen = observed("dio_completes_after_seal", WAITS_IN_MUNMAP).observed
    assert Wait("munmap", "wait_in_munmap", "_refcount") in seen.waits


async def unpin_under_a_lock(k, pin):
    async with k.world.lock(SpinLock, "pins_lock").irqsave():
        await put_page(k, pin.page)


async def look_under_the_lock(k, _mm, _vma, pages):
    async with k.world.lock(SpinLock, "pins_lock").irqsave():
        for page in pages:
            await page.refcount.load()


def test_an_interrupt_that_holds_a_spinlock_keeps_nobody_waiting():
    locked = attrs.evolve(
        wait_for_pins, name="locked", unpin=unpin_under_a_lock, before_unmap_writable=look_under_the_lock
    )
    # the model's device may stop inside its handler, and then the outcome is that munmap() never returns
    found = observed("dio_races_munmap", locked)
    assert any(dict(outcome)["unmapper"] is WAITING for outcome in found.outcomes)
    assert {wait.call for wait in found.observed.waits} == {"wait_for"}


def test_a_flusher_that_holds_a_lock_keeps_nobody_waiting():
    """munmap() may find it with i_mmap_mutex held."""
    found = observed("chattr_with_a_writable_mapping", wait_for_pins)
    assert any(dict(outcome)["user"] is WAITING for outcome in found.outcomes)
    assert found.observed.waits == ()


def test_a_seal_that_is_held_off_for_ever_is_found_out():
    seen = observed("dio_completes_after_seal", WAITS_IN_SEAL).observed
    assert Wait("add_seals", "wait_for_ever", "_refcount") in seen.waits


def test_a_loop_that_sleeps_has_no_limit():
    seen = observed("dio_completes_after_seal", LOOKS_FOR_EVER).observed
    assert (seen.seal_ns, seen.seal_steps, seen.seal_sleeps_in) == (None, None, ("look_until_alone",))


def test_where_counts_fall():
    seen = observed("dio_completes_after_seal", delayed_unmap).observed
    assert Drop("write_pins", "hardirq", last=True) in seen.drops
    assert Drop("_refcount", "hardirq", last=False) in seen.drops
    assert Drop("_refcount", "hardirq", last=True) not in seen.drops  # the page cache keeps the page


def refused(user):
    return user.sealed == -EBUSY


def test_needless_refusals_are_noticed():
    asked = attrs.evolve(find("dio_write_out").scenario, needless=(refused,))
    assert observed("dio_write_out", REFUSES, asked).observed.needless == ("refused",)
    granted = observed("dio_write_out", attrs.evolve(REFUSES, exclude_pins=grant_all, deny_writable=grant_all), asked)
    assert granted.observed.needless == ()


async def grant_all(_k, _whatever):
    return 0


# ---- ways through a graph


def test_the_longest_way():
    assert longest({}, {}) == 0
    assert longest({0: [1, 2], 1: [3], 2: [3], 3: []}, {0: 1, 1: 5, 2: 7, 3: 1}) == 9
    assert longest({0: [1], 1: [0]}, {0: 0, 1: 1}) is None
    assert longest({0: [0, 1], 1: []}, {0: 0, 1: 4}) == 4
    assert longest({0: [0]}, {0: 1}) is None


@pytest.mark.parametrize("seed", range(60))
def test_components_against_plain_reachability(seed):
    rng = random.Random(seed)
    size = rng.randint(1, 9)
    graph = {one: sorted({rng.randrange(size) for _ in range(rng.randint(0, 3))}) for one in range(size)}
    reach = {one: {one} for one in graph}
    for _ in graph:
        for one, following in graph.items():
            for after in following:
                reach[one] |= reach[after]
    found = list(components(graph))
    assert sorted(one for component in found for one in component) == list(graph)
    alike = {frozenset(other for other in reach[one] if one in reach[other]) for one in graph}
    assert {frozenset(component) for component in found} == alike
    place = {one: number for number, component in enumerate(found) for one in component}
    assert all(place[after] <= place[one] for one, following in graph.items() for after in following)


# ---- copies of a process, of which the reduced search follows one of each permutation

SLOW = Device("slow")


async def mapped(sys):
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    return fd, await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)


async def reader(sys, shared):
    _, buffer = shared
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    return await sys.munmap(buffer)


async def sealer(sys, shared):
    fd, _ = shared
    return await sys.add_seals(fd, F_SEAL_WRITE)


@pytest.mark.parametrize("strategy", [wait_for_pins, delayed_unmap, WAITS_IN_SEAL], ids=lambda strategy: strategy.name)
def test_copies_that_seal_are_seen_alike(strategy):
    scenario = Scenario(setup=mapped, threads=(reader, copies(2, sealer)), devices=(SLOW,))
    reduced, whole = (observed("copies", strategy, scenario, reduce=reduce) for reduce in (True, False))
    assert type(reduced) is type(whole) is Holds
    assert reduced.coverage.states < whole.coverage.states
    assert reduced.observed == whole.observed
