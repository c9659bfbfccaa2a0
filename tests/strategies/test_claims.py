"""What each design claims in its docstring, asked of the checker."""

from __future__ import annotations

import functools

import pytest

from mmsim import catalogue
from mmsim.check import Bounds, Test, check
from mmsim.check.books import COUNT, COUNTED
from mmsim.check.judge import holds_for
from mmsim.check.promises import SEALED
from mmsim.kernel.releases import release_named
from mmsim.kernel.strategy import EVERY_PROMISE, Guarantee
from mmsim.kernel.types import Caller
from mmsim.scenario import Scenario
from mmsim.strategies import BY_NAME, STRATEGIES
from mmsim.strategies.put_user_pages import without
from mmsim.syscalls import (
    EBUSY,
    F_SEAL_WRITE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    PAGE_SIZE,
    PROT_READ,
    PROT_WRITE,
    Device,
    fill,
)
from mmsim.verdict import WAITING, Holds, Violated

SLOW = Device("slow")
NAMES = [strategy.name for strategy in STRATEGIES]
ENOUGH = Bounds(max_states=100_000, max_seconds=30)


@functools.cache
def verdict(scenario, strategy, release=None):
    """Of a scenario of the catalogue or a scene below; of a strategy by name or as it is."""
    judged = SCENES[scenario] if scenario in SCENES else catalogue.find(scenario).scenario
    design = BY_NAME[strategy] if isinstance(strategy, str) else strategy
    return check(Test("claim", judged, design, release_named(release or judged.release)), bounds=ENOUGH)


def property_broken(scenario, strategy, release=None):
    found = verdict(scenario, strategy, release)
    assert isinstance(found, Holds | Violated), found
    return found.violation.property if isinstance(found, Violated) else None


# ---- scenes


async def pinned(sys):
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    buffer = await sys.mmap(fd, PROT_READ | PROT_WRITE, MAP_SHARED)
    await sys.submit_direct_read(SLOW, buffer, fill(b"late"))
    return fd, buffer


async def leaver(sys, shared):
    return await sys.munmap(shared[1])


async def many_readers(sys):
    fd = await sys.memfd_create("frame", MFD_ALLOW_SEALING)
    await sys.pwrite(fd, fill(b"orig"))
    for _ in range(1024):
        await sys.load(await sys.mmap(fd, PROT_READ, MAP_PRIVATE, PAGE_SIZE), 4)
    return fd


async def sealer(sys, fd):
    return await sys.add_seals(fd, F_SEAL_WRITE)


async def unmap_and_seal(sys, shared):
    await sys.munmap(shared[1])
    return await sys.add_seals(shared[0], F_SEAL_WRITE)


async def pinned_and_unmapped(sys):
    fd, buffer = await pinned(sys)
    await sys.munmap(buffer)
    return fd


async def file_reader(sys, fd):
    await sys.pread(fd, 4)


async def visitor(sys, fd):
    """As the bystander of `bystander_and_file_reader`, who leaves in the end, so that somebody puts the page last."""
    window = await sys.mmap(fd, PROT_READ, MAP_PRIVATE)
    await sys.load(window, 4)
    await sys.munmap(window)


SCENES = {
    "read ends as it is mapped": Scenario(
        setup=pinned_and_unmapped, threads=(file_reader, visitor, sealer), devices=(SLOW,)
    ),
    "unmapped while pinned": Scenario(setup=pinned, threads=(leaver,), devices=(SLOW,)),
    "sealed while pinned": Scenario(setup=pinned, threads=(unmap_and_seal,), devices=(SLOW,)),
    "popular page": Scenario(setup=many_readers, threads=(sealer,)),
}


def answers(scenario, strategy, thread, release=None):
    return {dict(outcome).get(thread) for outcome in verdict(scenario, strategy, release).outcomes}


# ---- who waits, who is refused


# A device may fall silent anywhere, even with a lock held: where munmap() takes that lock, this says nothing.
@pytest.mark.parametrize("name", [name for name in NAMES if "irq" not in name])
def test_munmap_waits_for_a_device_in_one_design_only(name):
    assert (WAITING in answers("unmapped while pinned", name, "leaver")) == (name == "delayed_unmap_sync")


REFUSE_READERS = {
    "wait_for_pins",
    "put_user_pages",
    "put_user_pages_unconverted",
    "pin_user_pages",
    "refuse_if_pinned",
    "unmap_then_wait",
    "leftover_flag",
}
"""Leftover_flag only where a mapping that counts was left behind."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scenario", ["dio_write_out", "private_page_written_out"])
def test_a_reader_refuses_no_seal_but_in_these_designs(scenario, name):
    refused = catalogue.find(scenario).scenario.needless[0]
    found = verdict(scenario, name)
    if isinstance(found, Violated):
        pytest.skip("what comes after a violation is not explored")
    expected = REFUSE_READERS - {"leftover_flag"} if scenario == "private_page_written_out" else REFUSE_READERS
    assert any(holds_for(refused, outcome) for outcome in found.outcomes) == (name in expected)


@pytest.mark.parametrize("name", ["page_replacement", "copy_on_seal", "unmap_then_replace"])
def test_those_that_replace_refuse_nothing(name):
    assert answers("sealed while pinned", name, "unmap_and_seal") == {0}


@pytest.mark.parametrize(
    "name", ["delayed_unmap", "writable_user_pages", "put_user_pages", "split_page_count", "unmap_then_wait"]
)
def test_those_that_refuse_do_so_while_the_device_writes(name):
    assert answers("sealed while pinned", name, "unmap_and_seal") == {0, -EBUSY}


@pytest.mark.parametrize("name", ["wait_for_pins", "put_user_pages", "split_page_count", "delayed_unmap"])
def test_a_popular_page_is_sealed(name):
    assert answers("popular page", name, "sealer") == {0}


def test_a_popular_page_looks_pinned_to_pin_user_pages():
    assert answers("popular page", "pin_user_pages", "sealer") == {-EBUSY}


def test_orphans_keep_the_seal_away_where_the_file_counts_them():
    refused = catalogue.find("truncate_while_pinned").scenario.needless[0]
    late = {
        name
        for name in NAMES
        if isinstance(found := verdict("truncate_while_pinned", name), Holds)
        and any(holds_for(refused, outcome) for outcome in found.outcomes)
    }
    assert late == {"writable_user_pages", "writable_user_pages_slow", "delayed_unmap", "delayed_unmap_zap",
                    "delayed_unmap_irqsave", "delayed_unmap_look_first"}  # fmt: skip


# ---- what is right and what is not


@pytest.mark.parametrize(
    ("scenario", "name", "broken"),
    [
        ("bystander_maps_privately", "page_replacement", SEALED),
        ("bystander_maps_privately", "refuse_if_pinned", SEALED),
        ("bystander_maps_privately", "wait_for_pins", SEALED),
        ("bystander_maps_privately", "unmap_then_wait", None),
        ("bystander_maps_privately", "unmap_then_replace", None),
        ("bystander_maps_privately", "copy_on_seal", None),
        ("dio_torn_page", "unmap_then_wait", None),
        ("dio_torn_page", "unmap_then_replace", "sealed_content_is_whole"),
        ("dio_torn_page", "page_replacement", "sealed_content_is_whole"),
        ("dio_races_munmap", "writable_user_pages_slow", SEALED),
        ("dio_races_munmap", "writable_user_pages", None),
        ("truncate_while_pinned", "writable_user_pages_lookup", COUNT),
        ("truncate_while_pinned", "writable_user_pages", None),
        ("truncate_while_pinned", "leftover_flag", COUNT),
        ("bystander_and_file_reader", "leftover_flag", COUNT),
        ("read ends as it is mapped", "leftover_flag", SEALED),
        ("dontneed_hides_a_pin", "delayed_unmap", SEALED),
        ("dontneed_hides_a_pin", "delayed_unmap_zap", None),
        ("pinned_again_then_unmapped", "delayed_unmap", SEALED),
        ("pinned_again_then_unmapped", "delayed_unmap_zap", None),
        ("udmabuf_holds_pages", "delayed_unmap", SEALED),
        ("udmabuf_holds_pages", "delayed_unmap_zap", None),
        ("migration_races_munmap", "delayed_unmap", SEALED),
        ("migration_races_munmap", "delayed_unmap_zap", None),
        ("eviction_with_io_under_way", "writable_user_pages", "no kernel bug"),
        ("eviction_with_io_under_way", "delayed_unmap", "no kernel bug"),
        ("eviction_with_io_under_way", "leftover_flag", "no kernel bug"),
        ("eviction_with_io_under_way", "delayed_unmap_zap", None),
        ("eviction_with_io_under_way", "split_page_count", None),
        ("undecided_seal_races_mmap", "leftover_flag", COUNT),
        ("unmapped while pinned", "delayed_unmap_mutex", "no sleeping in atomic context"),
        ("unmapped while pinned", "delayed_unmap_irq_lock", "no lock is taken unsafely for interrupts"),
        ("unmapped while pinned", "delayed_unmap_irqsave", None),
        ("unmapped while pinned", "delayed_unmap_look_first", COUNT),
        ("unmapped while pinned", "delayed_unmap", None),
    ],
)
def test_right_and_wrong(scenario, name, broken):
    assert property_broken(scenario, name) == broken


@pytest.mark.parametrize("release", ["v3.17", "v6.12"])
def test_pin_user_pages_sees_those_who_are_converted_by_now_whatever_the_release(release):
    assert property_broken("bystander_maps_privately", "pin_user_pages", release) is None
    assert property_broken("nfs_read_completes_after_seal", "pin_user_pages", release) == SEALED


def test_a_caller_that_was_not_converted_leaves_a_pin_for_ever():
    assert property_broken("sealed while pinned", without(Caller.DIRECT_IO)) == COUNTED
    assert property_broken("sealed while pinned", without(Caller.NFS_DIRECT)) is None


# ---- all of them


@pytest.mark.parametrize("name", [name for name in NAMES if name != "sealing_v2"])
def test_sealed_content_changes_without_the_design(name):
    """Whatever else it may break: where the counter alone lets a device write a sealed page, the design does not."""
    assert property_broken("dio_completes_after_seal", "sealing_v2") == SEALED
    assert property_broken("dio_completes_after_seal", name) != SEALED


@pytest.mark.parametrize("strategy", STRATEGIES, ids=NAMES)
def test_a_design_says_what_it_guards_and_argues_for_itself(strategy):
    linux_carries = {"sealing_v2", "wait_for_pins"}
    assert strategy.guards == ({Guarantee.SEALED} if strategy.name in linux_carries else EVERY_PROMISE)
    assert len(strategy.doc.split("\n\n")) > 1
