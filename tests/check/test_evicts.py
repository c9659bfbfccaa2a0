"""Scenarios in which memfds can go: the same verdicts, for whoever still has a file is promised as much as before."""

from __future__ import annotations

import attrs
import pytest

from mmsim import catalogue
from mmsim.check import Test, check
from mmsim.kernel.releases import release_named
from mmsim.strategies import BY_NAME

DESIGNS = ["sealing_v2", "wait_for_pins", "delayed_unmap_zap"]
NAMES = [
    "dio_completes_after_seal",
    "dio_then_exit",
    "bystander_maps_privately",
    "truncate_while_pinned",
    "splice_then_truncate",
    "store_through_stale_tlb",
    "eviction_with_io_under_way",
]


@pytest.mark.parametrize("reduce", [True, False], ids=["reduced", "unreduced"])
@pytest.mark.parametrize("strategy", DESIGNS)
@pytest.mark.parametrize("name", NAMES)
def test_what_can_be_evicted_keeps_its_promises(name, strategy, reduce):
    scenario = catalogue.find(name).scenario
    test = Test(name, attrs.evolve(scenario, evicts=True), BY_NAME[strategy], release_named(scenario.release))
    expected = scenario.expected(strategy, scenario.release, BY_NAME)
    assert expected is not None
    assert type(check(test, reduce=reduce)).__name__ == expected.value
