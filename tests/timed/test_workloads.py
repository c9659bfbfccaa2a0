"""Every workload under a few designs: it works, it repeats, and it shows what the mail says it must."""

from __future__ import annotations

import attrs
import pytest

from mmsim.check.properties import AlwaysOn
from mmsim.errors import UserError
from mmsim.kernel.releases import release_named
from mmsim.report import costs
from mmsim.strategies import BY_NAME
from mmsim.timed import Ended, Never
from mmsim.timed.presets import PRESETS
from mmsim.timed.workloads import WORKLOADS, Load, measure

V6_18 = release_named("v6.18")
SHORT = {"hostile_client": 0.4, "gup_one_file": 3e-5, "gup_one_page": 3e-5, "gup_private_files": 3e-5}


def run(name, strategy="wait_for_pins", *, load=None, seconds=None, release=V6_18, cost="cloud", **options):
    return measure(
        WORKLOADS[name],
        BY_NAME[strategy],
        release,
        PRESETS[cost],
        load or Load(cpus=2, processes=2),
        seconds or SHORT.get(name, 0.001),
        **options,
    )


@pytest.mark.parametrize("strategy", ["wait_for_pins", "delayed_unmap"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_works_and_breaks_nothing(name, strategy):
    measured = run(name, strategy, watch=AlwaysOn)
    assert measured.violation is None
    assert measured.ended in (Ended.UNTIL, Ended.FINISHED)
    assert measured.operations > 0
    assert measured.throughput > 0
    assert set(measured.latencies) <= set(WORKLOADS[name].latencies)
    for latency in measured.latencies.values():
        assert 0 < latency.p50 <= latency.p99 <= latency.p999 <= latency.longest


@pytest.mark.parametrize("release", ["v3.17", "v6.1"])
@pytest.mark.parametrize("name", ["video_frames", "munmap_storm"])
def test_older_releases_can_do_the_work_too(name, release):
    assert run(name, release=release_named(release)).operations > 0


def test_the_same_seed_gives_the_same_measurement():
    assert run("video_frames", seed=4) == run("video_frames", seed=4)
    assert run("video_frames", seed=4) != run("video_frames", seed=5)


def test_a_design_that_counts_in_the_address_space_pays_on_one_file_and_not_on_private_ones():
    def slower(name):
        one, four = (
            run(name, "writable_user_pages", load=Load(cpus, cpus)).latencies["gup+unpin"].p50 for cpus in (1, 4)
        )
        return four / one

    assert slower("gup_private_files") < 1.1
    assert slower("gup_one_file") > 3
    assert (
        run("gup_one_file", load=Load(4, 4)).latencies["gup+unpin"].p50
        == run("gup_private_files").latencies["gup+unpin"].p50
    )


def test_a_page_that_all_pin_is_hot_under_every_design():
    alone, shared = (run("gup_one_page", load=Load(cpus, cpus)) for cpus in (1, 4))
    assert shared.latencies["gup+unpin"].p50 > 3 * alone.latencies["gup+unpin"].p50
    assert shared.lines["struct page"].moved > shared.operations / 2


def test_a_hostile_client_holds_a_waiting_seal_up_and_a_refusing_one_not():
    waits, refuses = (run("hostile_client", strategy) for strategy in ("wait_for_pins", "delayed_unmap"))
    for measured in (waits, refuses):
        assert measured.refused["seal shared"] == measured.operations
        assert measured.refused["seal own"] == 0
        assert measured.held[-1][1] == 1
    assert waits.latencies["seal shared"].p50 > 100e6
    assert refuses.latencies["seal shared"].p50 < 1e5


def test_a_design_whose_munmap_waits_for_a_hostile_client_never_gets_to_the_seal():
    measured = run("hostile_client", "delayed_unmap_sync")
    assert measured.ended is Ended.SILENT
    assert measured.operations == measured.throughput == 0
    assert "for ever" in costs.text([measured], None)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", BY_NAME)
def test_every_design_can_do_every_workload(strategy):
    for name in WORKLOADS:
        assert run(name, strategy).ended in (Ended.UNTIL, Ended.FINISHED, Ended.SILENT)


def test_pages_are_left_over_as_long_as_the_device_holds_them():
    slow = run("leftovers", seconds=0.01)
    silent = run("leftovers", seconds=0.01, delay=Never())
    assert slow.figures()["held pages max"] >= 2
    assert silent.held[-1][1] == 2 * 4  # two processes, four reads each


def test_exits_wait_for_the_io():
    assert run("exit_storm", seconds=0.1).ended is Ended.FINISHED
    assert run("exit_storm", seconds=0.1).operations == 16


def test_a_seal_that_waits_is_measured():
    measured = run("video_frames", seconds=0.005)
    assert measured.latencies["add_seals"].count >= measured.latencies["frame"].count
    assert measured.latencies["munmap"].count >= measured.latencies["frame"].count


def test_thirty_two_bits_and_two_sockets():
    assert (
        run("gup_one_page", cost="board", load=Load(4, 4)).throughput < run("gup_one_page", load=Load(4, 4)).throughput
    )
    near, far = (run("gup_one_page", cost="server", load=Load(cpus, cpus), seconds=1e-4) for cpus in (10, 20))
    assert far.throughput < near.throughput  # the line crosses to the other socket and back


@pytest.mark.parametrize(
    ("load", "seconds", "said"),
    [
        (Load(0, 1), 1, "at least one of its cpus"),
        (Load(1, 1, pages=-1), 1, "at least one of its pages"),
        (Load(1, 1, depth=True), 1, "at least one of its depth"),
        (Load(1, 1, channels=0), 1, "at least one of its channels"),
        (Load(1, 1), -1, "positive number of seconds"),
        (Load(1, 1), float("nan"), "positive number of seconds"),
        (Load(1, 1), 1e-8, "did not get through one io within 1e-08 simulated seconds"),
    ],
)
def test_impossible_loads(load, seconds, said):
    with pytest.raises(UserError, match=said):
        run("dio_server", load=load, seconds=seconds)


@pytest.mark.parametrize("name", ["dio_server", "leftovers"])
def test_a_disk_with_channels_serves_several_requests_at_a_time(name):
    one, all_of_them = (run(name, load=Load(1, 1, depth=4, channels=channels), seconds=0.01) for channels in (1, None))
    assert all_of_them.throughput == pytest.approx(4 * one.throughput, rel=0.5)


def test_figures_per_operation():
    measured = run("dio_server")
    figures = attrs.evolve(measured, operations=10, flushes=5).figures()
    assert figures["TLB shootdowns /op"] == 0.5
