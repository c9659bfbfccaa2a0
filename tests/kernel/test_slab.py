"""Freed objects: new ones every time for the checker, the last one first for a machine that runs for long."""

from __future__ import annotations

from mmsim.cells import Cell
from mmsim.kernel.releases import release_named
from mmsim.kernel.types import Inode, Io, Page
from mmsim.machine import boot
from mmsim.strategies import BY_NAME
from mmsim.timed.learnt import Learnt
from mmsim.timed.presets import CLOUD
from mmsim.timed.run import simulate
from mmsim.timed.workloads import WORKLOADS, Load
from mmsim.timed.workloads.frames import WAITING
from mmsim.timed.workloads.probe import Probe
from mmsim.timed.workloads.workload import metered

V6_18 = release_named("v6.18")


def world_after(name, until_ns, learn):
    """A workload's world when it has run for so long, and how often what it counts was done."""
    probe = Probe(None, 1e9, 0, CLOUD.syscall)
    booted = boot(metered(WORKLOADS[name].scenario(Load(2, 2)), probe), BY_NAME["delayed_unmap"], V6_18, learn=learn)
    simulate(booted, cpus=2, until_ns=until_ns, observer=probe)
    return booted.world, probe.done(WORKLOADS[name].operation)


def test_a_run_that_is_longer_has_no_more_objects():
    world, frames = world_after("video_frames", 2e7, Learnt)
    pages, inodes, ios, cells = (len(world.of(kind)) for kind in (Page, Inode, Io, Cell))
    assert frames > 300
    assert inodes <= 2 * (WAITING + 3)  # of each process: one being filled, those that wait, one looked at, one closed
    assert ios == 2
    assert pages < frames / 5  # some wait in pagevecs, which are not always equally full
    assert cells < 60 * (pages + inodes)


def test_where_nothing_is_used_again_each_frame_is_a_new_file():
    world, frames = world_after("video_frames", 4e6, None)
    assert len(world.of(Inode)) > frames > 10
    assert not any(page.slab for page in world.of(Page))


def test_what_is_used_again_is_as_good_as_new():
    """Every I/O, every page and every file of one process is one that was freed before, and nothing is amiss."""
    world, ios = world_after("munmap_storm", 1e7, Learnt)
    assert ios > 100
    assert len(world.of(Io)) == 2
    assert all(io.slab is not None for io in world.of(Io))
