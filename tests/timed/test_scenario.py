"""The mail's race from its scenario file, timed: nobody in the scenario or in the kernel knows of a clock."""

from __future__ import annotations

import pytest

from mmsim import batch, machine
from mmsim.report.timeline import timeline_text
from mmsim.timed import Ended, Exponential, Never, simulate


def race(strategy, **options):
    test = batch.load("dio_completes_after_seal", strategy, None)
    return simulate(machine.boot(test.scenario, test.strategy, test.release), **options)


@pytest.mark.parametrize("strategy", ["sealing_v2", "wait_for_pins", "delayed_unmap"])
def test_the_race_is_lost_only_where_the_checker_says_so(strategy):
    lost = 0
    for seed in range(300):
        result = race(strategy, seed=seed, stagger_ns=2000, delays={"slow": Exponential(1000)})
        seen = result.outcome("sealer")
        assert result.ended is Ended.FINISHED
        lost += seen.sealed == 0 and seen.first != seen.second
    assert bool(lost) == (strategy == "sealing_v2")


def test_its_timeline():
    result = race("sealing_v2", timeline=True)
    text = timeline_text(result)
    assert "fcntl(F_ADD_SEALS, F_SEAL_WRITE)" in text
    assert "dma_to_memory():" in text
    assert {call.name for call in result.system_calls} == {
        "submit_direct_read", "munmap", "wait_for", "add_seals", "pread"
    }  # fmt: skip
    munmap = next(call for call in result.system_calls if call.name == "munmap")
    assert munmap.duration_ns == 10 * munmap.steps  # nothing contends with it, and it waits for no device


def test_a_device_that_stays_silent():
    result = race("sealing_v2", delays={"slow": Never()})
    assert result.ended is Ended.SILENT
    assert [blocked.thread for blocked in result.blocked] == ["reader"]
