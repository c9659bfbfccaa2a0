"""A long timed run is a random test too: the checker's properties judge every step."""

from __future__ import annotations

import pytest

from mmsim import batch, machine
from mmsim.check.properties import AlwaysOn
from mmsim.timed import Ended, Fixed, simulate


def run(strategy, seed):
    test = batch.load("dio_completes_after_seal", strategy, None)
    booted = machine.boot(test.scenario, test.strategy, test.release)
    return simulate(booted, seed=seed, stagger_ns=2000, delays={"slow": Fixed(100_000)}, watch=AlwaysOn(booted.world))


def test_the_race_is_noticed_the_moment_it_is_lost():
    lost = [result for seed in range(20) if (result := run("sealing_v2", seed)).ended is Ended.VIOLATION]
    assert lost
    for result in lost:
        name, detail = result.violation
        assert name == "sealed content never changes"
        assert "changes after F_SEAL_WRITE was granted" in detail


@pytest.mark.parametrize("strategy", ["wait_for_pins", "delayed_unmap"])
def test_designs_that_are_right_are_left_alone(strategy):
    assert {run(strategy, seed).ended for seed in range(20)} == {Ended.FINISHED}


def test_rest_is_judged_too():
    test = batch.load("dio_completes_after_seal", "delayed_unmap", None)
    booted = machine.boot(test.scenario, test.strategy, test.release)

    class Watch(AlwaysOn):
        def at_rest(self, view):
            return super().at_rest(view) or ("at rest", "it was asked")

    result = simulate(booted, delays={"slow": Fixed(100)}, watch=Watch(booted.world))
    assert result.violation == ("at rest", "it was asked")
